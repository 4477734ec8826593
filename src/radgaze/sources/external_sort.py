"""Tables that may be larger than memory, in temporary files that are deleted when the process ends."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from radgaze.tables import write_parquet

ROWS = 2**16
"""Number of rows in memory at a time."""
WAYS = 16
"""Number of tables that are merged at a time."""
GROUP = ROWS // WAYS
"""Number of rows that are read at a time of each table that is merged."""


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


def slices(table: pl.LazyFrame, rows: int | None = None) -> Iterator[pl.DataFrame]:
    """Yield slices of a table, in order; at least one, which may be empty.

    The table is read once, from its first row to its last.

    Args:
        table: Table in memory or in files.
        rows: Largest number of rows of a slice; `ROWS` without it.
    """
    rows = rows or ROWS
    # The engine is named, since the choice of POLARS_ENGINE_AFFINITY would hold the whole table in memory.
    batches = table.collect_batches(chunk_size=rows, maintain_order=True, engine="streaming")
    parts = (part for batch in batches for part in batch.iter_slices(rows) if part.height)
    yield next(parts, pl.DataFrame(schema=table.collect_schema()))
    yield from parts


def merged(tables: Sequence[pl.LazyFrame], by: str, folder: Path) -> pl.LazyFrame:
    """Merge sorted tables into one, which is in files where there are many.

    At most `WAYS` tables are open at a time: more of them are merged in several passes, each of which reads
    and writes every row once (Knuth, The Art of Computer Programming, vol. 3, 5.4.1).

    Args:
        tables: At least one table in files; all have the same schema and are sorted by the column.
        by: Column.
        folder: Folder for temporary files, which must last as long as the result.
    """
    for level in count():
        if len(tables) <= WAYS:
            break
        paths = list[Path]()
        for k in range(0, len(tables), WAYS):
            paths.append(folder / f"merged-{level}-{k}.parquet")
            write_parquet(_merged(tables[k : k + WAYS], by), paths[-1], rows=GROUP, lasting=False)
        tables = [pl.scan_parquet(path, glob=False) for path in paths]
    return _merged(tables, by)


def height(table: pl.LazyFrame) -> int:
    """Count the rows of a table."""
    return int(table.select(pl.len()).collect().item())


def scratch() -> TemporaryDirectory[str]:
    """Create a temporary folder for such files."""
    named = any(name in os.environ for name in ("TMPDIR", "TEMP", "TMP"))
    large = not named and os.access(_LARGE, os.W_OK)
    return TemporaryDirectory(prefix="radgaze-", dir=_LARGE if large else None)


def _merged(tables: Sequence[pl.LazyFrame], by: str) -> pl.LazyFrame:
    if len(tables) == 1:
        return tables[0]
    half = len(tables) // 2
    return _merged(tables[:half], by).merge_sorted(_merged(tables[half:], by), by)


def _written(table: pl.DataFrame) -> Path:
    path = Path(_folder().name) / f"{next(_numbers)}.parquet"
    write_parquet(table, path, rows=ROWS, lasting=False)
    return path


_LARGE = Path("/var/tmp")  # noqa: S108  a folder of its own is made there
_folder = cache(scratch)
_numbers = count()
