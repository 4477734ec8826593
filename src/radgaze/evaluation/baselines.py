"""Maps that know nothing of a case, or only where its lungs are: what a heatmap has to beat.

On plain metrics a lung-shaped mask ties another radiologist's gaze (arXiv 2112.11716), which is why it stands
in every table of agreement, beside the mean gaze of the training cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.store.batch import Batch
from radgaze.store.names import plain
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

Floats = NDArray[np.float64]

# Right and left lung (left and right in the picture) as shares of the frame: centre (x, y), then half of the
# width and of the height.
_LUNGS = ((0.295, 0.47, 0.165, 0.345), (0.705, 0.47, 0.165, 0.345))
_TAPER = 0.28  # an apex is narrower than a base
_SIDES = {"left lung", "right lung"}


def mean_gaze(batches: Iterable[Batch], size: tuple[int, int]) -> tuple[Floats, int]:
    """The mean gaze map (H, W) of training cases, and how many cases it is the mean of.

    Args:
        batches: Training cases, never those that are evaluated; cases without gaze are left out.
        size: (H, W).

    Returns:
        The map, in [0, 1]; zeros if no case has gaze.
    """
    total, cases = np.zeros(size), 0
    for batch in batches:
        there = batch.has_gaze.cpu().numpy().astype(bool)
        if there.any():
            maps = batch.gaze_maps(size).cpu().numpy()[there, 0].astype(np.float64)
            total += maps.sum(0)
            cases += int(there.sum())
    return total / max(1, cases), cases


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


class LungShapes:
    """The lungs of each case: its own where the store has masks of both, else `lung_shape`.

    Args:
        store: The store.
        fit: How images fill what the model sees.
        size: Side of that.
    """

    def __init__(self, store: Store, fit: Fit, size: int) -> None:
        self._regions, self._side, self._fit, self._size = store.regions, store.size, fit, size
        self._same = lung_shape((size, size))
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

    def own(self, case_ids: Sequence[str]) -> int:
        """Of how many cases they are the case's own."""
        return sum(case_id in self._rows for case_id in case_ids)

    def _of(self, case_id: str) -> Floats:
        if case_id not in self._rows:
            return self._same
        inside = np.any([self._regions[row] for row in self._rows[case_id]], axis=0)
        square = inside.view(np.uint8) * np.uint8(255)
        frame = Frame(*self._shapes[case_id], self._side)
        return frame.resized(square, self._fit, self._size) / 255.0
