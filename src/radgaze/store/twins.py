"""The twins of a store's cases, read as cases, to measure what a classifier makes of a confounder."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.store.regions import Regions
from radgaze.store.store import PLACES, Store


def as_cases(store: Store) -> TwinStore:
    """Return the twins of a store as a store of their own, whose data sets are read like those of any store.

    A twin has the patient, the split, the labels, the gaze, the boxes and the masks of its original, and its
    own image. The split is that with which the store was opened.

    Args:
        store: The store; without twins the result has no case.
    """
    return TwinStore(store.path, store.manifest, store.splits, store.reading_ids, original=store)


@dataclass(frozen=True)
class TwinStore(Store):
    """A store whose cases are the twins of another one's cases.

    Attributes:
        original: The store that has the twins.
    """

    original: Store = field(kw_only=True, repr=False)

    def __len__(self) -> int:
        """Return the number of twins."""
        return self.cases.height

    @cached_property
    def cases(self) -> pl.DataFrame:
        """Table of twins, with the columns of `Store.cases`, and twin_of."""
        twins = self.original.twins.select("case_id", "twin_of", *PLACES)
        about = self.original.cases.drop(PLACES).rename({"case_id": "twin_of"})
        joined = twins.join(about, on="twin_of", how="left", maintain_order="left")
        return joined.select(*self.original.cases.columns, "twin_of")

    @cached_property
    def readings(self) -> pl.DataFrame:
        """Table of readings: those of the original for each of its twins, under an id of their own."""
        return self._for_each_twin(self.original.readings).with_columns(reading_id=_RENAMED).drop("twin")

    @cached_property
    def fixations(self) -> pl.DataFrame:
        """Table of the fixations of the originals, for each twin."""
        return self._of_readings(self.original.fixations)

    def scan_fixations(self) -> pl.LazyFrame:
        """Return the table of fixations lazily."""
        return self.fixations.lazy()

    @cached_property
    def boxes(self) -> pl.DataFrame:
        """Table of the boxes of the originals, for each twin."""
        return self._for_each_twin(self.original.boxes).drop("twin")

    @cached_property
    def mentions(self) -> pl.DataFrame:
        """Table of the mentions of the originals, for each twin."""
        return self._of_readings(self.original.mentions)

    @cached_property
    def regions(self) -> Regions:
        """Masks of the originals, for each twin."""
        of_original = self.original.regions
        return Regions(self.path, self.size, table=self._for_each_twin(of_original.table).drop("twin"))

    def changed(self, i: int) -> NDArray[np.bool_]:
        """Return the pixels (size, size) in which the twin of row i of `cases` differs from its original.

        They are those of the confounder, where it covers a part of the image, and those that the resizing
        mixed with them.
        """
        differs: NDArray[np.bool_] = self.images[i] != self.original.images[self._originals[i]]
        return differs

    @cached_property
    def _originals(self) -> list[int]:
        """Row of the original of each twin in the cases of the original store."""
        rows = {case_id: row for row, case_id in enumerate(self.original.cases["case_id"])}
        return [rows[case_id] for case_id in self.cases["twin_of"]]

    def resplit(self, kind: str, *, seed: int = 42, folds: int = 5, fold: int = 0) -> TwinStore:
        """Return the twins of the store split in another way, see `Store.resplit`."""
        return as_cases(self.original.resplit(kind, seed=seed, folds=folds, fold=fold))

    def of_readings(self, ids: pl.Series) -> TwinStore:
        """Return the twins with the readings of the originals of these ids alone."""
        return as_cases(self.original.of_readings(ids))

    def _for_each_twin(self, table: pl.DataFrame) -> pl.DataFrame:
        """Rows of a table of the originals for each twin, with its id as case_id, and as `twin`."""
        twins = self.original.twins.select("twin_of", twin="case_id")
        joined = twins.join(table, left_on="twin_of", right_on="case_id", maintain_order="left_right")
        return joined.with_columns(case_id="twin").select(*table.columns, "twin")

    def _of_readings(self, table: pl.DataFrame) -> pl.DataFrame:
        """Rows of a table of the originals' readings for each twin."""
        readings = self._for_each_twin(self.original.readings.select("reading_id", "case_id"))
        readings = readings.select("reading_id", "twin")
        joined = readings.join(table, on="reading_id", maintain_order="left_right")
        return joined.with_columns(reading_id=_RENAMED).select(table.columns)


_RENAMED = pl.format("{}@{}", "reading_id", "twin")
