"""A CSV or Parquet file as a table of text and numbers; what is wrong with it is told with its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.errors import UserError


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
    if not path.is_file():
        raise UserError(f"{path} is missing; {archive} has it")
    table = _text(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise UserError(
            f"{path} has no column {', '.join(missing)}; {archive} has it, "
            f"this file has {len(table.columns)} columns: {_few(table.columns)}"
        )
    breaks = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True).fill_null(0))
    lines = table.select(2 + pl.int_range(pl.len()) + breaks.cum_sum().shift(1, fill_value=0))
    if _is_parquet(path):
        lines = table.select(1 + pl.int_range(pl.len()))
    text = pl.col(*columns).str.strip_chars().replace("", None)
    numbered = table.select(text).with_columns(lines.to_series().cast(pl.Int64).alias("line"))
    return numbered.filter(table.select(pl.any_horizontal(pl.all().is_not_null())).to_series())


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
    names = _text(path, rows=0).columns
    return [name for name in names if name]


def place(path: Path) -> str:
    """What a record of the file is called where one is pointed to."""
    return "row" if _is_parquet(path) else "line"


def _text(path: Path, rows: int | None = None) -> pl.DataFrame:
    """All of a file, or its first rows, as text."""
    try:
        if _is_parquet(path):
            table = pl.read_parquet(path, glob=False, n_rows=rows)
            nested = [name for name, kind in table.schema.items() if kind.is_nested() or kind == pl.Binary]
            return table.drop(nested).cast(pl.String)
        table = pl.read_csv(
            path, infer_schema=False, encoding="utf8-lossy", raise_if_empty=False, n_rows=rows, glob=False
        )
        return table.rename({name: name.strip().removeprefix("\ufeff") for name in table.columns})
    except (pl.exceptions.PolarsError, OSError) as error:
        kind = "Parquet" if _is_parquet(path) else "CSV"
        raise UserError(f"{path} cannot be read as {kind}: {str(error).strip().splitlines()[0]}") from error


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def _few(names: Sequence[str]) -> str:
    return ", ".join(name[:30] or "(no name)" for name in names[:6]) + (", …" if len(names) > 6 else "")
