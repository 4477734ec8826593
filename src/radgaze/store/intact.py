"""Validated reading of a store's tables and images: a damaged file raises a `UserError`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError, call

TEXT, WHOLE, NUMBER = "text", "whole numbers", "numbers"

COLUMNS: dict[str, dict[str, str]] = {
    "cases": {
        **{"case_id": TEXT, "patient": WHOLE, "split": TEXT, "rows": WHOLE, "columns": WHOLE},
        **{"shard": WHOLE, "index": WHOLE, "scale": NUMBER, "pad_x": NUMBER, "pad_y": NUMBER},
    },
    "readings": {"reading_id": TEXT, "case_id": TEXT, "recorded": WHOLE, "duration": NUMBER},
    "fixations": {
        **{"reading_id": TEXT, "index": WHOLE, "x": NUMBER, "y": NUMBER},
        **{"onset": NUMBER, "duration": NUMBER},
    },
    "boxes": {"case_id": TEXT, "label": TEXT, **dict.fromkeys(("x1", "y1", "x2", "y2"), NUMBER)},
    "mentions": {"reading_id": TEXT, "index": WHOLE, "label": TEXT, "share": NUMBER},
    "twins": {
        **{"case_id": TEXT, "twin_of": TEXT, "rows": WHOLE, "columns": WHOLE},
        **{"shard": WHOLE, "index": WHOLE, "scale": NUMBER, "pad_x": NUMBER, "pad_y": NUMBER},
    },
    "regions": {"case_id": TEXT, "label": TEXT, "shard": WHOLE, "index": WHOLE, "area": WHOLE},
}
"""Columns of each table, which have no missing values, and their kinds."""


def read_table(folder: Path, name: str, more: Mapping[str, str] | None = None) -> pl.DataFrame:
    """Read a table of a store.

    Args:
        folder: Folder of the store.
        name: Name of the table, one of `COLUMNS`.
        more: Further columns and their kinds.

    Raises:
        UserError: The file is truncated, or a column is missing, of another kind, or has missing values.
    """
    path = folder / f"{name}.parquet"
    try:
        table = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise _damaged(path, "is cut or no Parquet file", folder) from error
    check_columns(path, table.schema, {**COLUMNS[name], **(more or {})})
    blank = [column for column in (*COLUMNS[name], *(more or {})) if table[column].null_count()]
    if blank:
        raise _damaged(path, f"has blanks in the column {blank[0]}", folder)
    return table


def scan_table(folder: Path, name: str) -> pl.LazyFrame:
    """Open a table of a store lazily, to be read in parts.

    Raises:
        UserError: The file is truncated, or a column is missing or of another kind.
    """
    path = folder / f"{name}.parquet"
    try:
        table = pl.scan_parquet(path, glob=False)
        schema = table.collect_schema()
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise _damaged(path, "is cut or no Parquet file", folder) from error
    check_columns(path, schema, COLUMNS[name])
    return table


def check_columns(path: Path, schema: Mapping[str, pl.DataType], columns: Mapping[str, str]) -> None:
    """Check that a table has columns of given kinds.

    Args:
        path: File of the table.
        schema: Schema of the table.
        columns: Kind of each required column, see `COLUMNS`.

    Raises:
        UserError: A column is missing or of another kind.
    """
    for column, kind in columns.items():
        if column not in schema:
            raise _damaged(path, f"has no column {column}", path.parent)
        dtype = schema[column]
        fits = {TEXT: dtype == pl.String, WHOLE: dtype.is_integer(), NUMBER: dtype.is_numeric()}[kind]
        if not fits:
            raise _damaged(path, f"has no {kind} in its column {column}", path.parent)


def check_shards(
    folder: Path,
    names: Mapping[int, str],
    shard: NDArray[np.integer],
    index: NDArray[np.integer],
    shape: tuple[int, int],
) -> None:
    """Check the headers of the files that hold pixels.

    Args:
        folder: Folder of the store.
        names: Path of each shard in the folder.
        shard, index: Shard of each image and its index there, of shape (N,).
        shape: Shape of one image.

    Raises:
        UserError: A file is truncated, is not an array of bytes, or lacks one of the images.
    """
    for number, name in names.items():
        path, places = folder / name, index[shard == number]
        array = read_shard(path)
        if array.ndim != 3 or array.shape[1:] != shape or array.dtype != np.uint8:
            raise _damaged(path, f"does not hold images of {shape[0]} × {shape[1]} bytes", folder)
        if places.min() < 0 or places.max() >= len(array):
            raise _damaged(path, "does not hold the images that the table says", folder)


def read_shard(path: Path) -> NDArray[np.uint8]:
    """Map the images of a file into memory.

    Raises:
        UserError: The file is truncated, or is not one array.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, "is cut or no array", path.parent.parent) from error
    if not isinstance(array, np.ndarray):  # an archive of several
        array.close()
        raise _damaged(path, "is no array", path.parent.parent)
    return array


def _damaged(path: Path, how: str, store: Path) -> UserError:
    return UserError(f"{path} {how}: the store is damaged; {call('verify', store)} lists what else is")
