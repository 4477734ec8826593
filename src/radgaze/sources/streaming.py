"""Reading of CSV and Parquet files as text in parts, so that files may be larger than memory."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import polars as pl

from radgaze.errors import UserError
from radgaze.sources.dialect import Dialect, Text, dialect_of, say_once
from radgaze.sources.external_sort import slices

BLOCK = 2**21
"""Number of bytes of a CSV file in one part."""
ROWS = 2**16
"""Number of rows of a Parquet file in one part."""
LONGEST = 2**24
"""Length of a record in bytes above which quotes are taken to be plain characters."""
TWICE = "\0"
"""Character between the name of a column and its number, where names are missing or repeated."""

LINE = "\0line"
"""Name of the column with the line in which a record begins, or its row of Parquet; no file has a name with
`TWICE` before a word."""

Part = tuple[pl.DataFrame, pl.Series, float]


def is_parquet(path: Path) -> bool:
    """Return whether a file is Parquet, by its name."""
    return path.suffix.lower() in (".parquet", ".pq")


def parts(path: Path) -> Iterator[Part]:
    """Read all columns of a file as text, in at least one part; blank lines of a CSV file are rows of nulls.

    Where names of columns are missing or repeated, they end with `TWICE` and the number of the column.

    Yields:
        A part, the line in which each of its records begins (of Parquet, its row), and the share of the file
        that has been read, from 0 to 1.

    Raises:
        UserError: A record is malformed; the message has its line.
        polars.exceptions.PolarsError: The file is not of the kind that its name indicates.
        OSError: The file cannot be read.
    """
    return _of_parquet(path) if is_parquet(path) else _of_csv(path)


def _of_parquet(path: Path) -> Iterator[Part]:
    table = pl.scan_parquet(path, glob=False)
    schema = table.collect_schema()
    nested = [name for name, kind in schema.items() if kind.is_nested() or kind == pl.Binary]
    rows = table.select(pl.len()).collect().item()
    text = table.drop(nested).with_columns(
        _as_text(name, kind).alias(name) for name, kind in schema.items() if name not in nested
    )
    read = 0
    for part in slices(text, ROWS):
        lines = pl.int_range(read + 1, read + 1 + len(part), eager=True).alias(LINE)
        read += len(part)
        yield part, lines, read / max(rows, 1)


def _as_text(name: str, kind: pl.DataType) -> pl.Expr:
    """The text of a column; of durations, that of their seconds.

    Whole numbers have no decimal point, as columns with missing integers are floats; NaN becomes null.
    """
    value = pl.col(name)
    if isinstance(kind, pl.Duration):
        value = value.dt.total_nanoseconds().cast(pl.Float64) / 1e9
    elif not kind.is_float():
        return value.cast(pl.String)
    number = value.cast(pl.Float64)
    whole = (number == number.round()) & (number.abs() < 2**53)
    return (
        pl.when(number.is_nan())
        .then(None)
        .when(whole)
        .then(number.cast(pl.Int64, strict=False).cast(pl.String))
        .otherwise(value.cast(pl.String))
    )


def _of_csv(path: Path) -> Iterator[Part]:
    size = max(path.stat().st_size, 1)
    with path.open("rb") as raw:
        text = Text(raw, path)
        left = text.read(BLOCK)
        whole = not left
        while (dialect := dialect_of(left, path, whole=whole)) is None:
            block = text.read(max(BLOCK, len(left)))
            left, whole = left + block, not block
        if not dialect.names:
            yield pl.DataFrame(), pl.Series(LINE, [], pl.Int64), 1.0
            return
        left, line, first = left[dialect.begin :], dialect.line, True
        short = _Short(path, dialect)
        while True:
            end = len(left) if whole else _end_of_records(left)
            if not _is_regular(left[:end], dialect.separator) or (not end and len(left) > LONGEST):
                for table, lines in _by_hand(left, text, path, dialect, line, short):
                    yield table, lines, min(1.0, raw.tell() / size)
                break
            if left[:end].strip() or (whole and first):
                table = _parsed(left[:end], path, dialect, line, short)
                yield table, _lines(table, line), min(1.0, raw.tell() / size)
                line += left.count(b"\n", 0, end)
                left, first = left[end:], False
            if whole:
                break
            # Blocks grow while no record has ended, since everything that was read is searched again.
            block = text.read(max(BLOCK, len(left)))
            left, whole = left + block, not block
        short.say()


class _Short:
    """Count of records with fewer cells than the header, as spreadsheets write where the last are blank."""

    def __init__(self, path: Path, dialect: Dialect) -> None:
        self.path, self.columns, self.count, self.first = path, len(dialect.names), 0, 0

    def add(self, cells: list[str], line: int) -> None:
        """Count a record if it is short.

        Raises:
            UserError: The record has more cells than the header.
        """
        if len(cells) > self.columns:
            raise UserError(
                f"{self.path}, line {line}: {len(cells)} cells, the header has {self.columns}; a cell that "
                "contains the separator must be in double quotes, and `separator` names another one"
            )
        if 0 < len(cells) < self.columns:
            self.count += 1
            self.first = self.first or line

    def say(self) -> None:
        """Report the number of short records, if there are any."""
        if self.count:
            more = f" and {self.count - 1:,} more have" if self.count > 1 else " has"
            say_once(
                self.path,
                f"{self.path.name}: line {self.first}{more} fewer cells than the header; the last ones "
                "are taken for blank",
            )


def _parsed(block: bytes, path: Path, dialect: Dialect, line: int, short: _Short) -> pl.DataFrame:
    columns = len(dialect.names)
    counts = {line.count(dialect.separator.encode()) for line in block.removesuffix(b"\n").split(b"\n")}
    if b'"' in block or counts != {columns - 1}:
        for row, start in _rows(iter(_lines_of(block)), path, dialect, line):
            short.add(row, start)
    head = dialect.separator.join(f"c{i}" for i in range(columns)).encode() + b"\n"
    table = pl.read_csv(
        head + block,
        infer_schema=False,
        encoding="utf8",
        raise_if_empty=False,
        separator=dialect.separator,
    )
    table.columns = _unique(dialect.names)
    return table


def _by_hand(
    left: bytes,
    text: Text,
    path: Path,
    dialect: Dialect,
    line: int,
    short: _Short,
) -> Iterator[tuple[pl.DataFrame, pl.Series]]:
    """Parse the rest of a file in which quotes within cells that do not begin with one are plain text."""
    rows = _rows(_streamed(left, text), path, dialect, line)
    columns = len(dialect.names)
    while some := list(islice(rows, ROWS)):
        for cells, start in some:
            short.add(cells, start)
        table = pl.DataFrame(
            [[cell or None for cell in cells] + [None] * (columns - len(cells)) for cells, _ in some],
            schema=dict.fromkeys(_unique(dialect.names), pl.String),
            orient="row",
        )
        yield table, pl.Series(LINE, [start for _, start in some], pl.Int64)


def _rows(lines: Iterator[str], path: Path, dialect: Dialect, line: int) -> Iterator[tuple[list[str], int]]:
    """Records, and the line in which each begins."""
    reader = csv.reader(lines, delimiter=dialect.separator, strict=True)
    while True:
        start = line + reader.line_num
        try:
            yield next(reader), start
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(
                f"{path}, line {start}: a quote opens a cell and does not close it ({error}); a quote within "
                "a quoted cell is doubled"
            ) from error


def _streamed(left: bytes, text: Text) -> Iterator[str]:
    while True:
        end = left.rfind(b"\n") + 1
        yield from _lines_of(left[:end])
        left = left[end:]
        if not (block := text.read(BLOCK)):
            break
        left += block
    if left:
        yield left.decode()


def _lines_of(block: bytes) -> list[str]:
    """The lines of a block, each with its \\n."""
    lines = block.decode().split("\n")
    last = lines.pop()
    return [f"{one}\n" for one in lines] + ([last] if last else [])


def _lines(table: pl.DataFrame, line: int) -> pl.Series:
    """The line in which each record begins; records may contain line breaks."""
    breaks = pl.sum_horizontal(pl.all().str.count_matches("\n", literal=True)).cum_sum()
    after = table.select(pl.int_range(1, 1 + pl.len()) + breaks).to_series()
    return (line + after.shift(1, fill_value=0)).alias(LINE).cast(pl.Int64)


def _is_regular(block: bytes, separator: str) -> bool:
    """Whether quotes are only at the edges of cells, and doubled within quoted ones."""
    if b'"' not in block:
        return True
    between = separator.encode()
    outside = block.replace(b'""', b"").split(b'"')[::2]
    if len(outside) != 1 + block.replace(b'""', b"").count(b'"') / 2:
        return False
    begins = re.compile(re.escape(between) + rb"|\r?\n|\r?$")
    *before, _ = outside
    _, *after = outside
    return all(not piece or piece.endswith((between, b"\n")) for piece in before[:1]) and all(
        begins.match(piece) and (piece.endswith((between, b"\n")) or k == len(after) - 1)
        for k, piece in enumerate(after)
    )


def _unique(names: tuple[str, ...]) -> list[str]:
    times = Counter(names)
    return [name if name and times[name] == 1 else f"{name}{TWICE}{k}" for k, name in enumerate(names, 1)]


def _end_of_records(block: bytes) -> int:
    """The number of bytes of a block that are whole records; the block begins with a record."""
    quotes, end = block.count(b'"'), len(block)
    while (start := block.rfind(b"\n", 0, end)) >= 0:
        quotes -= block.count(b'"', start, end)
        end = start
        if quotes % 2 == 0:
            return end + 1
    return 0
