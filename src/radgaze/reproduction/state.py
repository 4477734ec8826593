"""DIR/grid.json: what a grid is and how far it has come, so that a killed one goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from radgaze import __version__, experiments
from radgaze.errors import UserError
from radgaze.files import is_leftover, read_json, write_text
from radgaze.reproduction.plan import Job, Outcome, Plan
from radgaze.runs import origin, settings
from radgaze.store.store import Store

FORMAT = 1
FILE, LOCK = "grid.json", "grid.lock"

PATIENCE = 10.0
"""Seconds that jobs of a killed grid may take to be gone."""


@dataclass
class State:
    """A grid in its folder.

    Attributes:
        out: The folder, DIR.
        plan: What is run.
        done: Seconds that each finished job took, by its name.
        failed: Why each failed job did, by its name.
    """

    out: Path
    plan: Plan
    done: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def todo(self) -> list[Job]:
        """The jobs that are not done; those that failed are among them."""
        return [job for job in self.plan.jobs if job.name not in self.done]

    def record(self, outcome: Outcome) -> None:
        """Note how a job ended, on disk too."""
        name = outcome.job.name
        self.failed.pop(name, None)
        if outcome.reason is None:
            self.done[name] = outcome.seconds
        else:
            self.failed[name] = outcome.reason
        self.write()

    def write(self) -> None:
        """Write DIR/grid.json, so that it is there whole or as it was."""
        plan = self.plan
        jobs = [
            {
                "experiment": job.experiment,
                "number": job.number,
                "label": job.label,
                "status": self._status(job),
                "reason": self.failed.get(job.name),
                "seconds": self.done.get(job.name),
            }
            for job in plan.jobs
        ]
        configurations = {job.name: settings.to_dict(job.config) for job in plan.jobs}
        text = json.dumps({**_head(plan), "jobs": jobs, "configurations": configurations}, indent=1)
        write_text(text + "\n", self.out / FILE)

    def _status(self, job: Job) -> str:
        return "done" if job.name in self.done else "failed" if job.name in self.failed else "waiting"


def run_folder(out: Path, job: Job) -> Path:
    """Where a job's run lies."""
    return out / "runs" / job.name


def log_file(out: Path, job: Job) -> Path:
    """What a job says."""
    return out / "logs" / f"{job.name}.log"


def begin(plan: Plan, out: Path, *, resume: bool) -> State:
    """The state of a new grid, written; or of the one that is there, which `resume` goes on with.

    Resumed, a grid may grow by experiments and seeds. Nothing else may differ.

    Raises:
        UserError: DIR holds something else, or a grid that is not resumed or was begun otherwise.
    """
    if not (out / FILE).is_file():
        if any(entry.name != LOCK and not is_leftover(entry, FILE) for entry in out.iterdir()):
            raise UserError(f"{out} is not empty and holds no {FILE}; name another --out")
        state = State(out, plan)
        state.write()
        return state
    saved = _read(out)
    if not resume:
        done = sum(job["status"] == "done" for job in saved["jobs"])
        raise UserError(
            f"{out} holds a grid, {done} of its {len(saved['jobs'])} runs done; "
            "go on with it by the same command and --resume, or name another --out"
        )
    differences = _differences(saved, plan)
    if differences:
        shown = "; ".join(differences[:5]) + ("; …" if len(differences) > 5 else "")
        raise UserError(
            f"{out} cannot be resumed with this: {shown}. Go on with the arguments it was begun with, "
            "or name another --out"
        )
    names = {job.name: job for job in plan.jobs}
    state = State(out, plan)
    for entry in saved["jobs"]:
        job = names[f"{entry['experiment']}/seed-{entry['number']}"]
        if entry["status"] == "done" and _is_whole(run_folder(out, job)):
            state.done[job.name] = entry["seconds"]
        elif entry["status"] == "failed":
            state.failed[job.name] = entry["reason"]
    state.write()
    return state


def load_job(out: Path, experiment: str, number: int) -> Job:
    """One job of the grid in DIR."""
    saved = _read(out)
    entry = next(
        entry for entry in saved["jobs"] if (entry["experiment"], entry["number"]) == (experiment, number)
    )
    config = settings.from_dict(saved["configurations"][f"{experiment}/seed-{number}"])
    if "contents" in saved:
        changed = origin.differences(saved["contents"], origin.contents(Store.open(config.data)))
        if changed:
            raise UserError(
                f"the store {config.data} is not the one that the grid in {out} was begun on, {changed}; put "
                "that one back"
            )
    return Job(experiment, number, entry["label"], config)


