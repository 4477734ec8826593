"""Objects at the prompt and in a notebook: short tables as plain text and as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from radgaze.console import shown

GAP = "  "


def text_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align a table in columns, those of whole numbers to the right."""
    columns = []
    for column in zip(*([shown(cell) for cell in line] for line in (heads, *rows)), strict=True):
        width, to_right = max(map(len, column)), all(cell.isdecimal() for cell in column[1:])
        columns.append([cell.rjust(width) if to_right else cell.ljust(width) for cell in column])
    return "\n".join(GAP.join(line).rstrip() for line in zip(*columns, strict=True))


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
    table = f"<table><tbody>{_rows(stated)}</tbody></table>" if stated else ""
    return f"<b>{escape(title)}</b>{table}"


def _rows(rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)


def _cells(tag: str, cells: Sequence[str]) -> str:
    return "".join(f'<{tag} style="text-align:left">{escape(cell)}</{tag}>' for cell in cells)
