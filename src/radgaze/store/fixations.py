"""The fixations of cases as arrays, sorted by case, reading and time."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.sources.contents import VIEWS
from radgaze.store.store import Store

PLAIN = 6
"""Number of columns that every fixation has, see `fixations_of`."""


def sorted_fixations(store: Store, cases: pl.DataFrame) -> pl.DataFrame:
    """Sort the fixations of cases by case, reading and time, with columns case, reading and place."""
    readings = _numbered(store, cases).select(
        "reading_id",
        "case",
        "reading",
        earlier=(pl.col("recorded").cum_sum() - pl.col("recorded")).over("case"),
    )
    table = store.fixations.join(readings, on="reading_id", maintain_order="left").sort(
        "case", "reading", "onset", maintain_order=True
    )
    return table.with_columns(place=pl.col("earlier") + pl.col("index"))


def _numbered(store: Store, cases: pl.DataFrame) -> pl.DataFrame:
    """Number the readings of cases, and the cases that they belong to."""
    order = cases.select("case_id").with_row_index("case")
    return store.readings.with_row_index("reading").join(order, on="case_id").sort("reading")


def fixations_of(
    store: Store, cases: pl.DataFrame, table: pl.DataFrame
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Collect the fixations of cases, sorted by case.

    Args:
        store: Prepared store.
        cases: Cases of the data set.
        table: Fixations, see `sorted_fixations`.

    Returns:
        (N, 6) x, y, duration, onset, index among all recorded fixations and number of the reading, followed
        by `VIEWS` where the store has them; the ends (cases + 1,): case i has the fixations ends[i] …
        ends[i+1] − 1; and the number of recorded fixations of each case.
    """
    readings = _numbered(store, cases)
    counts = np.bincount(table["case"].to_numpy(), minlength=len(cases))
    recorded = np.zeros(len(cases), np.int64)
    np.add.at(recorded, readings["case"].to_numpy(), readings["recorded"].to_numpy())
    columns = ["x", "y", "duration", "onset", "place", "reading"]
    columns += [name for name in VIEWS if name in table.columns]
    values = table.select(columns).to_numpy().astype(np.float32).reshape(-1, len(columns))
    return np.ascontiguousarray(values), np.concatenate([[0], np.cumsum(counts)]), recorded


def each_reading_alike(weights: Tensor, reading: Tensor) -> Tensor:
    """Weights (K,), scaled so that they have the same sum for each reading (K,) of a case."""
    if not len(reading) or bool((reading == reading[0]).all()):
        return weights
    which, place = torch.unique(reading, return_inverse=True)
    total = torch.zeros(len(which)).index_add(0, place, weights).clamp_min(1e-9)
    return weights / total[place] * total.mean()


def none_of(cases: int) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Return the fixations of cases without gaze, see `fixations_of`."""
    return np.zeros((0, PLAIN), np.float32), np.zeros(cases + 1, np.int64), np.zeros(cases, np.int64)
