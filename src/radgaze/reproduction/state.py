"""`grid.json`: the plan and the state of a grid, from which an interrupted grid is resumed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from radgaze import experiments, locks, records
from radgaze.errors import UserError, call
from radgaze.execution.process import Outcome
from radgaze.files import is_leftover, read_json
from radgaze.reproduction.options import Matrix, Protocol, Selection
from radgaze.reproduction.plans import Job, Plan, PlannedStore
from radgaze.runs import origin, settings
from radgaze.store.store import Store
from radgaze.version import __version__

FORMAT = 1
FILE, LOCK = "grid.json", "grid.lock"

PATIENCE = 10.0
"""Time in seconds that the jobs of an interrupted grid have to end."""

ADVICE = "restore the file, or choose another `out`"


@dataclass(frozen=True)
class JobEntry:
    """A job in `grid.json`.

    Attributes:
        experiment: Name of the experiment.
        number: Number of the job, see `Job`.
        label: Label in messages.
        status: State of the job.
        reason: Reason of a failure; None for jobs that have not failed.
        seconds: Duration of a finished job; None for others.
        store: Name of the job's store; None in a grid on one store.
    """

    experiment: str
    number: int
    label: str
    status: Literal["done", "failed", "waiting"]
    reason: str | None
    seconds: float | None
    store: str | None = records.optional()

    @property
    def row(self) -> str:
        """See `Job.row`."""
        return f"{self.store}/{self.experiment}" if self.store else self.experiment

    @property
    def name(self) -> str:
        """See `Job.name`."""
        return f"{self.row}/seed-{self.number}"


@dataclass(frozen=True, kw_only=True)
class GridFile(records.Record):
    """The content of `grid.json`; see `Plan` for the fields that are not described here.

    Attributes:
        format: Version of the grid's folder.
        radgaze: Version of the software.
        contents: Hashes of the store's contents; None in files of older versions.
        jobs: State of each job.
        configurations: Configuration of each job, by its name.
        matrix: Matrix of the grid; None for "paper".
        stores: Identity and contents of each store, by path; None for one store.
    """

    format: int
    radgaze: str
    protocol: Protocol
    selection: Selection
    folds: int | None
    store: str
    identity: Mapping[str, object]
    contents: dict[str, str] | None = records.optional()
    overrides: Mapping[str, object]
    jobs: list[JobEntry]
    configurations: Mapping[str, Mapping[str, object]]
    matrix: Matrix | None = records.optional()
    stores: Mapping[str, PlannedStore] | None = records.optional()


@dataclass
class State:
    """State of a grid.

    Attributes:
        out: Folder of the grid.
        plan: Plan of the grid.
        done: Duration in seconds of each finished job, by its name.
        failed: Reason of each failed job, by its name.
    """

    out: Path
    plan: Plan
    done: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def todo(self) -> list[Job]:
        """Return the jobs that are not done, including failed ones."""
        return [job for job in self.plan.jobs if job.name not in self.done]

    def record(self, outcome: Outcome) -> None:
        """Record how a job ended, and write the file."""
        self.failed.pop(outcome.name, None)
        if outcome.reason is None:
            self.done[outcome.name] = outcome.seconds
        else:
            self.failed[outcome.name] = outcome.reason
        self.write()

    def write(self) -> None:
        """Write `grid.json`, atomically."""
        records.write(self.content(), self.out / FILE)

    def content(self) -> GridFile:
        """Return the content of `grid.json`."""
        plan = self.plan
        jobs = [
            JobEntry(
                experiment=job.experiment,
                number=job.number,
                label=job.label,
                status=self._status(job),
                reason=self.failed.get(job.name),
                seconds=self.done.get(job.name),
                store=job.store or None,
            )
            for job in plan.jobs
        ]
        return GridFile(
            format=FORMAT,
            radgaze=__version__,
            protocol=plan.protocol,
            selection=plan.selection,
            folds=plan.folds,
            store=plan.store,
            identity=records.plain_fields(plan.identity),
            contents=dict(plan.contents),
            overrides=records.plain_fields(plan.overrides),
            jobs=jobs,
            configurations={job.name: settings.to_dict(job.config) for job in plan.jobs},
            matrix=None if plan.matrix == "paper" else plan.matrix,
            stores=plan.stores or None,
        )

    def _status(self, job: Job) -> Literal["done", "failed", "waiting"]:
        return "done" if job.name in self.done else "failed" if job.name in self.failed else "waiting"


def run_folder(out: Path, job: Job) -> Path:
    """Return the folder of a job's run."""
    return out / "runs" / job.name


def log_file(out: Path, job: Job) -> Path:
    """Return the path of a job's log."""
    return out / "logs" / f"{job.name}.log"


def begin(plan: Plan, out: Path, *, resume: bool) -> State:
    """Write the state of a new grid or, with `resume`, read that of the grid in the folder.

    A resumed grid may have more experiments and seeds than before; nothing else may differ.

    Args:
        plan: Plan of the grid.
        out: Folder of the grid, which must exist.
        resume: Whether to continue a grid in the folder.

    Raises:
        UserError: The folder holds other files, a grid although `resume` is false, or a grid with another
            plan.
    """
    if not (out / FILE).is_file():
        if any(entry.name != LOCK and not is_leftover(entry, FILE) for entry in out.iterdir()):
            raise UserError(f"{out} is not empty and holds no {FILE}; choose another `out`")
        state = State(out, plan)
        state.write()
        return state
    saved = _read(out)
    if not resume:
        done = sum(entry.status == "done" for entry in saved.jobs)
        raise UserError(
            f"{out} holds a grid, {done} of its {len(saved.jobs)} runs done; "
            "go on with it by the same command and `resume=True`, or choose another `out`"
        )
    state = State(out, plan)
    differences = _differences(saved, state.content())
    if differences:
        listed = "; ".join(differences[:5]) + ("; …" if len(differences) > 5 else "")
        raise UserError(
            f"{out} cannot be resumed with these settings: {listed}. Go on with the settings it was begun "
            "with, or choose another `out`"
        )
    jobs = {job.name: job for job in plan.jobs}
    for entry in saved.jobs:
        if entry.status == "done" and _is_whole(run_folder(out, jobs[entry.name])):
            state.done[entry.name] = entry.seconds or 0.0
        elif entry.status == "failed":
            state.failed[entry.name] = entry.reason or ""
    state.write()
    return state


