"""The progress of a grid in the terminal: one bar over all jobs, and a line for each job that ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from radgaze.console import Bar, progress, say
from radgaze.execution.process import Outcome
from radgaze.reproduction.plans import Job
from radgaze.reproduction.state import State, log_file, run_folder
from radgaze.runs.history import HISTORY, epochs_in

TRAINED = 0.9
"""Share of the time of a job that training takes; the rest is evaluation and report."""

SHOWN = 3
"""Number of running jobs that the bar names."""

PERIOD = 6 * 3600.0
"""Period in seconds over which speed is averaged; an epoch may take minutes, and experiments differ."""


class GridProgress:
    """Function that moves the bar by the epochs of the running jobs, called with their names.

    Args:
        grid: The grid; the bar starts at the number of its finished jobs.
        bar: The bar, with one step for each job.
    """

    def __init__(self, grid: State, bar: Bar) -> None:
        self._out, self._bar = grid.out, bar
        self._jobs = {job.name: job for job in grid.todo()}
        self._shares = {name: _share(grid.out, job)[0] for name, job in self._jobs.items()}
        bar.advance(len(grid.done) + sum(self._shares.values()))

    def __call__(self, running: Sequence[str]) -> None:
        words = []
        for name in running:
            job = self._jobs[name]
            share, epoch = _share(self._out, job)
            self._move(name, share)
            words.append(f"{job} epoch {epoch}" if epoch else str(job))
        more = [f"{len(words) - SHOWN} more"] if len(words) > SHOWN else []
        self._bar.describe("Reproducing  " + ", ".join(words[:SHOWN] + more))

    def ended(self, outcome: Outcome) -> None:
        """Print how a job ended."""
        self._move(outcome.name, 1.0)
        job = self._jobs[outcome.name]
        if outcome.reason is None:
            say(f"{job}: done in {_duration(outcome.seconds)}")
        else:
            say(f"{job}: failed: {outcome.reason}; see {log_file(self._out, job)}")

    def _move(self, name: str, share: float) -> None:
        if share > self._shares[name]:
            self._bar.advance(share - self._shares[name])
            self._shares[name] = share


@contextmanager
def grid_progress(grid: State) -> Iterator[GridProgress]:
    """Show a bar while a grid runs."""
    with progress("Reproducing", total=len(grid.plan.jobs), period=PERIOD) as bar:
        yield GridProgress(grid, bar)


def _share(out: Path, job: Job) -> tuple[float, str]:
    """Share of a job that is done, and its epochs as "12/35", empty before the first epoch has ended."""
    epochs, maximum = epochs_in(run_folder(out, job) / HISTORY), job.config.trainer.max_epochs
    return TRAINED * min(1.0, epochs / maximum), f"{epochs}/{maximum}" if epochs else ""


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
