"""Tables to files, where a fault of the disk is an `OSError` as it is for every other file."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from radgaze.files import disk_faults, written


def write_parquet(
    table: pl.DataFrame | pl.LazyFrame, path: Path, *, rows: int | None = None, lasting: bool = True
) -> None:
    """Write a table, whole or not at all.

    Args:
        table: In memory, or lazy: then it is written part after part.
        path: Of the file.
        rows: Of a group, in which a reader finds what it wants.
        lasting: Wait until it is on the disk.

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
"""How text begins that a spreadsheet takes for a formula, or that looks as if we had marked it already."""
MARKED = re.compile(rf"^'({_SIGNS})")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def harmless(text: str) -> str:
    """Text for a cell of CSV: with an apostrophe before it where a spreadsheet would execute it (OWASP, CSV
    injection). A number stays one. `read_csv` takes the apostrophe away.
    """
    return text if NUMBER.fullmatch(text) else EXECUTED.sub(r"'\1", text)


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a table, whole or not at all, its text `harmless`.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    with written(path) as aside:
        _harmless(table).write_csv(aside)


def csv_text(table: pl.DataFrame) -> str:
    """What `write_csv` writes."""
    return _harmless(table).write_csv()


def read_csv(path: Path) -> pl.DataFrame:
    """A table that `write_csv` wrote, all of it as text, as it was before.

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
    kept = pl.when(text.str.contains(f"^({NUMBER.pattern})$")).then(text).otherwise(marked)
    return table.with_columns(kept).rename({name: harmless(name) for name in table.columns})
