"""Reading of CSV and Parquet files as tables of text and numbers; errors name file, line and column."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.sources.dialect import called
from radgaze.sources.streaming import LINE, TWICE, Part, is_parquet, parts

LONG = 32
"""Size of a file in MiB from which a progress bar is shown."""


MISSING = frozenset(
    ("nan", "-nan", "n/a", "na", "#n/a", "#na", "<na>", "null", "nil", "-", "--", "–", "—", ".")
)
"""Words for a missing value, in lower case. "None" and "unknown" may be classes."""
SPACE = " \t\r\n\f\v\u00a0\u2007\u202f\u3000\u200b\u2060\ufeff"
"""Characters that are stripped from a value, including invisible ones."""


def is_missing(text: pl.Expr) -> pl.Expr:
    """Return whether a text is one of `MISSING`, in any letter case; false where it is null."""
    return text.str.to_lowercase().is_in(list(MISSING)).fill_null(False)


def read_columns(path: Path, columns: Sequence[str], *, archive: str) -> pl.DataFrame:
    """Read columns as text, with blanks as null, and `LINE`, the line of each record (of Parquet, its row).

    Quoted values may contain line breaks, the file may begin with a byte order mark, columns may lack a name.
    A column whose name differs only in letter case is accepted. Records without any value are left out.

    Args:
        path: CSV or Parquet file.
        columns: Names of the columns, in this order.
        archive: Name of the data set that the file is expected to belong to, for messages.

    Raises:
        UserError: There is no such file, or it is not a CSV or Parquet file with these columns.
    """
    return pl.concat(read_parts(path, columns, archive=archive))


def read_parts(path: Path, columns: Sequence[str], *, archive: str) -> Iterator[pl.DataFrame]:
    """Read columns in parts, of which one at a time is in memory; at least one part is yielded.

    See `read_columns` for the arguments and errors.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing; {archive} has it")
    columns = [called(name) for name in columns]
    for table, lines in _shown(path):
        table = table.rename(_spelled(table.columns, columns))
        missing = [name for name in columns if name not in table.columns]
        twice = {name.partition(TWICE)[0] for name in table.columns if TWICE in name}
        if both := [name for name in missing if name and name in twice]:
            raise UserError(f"{path} has several columns “{both[0]}”: give each a name of its own")
        if missing:
            raise UserError(
                f"{path} has no column {', '.join(missing)}; {archive} has it, "
                f"this file has {len(table.columns)} columns: {_few(table.columns)}{_hint(table.columns)}"
            )
        read = table.select(pl.col(columns).str.strip_chars(SPACE).replace("", None))
        yield read.with_columns(lines).filter(_filled(read, table))


def _filled(read: pl.DataFrame, table: pl.DataFrame) -> pl.Series:
    """Whether each record has a value in any column; `read` has some of the columns, without blanks."""
    filled = read.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    if not filled.all():  # few records need all columns, which may be many
        filled |= table.select(pl.any_horizontal(pl.all().str.strip_chars(SPACE) != "")).to_series()
    return filled.fill_null(False)


def numbers(table: pl.DataFrame, path: Path, columns: Sequence[str], *, blank: bool = False) -> pl.DataFrame:
    """Convert columns of a table to Float64.

    Args:
        table: Table of text, with `LINE`.
        path: File of the table, for messages.
        columns: Names of the columns.
        blank: Whether values may be blank or one of `MISSING`, which become null.

    Raises:
        UserError: A value is not a finite number, or is blank although `blank` is false; the message has
            file, column and line.
    """
    for name in columns:
        text = pl.col(name)
        if blank:
            text = pl.when(~is_missing(text)).then(text)
        number = text.cast(pl.Float64, strict=False)
        bad = text.is_not_null() & ~number.is_finite().fill_null(False)
        expected = "a number expected"
        if len(table.filter(bad & text.str.contains(r"^[+-]?\d+,\d+$"))):
            expected += ", with a point and no comma"
        tell_first(table, path, name, bad, expected)
        if not blank:
            tell_first(table, path, name, text.is_null(), "a number expected")
        table = table.with_columns(number)
    return table


def tell_first(table: pl.DataFrame, path: Path, column: str, bad: pl.Expr, expected: str) -> None:
    """Raise an error for the first row for which `bad` is true, if there is one.

    Args:
        table: Table with `LINE` and the column.
        path: File of the table, for the message.
        column: Name of the column.
        bad: Expression that is true for faulty rows.
        expected: Value that is expected there, in words.

    Raises:
        UserError: There is such a row.
    """
    first = table.filter(bad).head(1)
    if len(first):
        value = first[column][0]
        fault = "it is blank" if value is None else f"it is {str(value)[:40]!r}"
        raise UserError(f"{path}, {place(path)} {first[LINE][0]}, column {column}: {fault}, {expected}")


def column_names(path: Path) -> list[str]:
    """Return the names of the columns of a file, each once, without missing ones.

    Raises:
        UserError: There is no such file, or it is neither CSV nor Parquet.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    table, _, _ = next(_parts(path))
    return [name for name in dict.fromkeys(name.partition(TWICE)[0] for name in table.columns) if name]


def place(path: Path) -> str:
    """Return the word for the position of a record in a file, "row" or "line"."""
    return "row" if is_parquet(path) else "line"


def _shown(path: Path) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """Yield the parts of a file, with a progress bar if it is large."""
    size = round(path.stat().st_size / 2**20)
    if size < LONG:
        yield from ((table, lines) for table, lines, _ in _parts(path))
        return
    with progress(f"Reading {path.name}", total=size, of="MiB") as bar:
        done = 0
        for table, lines, share in _parts(path):
            yield table, lines
            bar.advance(round(share * size) - done)
            done = round(share * size)


def _parts(path: Path) -> Iterator[Part]:
    try:
        yield from parts(path)
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
        kind = "Parquet" if is_parquet(path) else "CSV"
        raise UserError(f"{path} cannot be read as {kind}: {str(error).strip().splitlines()[0]}") from error


def _spelled(names: Sequence[str], requested: Sequence[str]) -> dict[str, str]:
    """The requested name of each column that differs from it only in letter case, unless several do."""
    plain = [name.partition(TWICE)[0].casefold() for name in names]
    lost = {name.casefold(): name for name in requested if name and name not in names}
    return {
        name: lost[word]
        for name, word in zip(names, plain, strict=True)
        if word in lost and plain.count(word) == 1 and name not in requested
    }


def _few(names: Sequence[str]) -> str:
    shown = [name.partition(TWICE)[0][:30] or "(no name)" for name in names[:6]]
    return ", ".join(shown) + (", …" if len(names) > 6 else "")


def _hint(names: Sequence[str]) -> str:
    return "" if len(names) > 1 else "; `separator` says what separates its cells"
