"""Tables to files, where a fault of the disk is an `OSError` as it is for every other file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl


def write_parquet(table: pl.DataFrame | pl.LazyFrame, path: Path, *, rows: int | None = None) -> None:
    """Write a table.

    Args:
        table: In memory, or lazy: then it is written part after part.
        path: Of the file.
        rows: Of a group, in which a reader finds what it wants.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    with _faults(path):
        if isinstance(table, pl.LazyFrame):
            table.sink_parquet(path, row_group_size=rows)
        else:
            table.write_parquet(path, row_group_size=rows)


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
    """Write a table, its text `harmless`.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    with _faults(path):
        _harmless(table).write_csv(path)


def csv_text(table: pl.DataFrame) -> str:
    """What `write_csv` writes."""
    return _harmless(table).write_csv()


def read_csv(path: Path) -> pl.DataFrame:
    """A table that `write_csv` wrote, all of it as text, as it was before.

    Raises:
        OSError: There is no such file, or it cannot be read.
        pl.exceptions.PolarsError: It is no CSV.
    """
    with _faults(path):
        table = pl.read_csv(path, glob=False, infer_schema=False)
    return table.with_columns(pl.all().str.replace(MARKED.pattern, "${1}")).rename(
        {name: MARKED.sub(r"\1", name) for name in table.columns}
    )


def _harmless(table: pl.DataFrame) -> pl.DataFrame:
    text = pl.col(pl.String)
    marked = text.str.replace(EXECUTED.pattern, "'${1}")
    kept = pl.when(text.str.contains(f"^({NUMBER.pattern})$")).then(text).otherwise(marked)
    return table.with_columns(kept).rename({name: harmless(name) for name in table.columns})


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Polars has the system's number in the words of its errors alone, not all of which are OSErrors."""
    try:
        yield
    except (pl.exceptions.ComputeError, OSError) as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None or getattr(error, "errno", None) is not None:
            raise
        code = int(number[1])
        raise OSError(code, os.strerror(code), str(path)) from error
