"""Running of a grid, from its plan to its tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.console import say
from radgaze.errors import Stopped
from radgaze.execution import cluster, local
from radgaze.reproduction import state
from radgaze.reproduction.job import task
from radgaze.reproduction.options import ReproduceOptions
from radgaze.reproduction.plans import Plan
from radgaze.reproduction.progress import grid_progress
from radgaze.reproduction.state import State, run_folder

if TYPE_CHECKING:
    from radgaze.reporting.paper import Results
    from radgaze.runs.run import Run


def reproduce(
    plan: Plan,
    out: Path,
    options: ReproduceOptions = ReproduceOptions(),  # noqa: B008 - frozen
) -> tuple[State, Path | None]:
    """Run the jobs of a grid that are not done, and write its tables, figures and page.

    A grid that was interrupted at any time and resumed has the same predictions and tables as one that was
    not, provided that training is deterministic: on one machine, with the same number of parallel jobs.

    Args:
        plan: The grid.
        out: Folder of the grid.
        options: Options, of which the engine, the number of jobs and `resume` are used.

    Returns:
        The state of the grid, and the path of its page; None where no job is done.

    Raises:
        UserError: The folder, the plan or the engine cannot be used.
        Stopped: The grid was interrupted by Ctrl-C.
    """
    if options.engine == "ray":
        cluster.load()  # before anything is written
    with state.locked(out) as lock:
        grid = state.begin(plan, out, resume=options.resume)
        if grid.done:
            say(f"{len(grid.done)} of {len(plan.jobs)} runs are done: left as they are")
        try:
            _run(grid, options, [lock] if os.name == "posix" else [])
            return grid, write(grid) if grid.done else None
        except KeyboardInterrupt as stop:
            raise Stopped(
                f"{len(grid.done)} of {len(plan.jobs)} runs are done; "
                "the same command with `resume=True` goes on from here"
            ) from stop


def results(grid: State, store: str = "") -> Results:
    """Collect the runs that are done, and the reasons why others failed.

    Args:
        grid: The grid.
        store: Name of the store of these runs, in a grid on several stores.
    """
    from radgaze.reporting.paper import Results
    from radgaze.runs.run import Run  # imports torch, which only the jobs have needed so far

    runs: dict[str, dict[int, Run]] = {}
    jobs = [job for job in grid.plan.jobs if job.store == store]
    for job in jobs:
        if job.name in grid.done:
            runs.setdefault(job.experiment, {})[job.number] = Run.open(run_folder(grid.out, job))
    failed = {(job.experiment, job.number): grid.failed[job.name] for job in jobs if job.name in grid.failed}
    unit = "seed" if grid.plan.folds is None else "fold"
    return Results(grid.plan.protocol, grid.plan.selection, runs, failed, unit)


def write(grid: State) -> Path:
    """Write the folders `tables` and `figures`, and `index.html`; return the page."""
    from radgaze.reporting import paper, reasons

    if grid.plan.matrix == "paper":
        return paper.write(results(grid), grid.out)
    stores = dict.fromkeys(job.store for job in grid.plan.jobs)
    return reasons.write(reasons.ReasonsResults({name: results(grid, name) for name in stores}), grid.out)


def _run(grid: State, options: ReproduceOptions, inherited: Sequence[int]) -> None:
    tasks = [task(job, grid.out) for job in grid.todo()]
    if not tasks:
        return
    with grid_progress(grid) as progress:
        if options.engine == "ray":
            outcomes = cluster.run(
                tasks,
                progress,
                visible=grid.out.resolve() / state.FILE,
                address=options.ray_address,
                side_by_side=options.jobs,
            )
        else:
            outcomes = local.run(tasks, progress, side_by_side=options.jobs, inherited=inherited)
        with closing(outcomes):
            for outcome in outcomes:
                grid.record(outcome)
                progress.ended(outcome)
