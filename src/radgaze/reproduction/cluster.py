"""Jobs on a Ray cluster; DIR and the store lie where every machine of it sees them under the same path."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from radgaze.cluster import connected
from radgaze.reproduction.local import PAUSE, Watch, gpus_of, processes_of
from radgaze.reproduction.plan import Job, Outcome
from radgaze.reproduction.process import GRACE, Share, start, stop
from radgaze.reproduction.state import FILE, log_file

LOST = 2
"""Times that Ray starts a job again whose machine was lost; it goes on from its last epoch."""


def run(
    jobs: Sequence[Job],
    out: Path,
    watch: Watch,
    *,
    address: str | None = None,
    side_by_side: int | None = None,
) -> Generator[Outcome, None, None]:
    """Run jobs as tasks of a Ray cluster, each asking for its share of cores and GPUs.

    Closing the generator stops what is running.

    Args:
        jobs: In the order in which they are handed over.
        out: DIR.
        watch: Told what is running.
        address: Of the cluster; without one it is made, on this machine.
        side_by_side: Jobs at a time; by default as many as there are GPUs for, or one for each machine where
            there are none. More than that share GPUs.

    Yields:
        How each job ended, as it does.

    Raises:
        UserError: Ray is not installed, or there is no cluster at the address.
    """
    out = out.resolve()
    refs: dict[Any, Job] = {}
    with connected(address) as ray:
        try:
            share = _share(ray, jobs, side_by_side)
            threads = max(1, int(share["num_cpus"]) // max(processes_of(job) for job in jobs))
            task = ray.remote(max_retries=LOST, **share)(_task)
            said = {job: _size(log_file(out, job)) for job in jobs}
            refs = {task.remote(job, str(out), threads): job for job in jobs}
            while refs:
                ended, _ = ray.wait(list(refs), num_returns=1, timeout=PAUSE)
                for ref in ended:
                    yield _outcome(ray, ref, refs.pop(ref))
                # A job that has begun has said so in its log, wherever it runs.
                watch([job for job in refs.values() if _size(log_file(out, job)) != said[job]])
        finally:
            for ref in refs:
                ray.cancel(ref)
            if refs:
                ray.wait(list(refs), num_returns=len(refs), timeout=GRACE)


def _task(job: Job, out: str, threads: int) -> tuple[str | None, float]:
    """On a machine of the cluster: a job's process from start to end; why it failed, and its seconds."""
    if not (Path(out) / FILE).is_file():
        return f"a machine of the cluster does not see {out}: put it on a file system that all share", 0.0
    started = start(job, Path(out), Share(threads))  # Ray has chosen the GPUs this process sees
    try:
        while (outcome := started.outcome()) is None:
            time.sleep(PAUSE)
    finally:
        stop([started])
    return outcome.reason, outcome.seconds


def _outcome(ray: Any, ref: Any, job: Job) -> Outcome:
    try:
        return Outcome(job, *ray.get(ref))
    except ray.exceptions.RayError as error:
        first = str(error).strip().splitlines()[0]
        return Outcome(job, f"lost by the cluster: {type(error).__name__}: {first}"[:300], 0.0)


def _share(ray: Any, jobs: Sequence[Job], side_by_side: int | None) -> dict[str, float]:
    """What each job asks for: whole GPUs as long as they last, and an even part of the cores."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus, cpus = (sum(machine.get(kind, 0.0) for machine in machines) for kind in ("GPU", "CPU"))
    wanted = max((gpus_of(job) for job in jobs), default=0) if gpus else 0
    places = side_by_side or (max(1, int(gpus // wanted)) if wanted else max(1, len(machines)))
    most = min((machine["CPU"] for machine in machines if machine.get("CPU")), default=1.0)
    share = {"num_cpus": float(max(1, int(min(most, cpus // places)))), "num_gpus": float(wanted)}
    if wanted == 1 and places > gpus:  # Ray knows parts of one GPU only
        share["num_gpus"] = max(0.01, int(100 * gpus / places) / 100)
    return share


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
