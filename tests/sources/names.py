"""A table's cohort under the names that its key gives back, for tests of all else."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, TypeVar, Unpack

import polars as pl

from radgaze.sources import table
from radgaze.sources.cohort import Cohort
from radgaze.sources.table import TableOptions
from radgaze.sources.table.matching import stem
from radgaze.tables import read_csv

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


class TableKeywords(TypedDict, total=False):
    """Options of `TableOptions` that tests set, besides the table and the key."""

    images: Path
    labels: Sequence[str]
    classes: Sequence[str]
    multi_label: bool
    present: Sequence[str]
    absent: Sequence[str]
    missing: Sequence[str]
    columns: Sequence[str]
    fixations: Path
    fixation_columns: Sequence[str]
    fixation_frame: str
    fixation_units: Sequence[str]
    boxes: Path
    box_columns: Sequence[str]
    box_frame: str
    box_shape: Literal["box", "ellipse"]
    masks: Path
    mask_columns: Sequence[str]
    without_gaze: Literal["keep", "drop"]
    seed: int


def read_named(path: Path, **options: Unpack[TableKeywords]) -> Cohort:
    """The cohort of `table.read`, with each numbered id replaced by the stem of its name in the key."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key.csv"
        cohort = table.read(TableOptions(path, key=key, **options))
        names = {own: stem(name) for own, name in read_csv(key).iter_rows()}

    def known(one: str | None) -> str | None:
        if one is None:
            return None
        case, slash, number = one.partition("/")
        return names.get(case, case) + slash + number

    def renamed(part: Frame) -> Frame:
        ids = [name for name in ("case_id", "reading_id") if name in part.collect_schema().names()]
        return part.with_columns(
            pl.col(name).map_elements(known, pl.String, skip_nulls=False) for name in ids
        )

    tables = ("cases", "readings", "fixations", "boxes", "rejections", "regions")
    return replace(cohort, **{name: renamed(getattr(cohort, name)) for name in tables})
