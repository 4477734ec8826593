"""Markdown tables, and text that Markdown shows unchanged."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from radgaze.console import shown


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table; its cells are Markdown, so that names of runs, classes and cases must be `escaped`."""
    lines = [header, ["---"] * len(header), *rows]
    bar = re.compile(r"(?<!\\)\|")
    return "\n".join(
        "| " + " | ".join(bar.sub(r"\|", shown(" ".join(cell.split()))) for cell in line) + " |"
        for line in lines
    )


def escaped(text: str) -> str:
    """Escape text so that Markdown shows it unchanged, on one line, and also within a table's cell."""
    flat = html.escape(shown(" ".join(text.split())), quote=False)
    # An underscore within a word, as in set3_guided, is no mark of emphasis.
    return re.sub(r"([\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", flat)
