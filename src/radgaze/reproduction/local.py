"""Jobs on this machine, one after another or side by side."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

from radgaze.reproduction.plan import Job, Outcome
from radgaze.reproduction.process import Share, Started, start, stop

Watch = Callable[[Sequence[Job]], None]
"""Told several times a second which jobs are running."""

PAUSE = 0.2


def run(
    jobs: Sequence[Job],
    out: Path,
    watch: Watch,
    *,
    side_by_side: int | None = None,
    inherited: Sequence[int] = (),
) -> Generator[Outcome, None, None]:
    """Run jobs, each in a process of its own, that a crash or a want of memory ends alone.

    Closing the generator stops what is running.

    Args:
        jobs: In the order in which they start.
        out: DIR.
        watch: Told what is running.
        side_by_side: Jobs at a time; by default as many as there are GPUs for, and one where there are none.
            On a processor the threads of a job follow from it, and with them the last bits of its sums.
        inherited: Open files that each job holds.

    Yields:
        How each job ended, as it does.
    """
    places = shares(jobs, side_by_side)
    free, waiting, running = deque(range(len(places))), deque(jobs), dict[int, Started]()
    try:
        while waiting or running:
            while waiting and free:
                place = free.popleft()
                running[place] = start(waiting.popleft(), out, places[place], inherited)
            ended = {place: outcome for place, one in running.items() if (outcome := one.outcome())}
            for place, outcome in ended.items():
                del running[place]
                free.append(place)
                yield outcome
            watch([one.job for one in running.values()])
            if not ended:
                time.sleep(PAUSE)
    finally:
        stop(running.values())


def shares(jobs: Sequence[Job], side_by_side: int | None = None) -> list[Share]:
    """The machine, divided: cores evenly, whole GPUs as long as they last, and then each for several jobs."""
    wanted = max((gpus_of(job) for job in jobs), default=0)
    gpus = visible_gpus() if wanted else []
    places = side_by_side or max(1, len(gpus) // max(1, wanted))
    threads = max(1, cores() // (places * max((processes_of(job) for job in jobs), default=1)))
    if not gpus:
        return [Share(threads)] * places
    wanted = min(wanted, len(gpus))
    return [
        Share(threads, tuple(gpus[(place * wanted + k) % len(gpus)] for k in range(wanted)))
        for place in range(places)
    ]


def gpus_of(job: Job) -> int:
    """GPUs that a job is made for. One, where it is not said: more would make its batches larger."""
    trainer = job.config.trainer
    return 0 if trainer.accelerator == "cpu" else processes_of(job)


def processes_of(job: Job) -> int:
    """Processes that train one job together."""
    devices = job.config.trainer.devices
    return max(1, int(devices)) if str(devices).lstrip("-").isdecimal() else 1


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (named or [str(k) for k in range(count)])[:count]
