"""Numbers in the tables of benchmarks."""

from __future__ import annotations

from benchmarks.results import Cell


def number(cell: Cell) -> int | float:
    """A cell that holds no text."""
    assert not isinstance(cell, str)
    return cell
