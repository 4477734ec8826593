"""A CSV or Parquet file as text, part after part, so that memory holds a part of it, whatever its size."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import polars as pl

BLOCK = 2**21
"""Bytes of a CSV file in one part."""
ROWS = 2**16
"""Rows of a Parquet file in one part."""
GZIP, ZSTANDARD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
"""What compressed files begin with."""


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def parts(path: Path) -> Iterator[tuple[pl.DataFrame, float]]:
    """All columns of a file as text, at least one part; blank lines of a CSV file are rows of nulls.

    Yields:
        A part, and how much of the file has been read, from 0 to 1.

    Raises:
        polars.exceptions.PolarsError: It is not what its name says.
        OSError: It cannot be read.
    """
    return _of_parquet(path) if is_parquet(path) else _of_csv(path)


def _of_parquet(path: Path) -> Iterator[tuple[pl.DataFrame, float]]:
    table = pl.scan_parquet(path, glob=False)
    nested = [name for name, kind in table.collect_schema().items() if kind.is_nested() or kind == pl.Binary]
    rows = table.select(pl.len()).collect().item()
    text = table.drop(nested).cast(pl.String)
    for first in range(0, max(rows, 1), ROWS):
        yield text.slice(first, ROWS).collect(), min(1.0, (first + ROWS) / max(rows, 1))


def _of_csv(path: Path) -> Iterator[tuple[pl.DataFrame, float]]:
    names: list[str] = []
    for block, share in _blocks(path):
        if not names:
            table = _parsed(block)
            table.columns = names = [name.strip() for name in table.columns]
        else:
            table = _parsed(",".join(f"c{i}" for i in range(len(names))).encode() + b"\n" + block)
            table.columns = names
        yield table, share


def _parsed(block: bytes) -> pl.DataFrame:
    return pl.read_csv(block, infer_schema=False, encoding="utf8-lossy", raise_if_empty=False)


def _blocks(path: Path) -> Iterator[tuple[bytes, float]]:
    """A CSV file cut between records: after line breaks with an even number of quotes before them."""
    size = max(path.stat().st_size, 1)
    with path.open("rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic == ZSTANDARD:  # which polars reads, but as a whole
            yield raw.read(), 1.0
            return
        file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if magic.startswith(GZIP) else raw
        left, first = b"", True
        # More at a time where no record has ended: all of it is looked through again.
        while block := file.read(max(BLOCK, len(left))):
            left += block
            if (end := _end_of_records(left)) and left[:end].strip():
                yield left[:end], raw.tell() / size
                left, first = left[end:], False
        if left or first:
            yield left, 1.0


def _end_of_records(block: bytes) -> int:
    """How much of a block, which begins with a record, is whole records."""
    quotes, end = block.count(b'"'), len(block)
    while (start := block.rfind(b"\n", 0, end)) >= 0:
        quotes -= block.count(b'"', start, end)
        end = start
        if quotes % 2 == 0:
            return end + 1
    return 0
