"""Objects at the prompt and in a notebook: short tables as plain text and as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from radgaze.console import shown

GAP = "  "


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align a table in columns, the first to the left, the others to the right."""
    lines = [[shown(cell) for cell in line] for line in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        GAP.join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def text_facts(title: str, facts: Mapping[str, str]) -> str:
    """A title, and below it a line for each fact; empty ones are left out."""
    stated = {name: words for name, words in facts.items() if words}
    width = max(map(len, stated), default=0)
    lines = [f"{GAP}{name.ljust(width)}{GAP}{shown(words)}" for name, words in stated.items()]
    return "\n".join([shown(title), *lines])


def near(path: Path) -> str:
    """A path, relative to the current folder where it lies in it."""
    whole, here = path.resolve(), Path.cwd()
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(path)


def html_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format the same table as `text_table` in HTML."""
    return f"<table><thead><tr>{_cells('th', heads)}</tr></thead><tbody>{_rows(rows)}</tbody></table>"


def html_facts(title: str, facts: Mapping[str, str]) -> str:
    """Format the same facts as `text_facts` in HTML."""
    stated = [(name, words) for name, words in facts.items() if words]
    return f"<b>{escape(title)}</b><table><tbody>{_rows(stated)}</tbody></table>"


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "".join(f'<{tag} style="text-align:left">{escape(cell)}</{tag}>' for cell in cells)
