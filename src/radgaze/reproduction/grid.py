"""A grid from its plan to its tables."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from radgaze.cluster import load
from radgaze.console import say
from radgaze.errors import UserError
from radgaze.reproduction import cluster, local, state
from radgaze.reproduction.plan import Plan
from radgaze.reproduction.state import State, run_folder
from radgaze.reproduction.watch import watching

if TYPE_CHECKING:
    from radgaze.reporting.paper import Results
    from radgaze.runs.run import Run

Engine = Literal["local", "ray"]


class Stopped(KeyboardInterrupt):
    """A grid was stopped with Ctrl-C; what is done is in its folder."""


def reproduce(
    plan: Plan,
    out: Path,
    *,
    engine: Engine = "local",
    side_by_side: int | None = None,
    ray_address: str | None = None,
    resume: bool = False,
) -> tuple[State, Path | None]:
    """Run what of a grid is not done yet, and write its tables, figures and page.

    Killed at any moment and resumed, it leaves the same predictions as one that never stopped, and so the
    same tables, where the training itself is deterministic: on one machine with the same `side_by_side`.

    Args:
        plan: The grid.
        out: Its folder, DIR.
        engine: Where jobs run: on this machine, or on a Ray cluster.
        side_by_side: Jobs at a time; by default as the engine says.
        ray_address: Of the cluster; by default one is made here.
        resume: Go on with the grid that is in DIR. Jobs that failed are tried again.

    Returns:
        How the jobs ended, and the page: None where none is done.

    Raises:
        UserError: DIR, the plan or the engine cannot be used.
        Stopped: Ctrl-C.
    """
    if side_by_side is not None and side_by_side < 1:
        raise UserError(f"--jobs is {side_by_side}; it must be at least 1")
    if ray_address is not None and engine != "ray":
        raise UserError("--ray-address goes with --engine ray")
    if engine == "ray":
        load()  # before anything is written
    with state.locked(out) as lock:
        grid = state.begin(plan, out, resume=resume)
        if grid.done:
            say(f"{len(grid.done)} of {len(plan.jobs)} runs are done: left as they are")
        held = [lock.fileno()] if os.name == "posix" else []
        try:
            _run(grid, engine, side_by_side, ray_address, held)
            return grid, write(grid) if grid.done else None
        except KeyboardInterrupt as stop:
            raise Stopped(
                f"{len(grid.done)} of {len(plan.jobs)} runs are done; "
                "the same command with --resume goes on from here"
            ) from stop


def results(grid: State) -> Results:
    """What the tables are made of: the runs that are done, and why the others failed."""
    from radgaze.reporting.paper import Results
    from radgaze.runs.run import Run  # torch, which only the jobs need until now

    runs: dict[str, dict[int, Run]] = {}
    for job in grid.plan.jobs:
        if job.name in grid.done:
            runs.setdefault(job.experiment, {})[job.number] = Run.open(run_folder(grid.out, job))
    failed = {
        (job.experiment, job.number): grid.failed[job.name]
        for job in grid.plan.jobs
        if job.name in grid.failed
    }
    return Results(protocol=grid.plan.protocol, selection=grid.plan.selection, runs=runs, failed=failed)


def write(grid: State) -> Path:
    """Write DIR/tables, DIR/figures and DIR/index.html; return the page."""
    from radgaze.reporting import paper

    return paper.write(results(grid), grid.out)


def _run(
    grid: State, engine: Engine, side_by_side: int | None, ray_address: str | None, held: list[int]
) -> None:
    todo = grid.todo()
    if not todo:
        return
    with watching(grid) as watch:
        if engine == "ray":
            outcomes = cluster.run(todo, grid.out, watch, address=ray_address, side_by_side=side_by_side)
        else:
            outcomes = local.run(todo, grid.out, watch, side_by_side=side_by_side, inherited=held)
        with closing(outcomes):
            for outcome in outcomes:
                grid.record(outcome)
                watch.ended(outcome)
