"""Tables written to files and read again; a fault of the disk is an `OSError`, as for every other file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from radgaze.files import disk_faults, written


def write_parquet(
    table: pl.DataFrame | pl.LazyFrame, path: Path, *, rows: int | None = None, lasting: bool = True
) -> None:
    """Write a Parquet table atomically.

    Args:
        table: Table in memory, or a lazy one, which is written in parts.
        path: Path of the file.
        rows: Number of rows in a row group.
        lasting: Whether to wait until the file is on the disk.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    with written(path, lasting=lasting) as aside:
        if isinstance(table, pl.LazyFrame):
            table.sink_parquet(aside, row_group_size=rows)
        else:
            table.write_parquet(aside, row_group_size=rows)


_SIGNS = r"'*[=+\-@\t\r\n＝＋－＠]"
EXECUTED = re.compile(rf"^({_SIGNS})")
"""Beginning of text that a spreadsheet takes for a formula, or that looks marked already."""
MARKED = re.compile(rf"^'({_SIGNS})")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def harmless(text: str) -> str:
    """Mark text of a CSV cell with an apostrophe where a spreadsheet would execute it (OWASP, CSV injection).

    Numbers stay as they are. `read_csv` removes the apostrophe.
    """
    return text if NUMBER.fullmatch(text) else EXECUTED.sub(r"'\1", text)


def harmless_row(cells: Iterable[object]) -> list[object]:
    """Mark the text among the cells of a row by `harmless`."""
    return [harmless(cell) if isinstance(cell, str) else cell for cell in cells]


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a table of comma-separated values atomically, with its text marked by `harmless`.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    with written(path) as aside:
        _harmless(table).write_csv(aside)


def csv_text(table: pl.DataFrame) -> str:
    """Format a table as the text of the file that `write_csv` writes."""
    return _harmless(table).write_csv()


def read_csv(path: Path) -> pl.DataFrame:
    """Read a table that `write_csv` wrote, with all columns as text, as it was before.

    Raises:
        OSError: There is no such file, or it cannot be read.
        pl.exceptions.PolarsError: It is no CSV.
    """
    with disk_faults(path):
        table = pl.read_csv(path, glob=False, infer_schema=False)
    return table.with_columns(pl.all().str.replace(MARKED.pattern, "${1}")).rename(
        {name: MARKED.sub(r"\1", name) for name in table.columns}
    )


def _harmless(table: pl.DataFrame) -> pl.DataFrame:
    text = pl.col(pl.String)
    marked = text.str.replace(EXECUTED.pattern, "'${1}")
    cells = pl.when(text.str.contains(f"^({NUMBER.pattern})$")).then(text).otherwise(marked)
    return table.with_columns(cells).rename({name: harmless(name) for name in table.columns})
