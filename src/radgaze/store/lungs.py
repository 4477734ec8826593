"""The lungs of the cases of a store: their masks where it has those of both, else a fixed shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.store.names import plain
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

# Right and left lung, which are left and right in the picture: centre (x, y), half the width and half the
# height, as shares of the frame.
_LUNGS = ((0.295, 0.47, 0.165, 0.345), (0.705, 0.47, 0.165, 0.345))
_TAPER = 0.28  # growth of the width from apex to base
_SIDES = {"left lung", "right lung"}


def draw_lung_shape(size: tuple[int, int]) -> NDArray[np.float64]:
    """Draw two lungs as an array of 0 and 1 of shape (H, W), the same for every case.

    Each is an ellipse about 1/3 of the frame wide and 2/3 high whose width grows from apex to base:
    (Δx / (a (1 + 0.28 v)))² + v² ≤ 1 with v = Δy / b. The shape is not fitted to data.

    Args:
        size: Size (H, W) of the map in pixels.
    """
    H, W = size
    y, x = (np.arange(H)[:, None] + 0.5) / H, (np.arange(W)[None, :] + 0.5) / W
    inside = np.zeros(size, dtype=bool)
    for centre_x, centre_y, a, b in _LUNGS:
        v = (y - centre_y) / b
        inside |= ((x - centre_x) / (a * (1 + _TAPER * v))) ** 2 + v**2 <= 1
    return inside.astype(np.float64)


def lung_rows(store: Store) -> dict[str, list[int]]:
    """Return the rows of `store.regions` with the lungs of each case that has masks of both."""
    names = [plain(label) for label in store.regions.table["label"]]
    lungs = store.regions.table.with_row_index("row").with_columns(name=pl.Series(names, dtype=pl.String))
    lungs = lungs.filter(pl.col("name").is_in(list(_SIDES)) & (pl.col("area") > 0))
    by_case = lungs.group_by("case_id").agg("row", pl.col("name").n_unique().alias("sides"))
    complete = by_case.filter(pl.col("sides") == len(_SIDES))
    return dict(complete.select("case_id", "row").iter_rows())


class Lungs:
    """The lungs of cases on images of one size.

    Args:
        store: The store.
        case_ids: Ids of the cases.
        size: Side S of the images, in pixels.
    """

    def __init__(self, store: Store, case_ids: Sequence[str], size: int) -> None:
        rows = lung_rows(store)
        self._rows = [rows.get(case_id, []) for case_id in case_ids]
        self._regions, self.size = store.regions, size
        self._default = (255 * draw_lung_shape((size, size))).astype(np.uint8)

    def of(self, i: int, frame: Frame, fit: Fit) -> NDArray[np.uint8]:
        """Return the share of each pixel that is inside the lungs of the i-th case, (S, S), 255 for all.

        Args:
            i: Index of the case.
            frame: Place of the case's image in the squares of the store.
            fit: How the image is fitted to S × S.
        """
        if not self._rows[i]:
            return self._default
        inside: NDArray[np.bool_] = np.any([self._regions[row] for row in self._rows[i]], axis=0)
        return frame.resized(inside.view(np.uint8) * np.uint8(255), fit, self.size)

    @property
    def own(self) -> NDArray[np.bool_]:
        """Whether each case (N,) has masks of both lungs."""
        return np.array([bool(rows) for rows in self._rows], dtype=np.bool_)
