"""Parts of images that masks mark and that are no findings: the lungs, and what earlier runs looked at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.store.marks import EXPLAINED_BEFORE, lung_of
from radgaze.store.names import plain
from radgaze.store.store import Store

LUNGS, EXPLAINED = "lungs", "explained"
"""Names of the parts."""


def part_regions(store: Store, cases: pl.DataFrame, part: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Collect the regions of a part of each case, sorted by case; empty ones are left out.

    A case with a mask of one lung alone has no lungs: the other lung would count as background.

    Args:
        store: The store.
        cases: Rows of `Store.cases`.
        part: Name of the part.

    Returns:
        (N,) rows of `store.regions`; and the ends (cases + 1,): case i has the regions ends[i] … ends[i+1] −
        1.
    """
    order = cases.select("case_id").with_row_index("case")
    regions = store.regions.table.with_row_index("row").filter(pl.col("area") > 0)
    regions = _CHOSEN[part](regions).join(order, on="case_id", maintain_order="left")
    regions = regions.sort("case", maintain_order=True)
    counts = np.bincount(regions["case"].to_numpy(), minlength=len(cases))
    return regions["row"].to_numpy().astype(np.int64), np.concatenate([[0], np.cumsum(counts)])


def _lungs(regions: pl.DataFrame) -> pl.DataFrame:
    sides = pl.Series([lung_of(name) for name in regions["label"]], dtype=pl.String)
    lungs = regions.with_columns(side=sides).filter(pl.col("side").is_not_null())
    whole = pl.col("side").eq("both").any() | (pl.col("side").n_unique() == 2)
    return lungs.filter(whole.over("case_id"))


def _explained(regions: pl.DataFrame) -> pl.DataFrame:
    named = [plain(name) == EXPLAINED_BEFORE for name in regions["label"]]
    return regions.filter(pl.Series(named, dtype=pl.Boolean))


_CHOSEN: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {LUNGS: _lungs, EXPLAINED: _explained}
