"""The sizes of a cohort's images, from their headers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl

from radgaze.console import progress
from radgaze.dicom.error import DicomError
from radgaze.dicom.image import size_of

THREADS = 8


def image_sizes(cases: pl.DataFrame) -> pl.DataFrame:
    """case_id, rows and columns of each image as its header has them; null where that cannot be read.

    Args:
        cases: With case_id and image (a path).
    """
    found: list[tuple[int | None, int | None]] = []
    with (
        ThreadPoolExecutor(THREADS) as threads,
        progress("Reading headers", total=len(cases), of="files") as bar,
    ):
        for size in threads.map(_size, cases["image"]):
            found.append(size)
            bar.advance()
    sizes = pl.DataFrame(found, schema={"rows": pl.Int32, "columns": pl.Int32}, orient="row")
    return cases.select("case_id").hstack(sizes)


def _size(path: str) -> tuple[int | None, int | None]:
    try:
        return size_of(path)
    except (DicomError, OSError):
        return None, None
