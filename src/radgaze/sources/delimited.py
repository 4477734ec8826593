"""A CSV or Parquet file as a table of text and numbers; what is wrong with it is told with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.sources.parts import is_parquet, parts

LONG = 32
"""MiB of a file that takes so long that it is shown how far it is read."""


def read_columns(path: Path, columns: Sequence[str], *, archive: str) -> pl.DataFrame:
    """Named columns as text, blanks as null, and `line`: where each record begins (Parquet: which row it is).

    Quoted values may hold line breaks, the file may begin with a byte order mark, columns may lack a name.

    Args:
        path: The file.
        columns: What is wanted of it, in this order.
        archive: What the file is expected to belong to, for the message.

    Raises:
        UserError: There is no such file, or it is no CSV or Parquet file with these columns.
    """
    return pl.concat(read_parts(path, columns, archive=archive))


def read_parts(path: Path, columns: Sequence[str], *, archive: str) -> Iterator[pl.DataFrame]:
    """What `read_columns` reads, part after part, so that memory holds one; there is at least one."""
    if not path.is_file():
        raise UserError(f"{path} is missing; {archive} has it")
    begin = 1 if is_parquet(path) else 2
    for table in _shown(path):
        missing = [name for name in columns if name not in table.columns]
        if missing:
            raise UserError(
                f"{path} has no column {', '.join(missing)}; {archive} has it, "
                f"this file has {len(table.columns)} columns: {_few(table.columns)}"
            )
        rows = pl.int_range(1, 1 + pl.len())
        # A record of a CSV file may hold line breaks.
        breaks = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True)).cum_sum()
        after = table.select(rows if is_parquet(path) else rows + breaks).to_series()
        lines = (begin + after.shift(1, fill_value=0)).alias("line")
        begin += after[-1] if len(after) else 0
        text = pl.col(*columns).str.strip_chars().replace("", None)
        filled = table.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
        yield table.select(text).with_columns(lines).filter(filled)


def numbers(table: pl.DataFrame, path: Path, columns: Sequence[str], *, blank: bool = False) -> pl.DataFrame:
    """The table with these columns as Float64.

    Raises:
        UserError: A value is not a finite number, or is blank and must not be; with file, column and line.
    """
    for name in columns:
        text = pl.col(name)
        number = text.cast(pl.Float64, strict=False)
        bad = text.is_not_null() & ~number.is_finite().fill_null(False)
        tell_first(table, path, name, bad, "a number expected")
        if not blank:
            tell_first(table, path, name, text.is_null(), "a number expected")
        table = table.with_columns(number)
    return table


def tell_first(table: pl.DataFrame, path: Path, column: str, bad: pl.Expr, expected: str) -> None:
    """Raise UserError for the first row where `bad` holds."""
    first = table.filter(bad).head(1)
    if len(first):
        value = first[column][0]
        found = "it is blank" if value is None else f"it is {str(value)[:40]!r}"
        raise UserError(f"{path}, {place(path)} {first['line'][0]}, column {column}: {found}, {expected}")


def column_names(path: Path) -> list[str]:
    """The names of a file's columns.

    Raises:
        UserError: There is no such file, it is neither CSV nor Parquet, or two columns have one name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    table, _ = next(_parts(path))
    return [name for name in table.columns if name]


def place(path: Path) -> str:
    """What a record of the file is called where one is pointed to."""
    return "row" if is_parquet(path) else "line"


def _shown(path: Path) -> Iterator[pl.DataFrame]:
    """The parts of a file, with a bar where it takes long to read them."""
    size = round(path.stat().st_size / 2**20)
    if size < LONG:
        yield from (table for table, _ in _parts(path))
        return
    with progress(f"Reading {path.name}", total=size, of="MiB") as bar:
        done = 0
        for table, share in _parts(path):
            yield table
            bar.advance(round(share * size) - done)
            done = round(share * size)


def _parts(path: Path) -> Iterator[tuple[pl.DataFrame, float]]:
    try:
        yield from parts(path)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        kind = "Parquet" if is_parquet(path) else "CSV"
        raise UserError(f"{path} cannot be read as {kind}: {str(error).strip().splitlines()[0]}") from error


def _few(names: Sequence[str]) -> str:
    return ", ".join(name[:30] or "(no name)" for name in names[:6]) + (", …" if len(names) > 6 else "")
