"""Terminal output: one console, one kind of progress bar; and messages through the logger "radgaze".

Library code does not print messages but logs them (`say`, `note`). The command line shows them (`messages`);
elsewhere it is for the user's own configuration of `logging`, without which Python shows warnings alone.
"""

from __future__ import annotations

import logging
import sys
import time
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

LINE_EVERY = 60.0
"""Seconds between two lines on the progress of work where there is no terminal."""
UPDATE_EVERY = 0.5
"""Seconds between two states of a line in a notebook."""
NUMBERS = 38
"""Columns of a terminal that a bar takes with its count, times and gaps."""


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


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook, whose cells show what is written to standard error."""
    return "ipykernel" in sys.modules and type(sys.stderr).__module__.startswith("ipykernel")


IN_NOTEBOOK = _in_notebook()

# Rich's own way in a notebook needs widgets, and warns for each bar without them; see `_Cell`.
console = _Plain(stderr=True, highlight=False, emoji=False, force_jupyter=False)


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
    # At once, also into a pipe or a log, which would show a worker's lines only when it ends.
    print("\n".join(map(shown, words.split("\n"))) if lines else shown(words), flush=True)


def complain(message: object) -> None:
    """Print an error on standard error, on one line."""
    print(shown(_spelled(str(message))), file=sys.stderr)


_spelled: Callable[[str], str] = str


@contextmanager
def spelling(by: Callable[[str], str]) -> Iterator[None]:
    """Change how `say`, `note` and `complain` spell settings and calls, see `radgaze.errors`."""
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


LOG = logging.getLogger("radgaze")


def say(message: str, *, bold: bool = False) -> None:
    """Log one line for the user, at the level INFO; control characters are shown (`shown`)."""
    _log(logging.INFO, message, bold=bold)


def note(message: str, *, bold: bool = False) -> None:
    """Log one line that the user should not miss, at the level WARNING: an assumption, something missing."""
    _log(logging.WARNING, message, bold=bold)


def _log(level: int, message: str, *, bold: bool) -> None:
    if not _silent.get():
        LOG.log(level, "%s", shown(_spelled(message)), extra={"bold": bold}, stacklevel=3)


class _OnConsole(logging.Handler):
    """Print messages on standard error, so that standard output stays for results.

    Brackets are not markup, and long lines are not wrapped.
    """

    def emit(self, record: logging.LogRecord) -> None:
        style = "bold" if getattr(record, "bold", False) else None
        console.print(record.getMessage(), style=style, markup=False, soft_wrap=True)


@contextmanager
def messages() -> Iterator[None]:
    """Print the messages of the library within the block, those of the level INFO too, once and not twice."""
    handler, level, propagates = _OnConsole(), LOG.level, LOG.propagate
    if any(isinstance(each, _OnConsole) for each in LOG.handlers):
        yield
        return
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
        LOG.propagate = propagates


class _Rate(ProgressColumn):
    """Steps per second: recent ones while it runs, the mean when it is done."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed if task.finished else task.speed
        return Text("" if speed is None else f"{speed:.1f} {self._unit}/s")


class _Cell:
    """One line in the output of a notebook's cell, which each new state replaces, also in the saved file."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, line: str) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(  # type: ignore[no-untyped-call]  # IPython's own
                {"text/plain": line}, raw=True, display_id=True
            )
        else:
            self._handle.update({"text/plain": line}, raw=True)


class Bar:
    """A running progress bar; `advance` moves it, `describe` changes its text.

    Args:
        progress: The bar on a terminal.
        cell: The line in a notebook; None elsewhere.
        total: Number of steps; None where it is unknown.
        description: Text beside the bar.
        of: Unit of the steps, to tell their rate; None for no rate.
    """

    def __init__(
        self, progress: Progress, cell: _Cell | None, total: int | None, description: str, of: str | None
    ) -> None:
        self._progress, self._cell, self._total, self._of = progress, cell, total, of
        self._task = progress.add_task(_cropped(description), total=total)
        self._description = description
        self._done, self._started = 0.0, time.monotonic()
        self._told, self._stated = self._started, ("", -1.0)

    def advance(self, steps: float = 1) -> None:
        self._progress.advance(self._task, steps)
        self._done += steps
        if (self._cell or not is_live()) and time.monotonic() - self._told > self._every():
            self.tell()

    def describe(self, description: str) -> None:
        self._progress.update(self._task, description=_cropped(description))
        self._description = description

    def tell(self) -> None:
        """Print the state on a line of its own, unless it was told; for where no terminal shows a bar.

        In a notebook it replaces the line of the state before.
        """
        state = self._description, self._done
        if self._stated == state:
            return
        self._told, self._stated = time.monotonic(), state
        seconds = self._told - self._started
        total = "" if self._total is None else f"/{self._total:g}"
        rate = "" if self._of is None else f" {self._done / max(seconds, 1e-9):.1f} {self._of}/s"
        minutes, rest = divmod(int(seconds), 60)
        line = f"{self._description}  {self._done:g}{total}{rate} {minutes // 60}:{minutes % 60:02}:{rest:02}"
        if self._cell is None:
            say(line)
        else:
            self._cell.show(shown(line))

    def _every(self) -> float:
        return LINE_EVERY if self._cell is None else UPDATE_EVERY


def is_live() -> bool:
    """Whether progress is shown as a moving bar, on a terminal or in a notebook, and not in lines."""
    return IN_NOTEBOOK or console.is_terminal


def _cropped(description: str) -> str:
    """The description, cut where the numbers beside it would not fit on the line."""
    words, most = shown(description), max(20, console.width - NUMBERS)
    return words if len(words) <= most else f"{words[: most - 1]}…"


@contextmanager
def progress(
    description: str, total: int | None = None, *, period: float = 30.0, of: str | None = None
) -> Iterator[Bar]:
    """Show a progress bar with count, elapsed and remaining time.

    Without a terminal, as in the log of a cluster, a line tells the state every `LINE_EVERY` seconds and at
    the end. In a notebook it is one line, whose state is replaced.

    Args:
        description: Text beside the bar, such as "Reading images".
        total: Number of steps; None where it is unknown.
        period: Time in seconds over which speed is measured; longer than a few steps take.
        of: Unit of the steps, such as "images", to show their rate; None for no rate.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        *([] if of is None else [_Rate(of)]),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=False,
        disable=_silent.get() or IN_NOTEBOOK or not is_live(),
        speed_estimate_period=period,
    ) as bars:
        cell = _Cell() if IN_NOTEBOOK and not _silent.get() else None
        bar = Bar(bars, cell, total, description, of)
        if cell is not None:
            bar.tell()  # now, so that lines stand in the order in which steps begin
        try:
            yield bar
        finally:
            if cell is not None or not is_live():
                bar.tell()
