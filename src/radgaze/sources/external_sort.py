"""Tables that may be larger than memory, in temporary files that are deleted when the process ends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from radgaze.tables import write_parquet

ROWS = 2**16
"""Number of rows in memory at a time."""


def spooled(parts: Iterable[pl.DataFrame]) -> pl.LazyFrame:
    """Concatenate tables without holding all of them in memory.

    A single table stays in memory. Several tables are written to files in the folder that TMPDIR names or,
    without it, in /var/tmp, which is on disk whereas /tmp may be in memory.

    Args:
        parts: At least one table, each small enough for memory; all have the same schema.
    """
    todo = iter(parts)
    first, second = next(todo), next(todo, None)
    if second is None:
        return first.lazy()
    return pl.scan_parquet([_written(table) for table in chain((first, second), todo)], glob=False)


def slices(table: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """Yield slices of at most `ROWS` rows of a table, in order; at least one, which may be empty."""
    for first in range(0, max(height(table), 1), ROWS):
        yield table.slice(first, ROWS).collect()


def height(table: pl.LazyFrame) -> int:
    """Count the rows of a table."""
    return int(table.select(pl.len()).collect().item())


def scratch() -> TemporaryDirectory[str]:
    """Create a temporary folder for such files."""
    named = any(name in os.environ for name in ("TMPDIR", "TEMP", "TMP"))
    large = not named and os.access(_LARGE, os.W_OK)
    return TemporaryDirectory(prefix="radgaze-", dir=_LARGE if large else None)


def _written(table: pl.DataFrame) -> Path:
    path = Path(_folder().name) / f"{next(_numbers)}.parquet"
    write_parquet(table, path, rows=ROWS, lasting=False)
    return path


_LARGE = Path("/var/tmp")  # noqa: S108  a folder of its own is made there
_folder = cache(scratch)
_numbers = count()
