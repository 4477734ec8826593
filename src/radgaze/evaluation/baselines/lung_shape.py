"""Two lungs: the case's own where they are known, else a shape that is the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from radgaze.evaluation.baselines.baseline_map import BaselineMap, Floats, Known, register
from radgaze.store.names import plain
from radgaze.store.placement import Frame
from radgaze.words import count

# Right and left lung (left and right in the picture) as shares of the frame: centre (x, y), then half of the
# width and of the height.
_LUNGS = ((0.295, 0.47, 0.165, 0.345), (0.705, 0.47, 0.165, 0.345))
_TAPER = 0.28  # an apex is narrower than a base
_SIDES = {"left lung", "right lung"}


def lung_shape(size: tuple[int, int]) -> Floats:
    """Two lungs in the frame, (H, W) of 0 and 1, the same for every case.

    Each is an ellipse about 1/3 of the frame wide and 2/3 high whose width grows from apex to base:
    (Δx / (a (1 + 0.28 v)))² + v² ≤ 1 with v = Δy / b. Nothing is fitted to any data.
    """
    H, W = size
    y, x = (np.arange(H)[:, None] + 0.5) / H, (np.arange(W)[None, :] + 0.5) / W
    inside = np.zeros(size, dtype=bool)
    for centre_x, centre_y, a, b in _LUNGS:
        v = (y - centre_y) / b
        inside |= ((x - centre_x) / (a * (1 + _TAPER * v))) ** 2 + v**2 <= 1
    return inside.astype(np.float64)


@register("lung_shape", title="lung shape")
class LungShape(BaselineMap):
    """The lungs of each case: its own where the store has masks of both, else `lung_shape`."""

    def __init__(self, known: Known) -> None:
        super().__init__(known)
        store = known.store
        self._regions, self._side = store.regions, store.size
        self._same = lung_shape((known.size, known.size))
        names = [plain(label) for label in store.regions.table["label"]]
        lungs = store.regions.table.with_row_index("row").with_columns(name=pl.Series(names, dtype=pl.String))
        lungs = lungs.filter(pl.col("name").is_in(list(_SIDES)) & (pl.col("area") > 0))
        whole = lungs.group_by("case_id").agg("row", pl.col("name").n_unique().alias("sides"))
        whole = whole.filter(pl.col("sides") == len(_SIDES))
        self._rows = dict(whole.select("case_id", "row").iter_rows())
        self._shapes = {
            case_id: (rows, columns)
            for case_id, rows, columns in store.cases.select("case_id", "rows", "columns").iter_rows()
            if case_id in self._rows
        }

    def __call__(self, case_ids: Sequence[str]) -> Floats:
        """The lungs (B, S, S) of cases, in [0, 1]."""
        return np.stack([self._of(case_id) for case_id in case_ids])

    def counts(self, case_ids: Sequence[str]) -> dict[str, int]:
        """Of how many cases they are the case's own."""
        return {"own_lungs": sum(case_id in self._rows for case_id in case_ids)}

    @classmethod
    def summary(cls, counts: Mapping[str, Any]) -> str:
        if not (own := counts.get("own_lungs", 0)):
            return "a lung shape that is the same for all"
        return f"a lung shape, in {count(own, 'case')} the case's own lungs and else the same for all"

    @classmethod
    def remark(cls, counts: Mapping[str, Any]) -> str:
        own = counts.get("own_lungs")
        return f"the lung shape is that of the case's own lungs in {own} of them" if own else ""

    def _of(self, case_id: str) -> Floats:
        if case_id not in self._rows:
            return self._same
        inside = np.any([self._regions[row] for row in self._rows[case_id]], axis=0)
        square = inside.view(np.uint8) * np.uint8(255)
        frame = Frame(*self._shapes[case_id], self._side)
        return frame.resized(square, self.known.fit, self.known.size) / 255.0
