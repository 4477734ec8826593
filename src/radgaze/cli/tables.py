"""Tables on the terminal that are split where they are wider than it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


Row = tuple[str, Sequence[str]]


def show(console: Console, title: str, corner: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Print a table; one that is wider than the console is split into several, each with the rows' names.

    A cell is never wrapped or cut, so that an interval stays whole. Its text is not markup.

    Args:
        console: Console to print on.
        title: Title of the first table.
        corner: Heading of the rows' names.
        columns: Names of the columns.
        rows: Name and cells of each row.
    """
    from rich.table import Table
    from rich.text import Text

    first = max(_width(text) for text in (corner, *(name for name, _ in rows)))
    widths = [
        max(_width(text) for text in (name, *(cells[place] for _, cells in rows)))
        for place, name in enumerate(columns)
    ]
    for number, places in enumerate(blocks(first, widths, console.width)):
        table = Table(title=Text(title + (" (continued)" if number else ""), style="italic"))
        table.add_column(Text(corner), no_wrap=True, overflow="fold")
        for place in places:
            table.add_column(Text(columns[place]), no_wrap=True, overflow="fold")
        for name, cells in rows:
            table.add_row(Text(name), *(Text(cells[place]) for place in places))
        console.print(table)


def blocks(first: int, widths: Sequence[int], width: int) -> list[list[int]]:
    """Columns that fit side by side into `width`, beside a first column: at least one in each block."""
    parts: list[list[int]] = [[]]
    used = free = first + 4  # a cell has a space on each side, and a rule
    for place, wide in enumerate(widths):
        if parts[-1] and used + wide + 3 > width:
            parts.append([])
            used = free
        parts[-1].append(place)
        used += wide + 3
    return parts


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
