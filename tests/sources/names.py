"""A table's cohort under the names that its key gives back, for tests of all else."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import polars as pl

from radgaze.sources import table
from radgaze.sources.cohort import Cohort
from radgaze.sources.table import TableOptions
from radgaze.sources.table.matching import stem
from radgaze.tables import read_csv


def read_named(path: Path, **options) -> Cohort:
    """The cohort of `table.read`, with each numbered id replaced by the stem of its name in the key."""
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder) / "key.csv"
        cohort = table.read(TableOptions(path, key=key, **options))
        names = {own: stem(name) for own, name in read_csv(key).iter_rows()}

    def known(one):
        if one is None:
            return None
        case, slash, number = one.partition("/")
        return names.get(case, case) + slash + number

    def renamed(part):
        ids = [name for name in ("case_id", "reading_id") if name in part.collect_schema().names()]
        return part.with_columns(
            pl.col(name).map_elements(known, pl.String, skip_nulls=False) for name in ids
        )

    tables = ("cases", "readings", "fixations", "boxes", "rejections", "regions")
    return replace(cohort, **{name: renamed(getattr(cohort, name)) for name in tables})
