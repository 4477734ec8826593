"""What the user sees while a grid runs: one bar over all jobs, and a line as each ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from radgaze.console import Bar, progress, say
from radgaze.reproduction.plan import Job, Outcome
from radgaze.reproduction.state import State, log_file, run_folder

TRAINED = 0.9
"""The part of a job that its training is; the rest is evaluation and report."""

SHOWN = 3
"""Running jobs that the bar names."""

PERIOD = 6 * 3600.0
"""Seconds over which the time left is judged: an epoch may take minutes, and experiments differ."""


class Watch:
    """Called with the jobs that are running, it moves the bar by their epochs.

    Args:
        grid: The grid; its done jobs are the bar's beginning.
        bar: The bar, of as many steps as there are jobs.
    """

    def __init__(self, grid: State, bar: Bar) -> None:
        self._out, self._bar = grid.out, bar
        self._parts = {job.name: _part(grid.out, job)[0] for job in grid.todo()}
        bar.advance(len(grid.done) + sum(self._parts.values()))

    def __call__(self, running: Sequence[Job]) -> None:
        words = []
        for job in running:
            part, epoch = _part(self._out, job)
            self._move(job, part)
            words.append(f"{job} epoch {epoch}" if epoch else str(job))
        more = [f"{len(words) - SHOWN} more"] if len(words) > SHOWN else []
        self._bar.describe("Reproducing  " + ", ".join(words[:SHOWN] + more))

    def ended(self, outcome: Outcome) -> None:
        """Say how a job ended."""
        self._move(outcome.job, 1.0)
        if outcome.reason is None:
            say(f"{outcome.job}: done in {_duration(outcome.seconds)}")
        else:
            log = log_file(self._out, outcome.job)
            say(f"{outcome.job}: failed: {outcome.reason}; see {log}")

    def _move(self, job: Job, part: float) -> None:
        if part > self._parts[job.name]:
            self._bar.advance(part - self._parts[job.name])
            self._parts[job.name] = part


@contextmanager
def watching(grid: State) -> Iterator[Watch]:
    """The bar, as long as the grid runs."""
    with progress("Reproducing", total=len(grid.plan.jobs), period=PERIOD) as bar:
        yield Watch(grid, bar)


def _part(out: Path, job: Job) -> tuple[float, str]:
    """How much of a job is done, and "12/35" epochs; nothing before the first is."""
    epochs, most = _epochs(run_folder(out, job) / "history.csv"), job.config.trainer.max_epochs
    return TRAINED * min(1.0, epochs / most), f"{epochs}/{most}" if epochs else ""


def _epochs(history: Path) -> int:
    """Rows of a history that is written meanwhile."""
    try:
        return max(0, history.read_bytes().count(b"\n") - 1)
    except OSError:
        return 0


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
