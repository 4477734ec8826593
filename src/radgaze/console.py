"""Terminal output: one console, one kind of progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from unicodedata import category

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

HIDDEN = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode categories that control a terminal, or cannot be shown: controls, surrogates, separators."""
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of the following text, and so disguise it."""


def shown(text: object) -> str:
    """Make text safe for a terminal: on one line, control characters as escapes such as \\x1b.

    Ids, class names, paths and messages of other software may hold anything.
    """
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return "".join(
        sign.encode("unicode_escape").decode() if category(sign) in HIDDEN or sign in DIRECTIONS else sign
        for sign in words
    )


class _Plain(Console):
    """A console without markup that shows control characters (`shown`).

    All strings that it prints pass through `render_str`, also cells and titles of tables.
    """

    def render_str(self, text: str, **options: Any) -> Text:  # rich's own options
        return super().render_str(shown(text), **(options | {"markup": False, "emoji": False}))


console = _Plain(stderr=True, highlight=False, emoji=False)


def results() -> Console:
    """Make a console on standard output, for tables of results."""
    return _Plain(highlight=False)


def put(text: object, *, lines: bool = False) -> None:
    """Print a result on standard output.

    Args:
        text: Text to print; on one line unless `lines` is set.
        lines: Keep the line breaks, as in a Markdown table.
    """
    words = str(text)
    print("\n".join(map(shown, words.split("\n"))) if lines else shown(words))


def complain(message: object) -> None:
    """Print an error on standard error, on one line."""
    print(shown(_spelled(str(message))), file=sys.stderr)


_spelled: Callable[[str], str] = str


@contextmanager
def spelling(by: Callable[[str], str]) -> Iterator[None]:
    """Change how `say` and `complain` spell settings and calls, see `radgaze.errors`."""
    global _spelled
    before, _spelled = _spelled, by
    try:
        yield
    finally:
        _spelled = before


_silent = ContextVar("silent", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """Suppress messages and new progress bars within the block, for one part of a larger piece of work."""
    before = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(before)


def say(message: str, *, bold: bool = False) -> None:
    """Print one line for the user, on standard error, so that standard output stays for results.

    Brackets are not markup, control characters are shown (`shown`), and long lines are not wrapped.
    """
    if not _silent.get():
        console.print(_spelled(message), style="bold" if bold else None, markup=False, soft_wrap=True)


class _Rate(ProgressColumn):
    """Steps per second: recent ones while it runs, the mean when it is done."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed if task.finished else task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._unit}/s")


class Bar:
    """A running progress bar; `advance` moves it, `describe` changes its text."""

    def __init__(self, progress: Progress, total: int | None, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(shown(description), total=total)

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, description: str) -> None:
        self._progress.update(self._task, description=shown(description))


@contextmanager
def progress(
    description: str, total: int | None = None, *, period: float = 30.0, of: str | None = None
) -> Iterator[Bar]:
    """Show a progress bar with count, elapsed and remaining time; without a terminal, its start and end.

    Args:
        description: Text beside the bar, such as "Reading images".
        total: Number of steps; None where it is unknown.
        period: Time in seconds over which speed is measured; longer than a few steps take.
        of: Unit of the steps, such as "images", to show their rate; None for no rate.
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