def load_job(out: Path, row: str, number: int) -> Job:
    """Read one job of a grid.

    Args:
        out: Folder of the grid.
        row: Experiment and store of the job, see `Job.row`.
        number: Number of the job.

    Raises:
        UserError: `grid.json` is damaged, or the store has changed since the grid was begun.
    """
    saved = _read(out)
    entry = next(entry for entry in saved.jobs if (entry.row, entry.number) == (row, number))
    config = settings.from_dict(saved.configurations[entry.name])
    planned = None if saved.stores is None else saved.stores.get(config.data)
    contents = saved.contents if planned is None else planned.contents
    if contents is not None:
        changed = origin.differences(contents, origin.contents(Store.open(config.data)))
        if changed:
            raise UserError(
                f"the store {config.data} is not the one that the grid in {out} was begun on, {changed}; put "
                "that one back"
            )
    return Job(entry.experiment, number, entry.label, config, entry.store or "")


@contextmanager
def locked(out: Path) -> Iterator[int]:
    """Hold a lock that prevents a second grid in the folder.

    A job that inherits the descriptor holds the lock as well, so that a grid cannot be resumed before all its
    jobs have ended.

    Yields:
        The descriptor of the lock's file.

    Raises:
        UserError: Another grid holds the lock.
    """
    out.mkdir(parents=True, exist_ok=True)
    message = f"another {call('reproduce')} is at work in {out}; wait for it, or stop it"
    with locks.exclusive(out / LOCK, message, patience=PATIENCE) as descriptor:
        yield descriptor


def _read(out: Path) -> GridFile:
    path = out / FILE
    content = read_json(path, lambda value: isinstance(value, dict), ADVICE)
    made_with = content.get("format", FORMAT)
    if made_with != FORMAT:
        raise UserError(
            f"{path} is of format {made_with}, this software writes {FORMAT}; choose another `out`"
        )
    saved = records.validated(GridFile, content, path, ADVICE)
    missing = [entry.name for entry in saved.jobs if entry.name not in saved.configurations]
    if missing:
        raise UserError(f"{path} is damaged: it has no configuration of {missing[0]}; {ADVICE}")
    return saved


def _differences(saved: GridFile, planned: GridFile) -> list[str]:
    """Differences between the plan of a saved grid and another plan, as messages, the most general first."""
    fields = {
        "radgaze": "radgaze",
        "protocol": "`protocol`",
        "selection": "`select`",
        "folds": "`cross_validate`",
        "store": "`data`",
    }
    if saved.matrix != planned.matrix:
        return [f"`matrix` was {saved.matrix or 'paper'}, now {planned.matrix or 'paper'}"]
    differences = [
        f"{words} was {getattr(saved, name)}, now {getattr(planned, name)}"
        for name, words in fields.items()
        if getattr(saved, name) != getattr(planned, name)
    ]
    # The file of an older version has only the identity.
    changed = "" if saved.contents is None else origin.differences(saved.contents, planned.contents or {})
    if changed or saved.identity != planned.identity:
        differences.append(
            f"{planned.store} is another store than it was" + (f", {changed}" if changed else "")
        )
    differences += _other_stores(saved.stores or {}, planned.stores or {})
    differences += _changed(saved.overrides, planned.overrides, "`{}`")
    missing = [entry.name for entry in saved.jobs if entry.name not in planned.configurations]
    if missing:
        differences.append(f"{', '.join(missing[:3])}{' …' if len(missing) > 3 else ''} not chosen any more")
    if not differences:  # the configurations would repeat the others
        for entry in saved.jobs:
            old, new = saved.configurations[entry.name], planned.configurations[entry.name]
            differences += _changed(old, new, f"{entry.name}: {{}}")
    return differences


def _other_stores(saved: Mapping[str, PlannedStore], planned: Mapping[str, PlannedStore]) -> list[str]:
    """Stores of both plans that hold something else than before, as messages."""
    messages = []
    for path, store in saved.items():
        now = planned.get(path, store)
        changed = origin.differences(store.contents, now.contents)
        if changed or records.plain(store.identity) != records.plain(now.identity):
            messages.append(f"{path} is another store than it was" + (f", {changed}" if changed else ""))
    return messages


def _changed(old: Mapping[str, object], new: Mapping[str, object], form: str) -> list[str]:
    before, after = experiments.flat(old), experiments.flat(new)
    return [
        f"{form.format(key)} was {before.get(key, 'not given')}, now {after.get(key, 'not given')}"
        for key in dict.fromkeys((*before, *after))
        if before.get(key, ...) != after.get(key, ...)
    ]


def _is_whole(run: Path) -> bool:
    return (run / "predictions.parquet").is_file() and (run / "metrics.json").is_file()
