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


def write_csv(table: pl.DataFrame, path: Path) -> None:
    """Write a table.

    Raises:
        OSError: The disk is full, or cannot be written.
    """
    with _faults(path):
        table.write_csv(path)


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
