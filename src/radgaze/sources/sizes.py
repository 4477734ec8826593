"""Reading of the sizes of images from their headers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl

from radgaze.console import progress
from radgaze.dicom.error import DicomError

THREADS = 8
AT_ONCE = 4096
_SIZES = {"rows": pl.Int32, "columns": pl.Int32}


def image_sizes(cases: pl.DataFrame) -> pl.DataFrame:
    """Read the size of each image from its header.

    Args:
        cases: Table with case_id and image (a path).

    Returns:
        Table of case_id, rows and columns, in the same order; null where a header cannot be read.
    """
    from radgaze.dicom.guard import quiet  # imports pydicom, which finding the tables does without

    parts = [pl.DataFrame(schema=_SIZES)]
    with (
        quiet(),
        ThreadPoolExecutor(THREADS) as threads,
        progress("Reading headers", total=len(cases), of="files") as bar,
    ):
        # In slices, since a pool holds all tasks that are submitted to it.
        for some in cases.iter_slices(AT_ONCE):
            sizes = []
            for size in threads.map(_size, some["image"]):
                sizes.append(size)
                bar.advance()
            parts.append(pl.DataFrame(sizes, schema=_SIZES, orient="row"))
    return cases.select("case_id").hstack(pl.concat(parts))


def _size(path: str) -> tuple[int | None, int | None]:
    from radgaze.dicom.image import size_of

    try:
        return size_of(path)
    except (DicomError, OSError):
        return None, None
