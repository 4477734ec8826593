"""What the user sees in the terminal: one console, one kind of progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

console = Console(stderr=True, highlight=False, emoji=False)

_silent = ContextVar("silent", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """Say nothing within and show no bar that begins there: work of which there is much, shown as a whole."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


def say(message: str, *, bold: bool = False) -> None:
    """Print one line for the user, on standard error, so that standard output stays for results.

    It is printed as it is: a path or a name may hold brackets, and is not broken where a line is full.
    """
    if not _silent.get():
        console.print(message, style="bold" if bold else None, markup=False, soft_wrap=True)


class _Rate(ProgressColumn):
    """Steps a second: lately while it runs, on the whole when it is done."""

    def __init__(self, of: str) -> None:
        super().__init__()
        self._of = of

    def render(self, task: Task) -> Text:
        speed = task.finished_speed if task.finished else task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._of}/s")


class Bar:
    """A running progress bar; `advance` moves it, `describe` changes its words."""

    def __init__(self, progress: Progress, total: int | None, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total)

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, description: str) -> None:
        self._progress.update(self._task, description=description)


@contextmanager
def progress(
    description: str, total: int | None = None, *, period: float = 30.0, of: str | None = None
) -> Iterator[Bar]:
    """Show a progress bar with count, elapsed and remaining time; where no terminal listens, start and end.

    Args:
        description: What is being done, e.g. "Reading images".
        total: Number of steps, or None where it is not known.
        period: Seconds over which speed is measured for the remaining time; longer than a few steps take.
        of: What the steps are, e.g. "images", where their rate is to be shown.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        *([] if of is None else [_Rate(of)]),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=False,
        disable=_silent.get(),
        speed_estimate_period=period,
    ) as bars:
        yield Bar(bars, total, description)
