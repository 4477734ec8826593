"""The cases of a store, to be picked and shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from radgaze.predicting.inputs import StoredCases, Subject
from radgaze.store.marks import is_finding
from radgaze.store.placement import Frame
from radgaze.store.store import Store
from radgaze.viewing.network import Network
from radgaze.viewing.shown import Fixation, Mark, Shown

CASE = "case-"
"""Beginning of the key of a case: its row in the store follows."""
MOST = 200
"""Most cases of one list."""
GREY = 257
"""65,535 of 16 bits over 255 of 8."""


@dataclass(frozen=True)
class Stored:
    """A store whose cases are shown.

    Attributes:
        store: The store.
    """

    store: Store

    def listed(self, word: str = "", split: str = "", start: int = 0) -> tuple[int, pl.DataFrame]:
        """List cases.

        Args:
            word: Text that is in the id, or is the name of a true class; in any case.
            split: Name of a split; empty for all.
            start: Number of cases that come before in earlier lists.

        Returns:
            The number of such cases, and a table of at most `MOST` of them: row, case_id, split and truth.
        """
        table = self._table
        if split:
            table = table.filter(pl.col("split") == split)
        if word:
            names = pl.concat_str(pl.col("case_id"), pl.lit(" "), pl.col("truth")).str.to_lowercase()
            table = table.filter(names.str.contains(word.lower(), literal=True))
        return table.height, table.slice(max(start, 0), MOST)

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.store.cases["split"].unique(maintain_order=True))

    def shown(self, key: str) -> Shown | None:
        """Return a case by its key; None where there is none."""
        number = key.removeprefix(CASE)
        if not (key.startswith(CASE) and number.isascii() and number.isdigit() and len(number) < 10):
            return None
        row = int(number)
        if row >= len(self.store):
            return None
        case_id, rows, columns = self.store.cases.select("case_id", "rows", "columns").row(row)
        box = Frame(rows, columns, self.store.size).box
        square = np.asarray(self.store.images[row])
        pixels = square[box.pad_y : box.pad_y + box.height, box.pad_x : box.pad_x + box.width]
        return Shown(
            key,
            pixels.astype(np.uint16) * GREY,
            (0.0, 65535.0),
            rows,
            columns,
            box.scale,
            case_id=case_id,
            truth=tuple(self._table["truth"][row].split(", ")) if self._table["truth"][row] else (),
            marks=self._marks(case_id, box.scale),
            fixations=self._fixations(case_id, box.scale),
        )

    @cached_property
    def _table(self) -> pl.DataFrame:
        """row, case_id, split and truth of each case."""
        truth = pl.concat_str(
            [pl.when(pl.col(f"label_{name}") == 1).then(pl.lit(name)) for name in self.store.classes],
            separator=", ",
            ignore_nulls=True,
        )
        return self.store.cases.with_row_index("row").select("row", "case_id", "split", truth.alias("truth"))

    def _marks(self, case_id: str, scale: float) -> tuple[Mark, ...]:
        boxes = self.store.boxes.filter(pl.col("case_id") == case_id)
        return tuple(
            Mark(
                row["label"],
                (row["x1"] * scale, row["y1"] * scale, row["x2"] * scale, row["y2"] * scale),
                row.get("shape") == "ellipse",
                is_finding(row["label"]),
            )
            for row in boxes.iter_rows(named=True)
        )

    def _fixations(self, case_id: str, scale: float) -> tuple[Fixation, ...]:
        readings = self.store.readings.filter(pl.col("case_id") == case_id)["reading_id"]
        table = self.store.fixations.filter(pl.col("reading_id").is_in(readings.implode()))
        rows = table.sort("reading_id", "index", maintain_order=True).select("x", "y", "duration").iter_rows()
        return tuple(Fixation(x * scale, y * scale, duration) for x, y, duration in rows)


@dataclass(frozen=True)
class CasesOf:
    """The cases of a store as inputs of a run's model.

    Attributes:
        network: The run.
        store: The store.
    """

    network: Network
    store: Store

    @cached_property
    def _cases(self) -> StoredCases:
        return StoredCases.of(self.network.run, self.network.predictor.models[0], self.store)

    def subject(self, case_id: str) -> Subject:
        """Return a case as input of the run's model."""
        return self._cases.subject(case_id, case_id)
