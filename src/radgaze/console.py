"""What the user sees in the terminal: one console, one kind of progress bar."""

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
"""Unicode categories that a terminal obeys, or cannot show: controls, surrogates, separators of lines."""
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of what follows, and so show another text than there is."""


def shown(text: object) -> str:
    """Text as a terminal may print it: on one line, control characters as escapes such as \\x1b.

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
    """A console for which text is text: no markup, and control characters are shown (`shown`).

    All strings that it prints, cells and titles of tables among them, come through `render_str`.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(shown(text), **(options | {"markup": False, "emoji": False}))


console = _Plain(stderr=True, highlight=False, emoji=False)


def results() -> Console:
    """A console on standard output, for tables of results."""
    return _Plain(highlight=False)


def put(text: object, *, lines: bool = False) -> None:
    """Print a result on standard output.

    Args:
        text: What is printed; on one line unless it has `lines` of its own.
        lines: Whether line breaks are the text's own, as of a Markdown table, and not of a name in it.
    """
    words = str(text)
    print("\n".join(map(shown, words.split("\n"))) if lines else shown(words))


def complain(message: object) -> None:
    """Print an error on standard error, on one line."""
    print(shown(_spelled(str(message))), file=sys.stderr)


_spelled: Callable[[str], str] = str


@contextmanager
def spelling(by: Callable[[str], str]) -> Iterator[None]:
    """Have `say` and `complain` spell settings and calls another way, see `radgaze.errors`."""
    global _spelled
    before, _spelled = _spelled, by
    try:
        yield
    finally:
        _spelled = before


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

    Brackets are no markup, control characters are shown (`shown`), and a full line is not broken.
    """
    if not _silent.get():
        console.print(_spelled(message), style="bold" if bold else None, markup=False, soft_wrap=True)


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
        self._task = progress.add_task(shown(description), total=total)

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)

    def describe(self, description: str) -> None:
        self._progress.update(self._task, description=shown(description))


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