@contextmanager
def locked(out: Path) -> Iterator[IO[str]]:
    """Keep a second grid away from DIR; yields the lock's open file.

    A job that inherits the file holds the lock too: so a grid whose jobs outlive it by a moment cannot be
    resumed before they are gone.

    Raises:
        UserError: Another one is at work.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a") as lock:
        try:
            import fcntl
        except ImportError:  # not a POSIX system
            yield lock
            return
        until = time.monotonic() + PATIENCE
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if time.monotonic() > until:
                raise UserError(f"another radgaze reproduce is at work in {out}; wait for it, or stop it")
            time.sleep(0.2)
        yield lock


def _head(plan: Plan) -> dict[str, Any]:
    head = {
        "format": FORMAT,
        "radgaze": __version__,
        "protocol": plan.protocol,
        "selection": plan.selection,
        "folds": plan.folds,
        "store": plan.store,
        "identity": plan.identity,
        "contents": plan.contents,
        "overrides": plan.overrides,
    }
    return dict(json.loads(json.dumps(head)))  # tuples are lists, as they will be when it is read


def _read(out: Path) -> dict[str, Any]:
    advice = "put it back as it was, or name another --out"
    saved = dict(read_json(out / FILE, lambda found: isinstance(found, dict) and "format" in found, advice))
    made_with = saved["format"]
    if made_with == FORMAT and not _is_state(saved):
        raise UserError(f"{out / FILE} does not hold a grid's state; {advice}")
    if made_with != FORMAT:
        raise UserError(
            f"{out} holds a grid of format {made_with}, this software writes {FORMAT}; name another --out"
        )
    return saved


def _is_state(found: Mapping[str, Any]) -> bool:
    """Whether a file of our format holds what `write` writes."""
    jobs, configurations = found.get("jobs"), found.get("configurations")
    if not (isinstance(jobs, list) and isinstance(configurations, dict)):
        return False
    heads = {"radgaze", "protocol", "selection", "folds", "store", "identity", "overrides"}
    return (
        heads <= found.keys()
        and isinstance(found["overrides"], dict)
        and isinstance(found.get("contents", {}), dict)
        and all(
            isinstance(job, dict)
            and job.keys() >= {"experiment", "number", "label", "status", "reason", "seconds"}
            for job in jobs
        )
        and all(
            isinstance(configurations.get(f"{job['experiment']}/seed-{job['number']}"), dict) for job in jobs
        )
    )


def _differences(saved: Mapping[str, Any], plan: Plan) -> list[str]:
    """What makes the plan another one than what was begun, in the user's words; the plainest first."""
    head = _head(plan)
    found = [
        f"{name} was {saved[name]}, now {head[name]}"
        for name in ("radgaze", "protocol", "selection", "folds", "store")
        if saved[name] != head[name]
    ]
    # One begun by software of before keeps what the store was made from alone.
    changed = origin.differences(saved["contents"], head["contents"]) if "contents" in saved else ""
    if changed or saved["identity"] != head["identity"]:
        found.append(f"{plan.store} is another store than it was" + (f", {changed}" if changed else ""))
    found += _changed(experiments.flat(saved["overrides"]), experiments.flat(head["overrides"]), "--{}")
    now = {job.name: job for job in plan.jobs}
    begun = [f"{entry['experiment']}/seed-{entry['number']}" for entry in saved["jobs"]]
    gone = [name for name in begun if name not in now]
    if gone:
        found.append(f"{', '.join(gone[:3])}{' …' if len(gone) > 3 else ''} not asked for any more")
    if not found:  # else these only say the same again
        for name in begun:
            old, new = saved["configurations"][name], settings.to_dict(now[name].config)
            found += _changed(experiments.flat(old), experiments.flat(new), f"{name}: {{}}")
    return found


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], form: str) -> list[str]:
    return [
        f"{form.format(key)} was {old.get(key, 'not given')}, now {new.get(key, 'not given')}"
        for key in dict.fromkeys((*old, *new))
        if old.get(key, ...) != new.get(key, ...)
    ]


def _is_whole(run: Path) -> bool:
    return (run / "predictions.parquet").is_file() and (run / "metrics.json").is_file()
