"""Maps of two lungs: the masks of a case's lungs where the store has them, else a fixed shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radgaze.store.parts import LUNGS, part_regions
from radgaze.store.placement import Fit, Frame
from radgaze.store.store import Store

# Right and left lung, which are left and right in the picture: centre (x, y), half the width and half the
# height, as shares of the frame.
_LUNGS = ((0.295, 0.47, 0.165, 0.345), (0.705, 0.47, 0.165, 0.345))
_TAPER = 0.28  # growth of the width from apex to base


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


class Lungs:
    """The lungs of each case where the store has masks of both, else `draw_lung_shape`.

    Args:
        store: Prepared store.
        fit: Placement of its images in the model's input, "stretch" or "pad".
        size: Side S of the model's input, in pixels.

    Attributes:
        own: Ids of the cases that have masks of both lungs.
    """

    def __init__(self, store: Store, fit: Fit, size: int) -> None:
        self._fit, self._size = fit, size
        self._regions, self._side = store.regions, store.size
        self._default = (draw_lung_shape((size, size)) * 255).astype(np.uint8)
        rows, ends = part_regions(store, store.cases, LUNGS)
        cases = enumerate(store.cases["case_id"])
        of_case = {case_id: rows[ends[i] : ends[i + 1]].tolist() for i, case_id in cases}
        self._rows: dict[str, list[int]] = {case_id: some for case_id, some in of_case.items() if some}
        self.own = frozenset(self._rows)
        self._shapes = {
            case_id: (rows, columns)
            for case_id, rows, columns in store.cases.select("case_id", "rows", "columns").iter_rows()
            if case_id in self._rows
        }

    def __call__(self, case_id: str) -> NDArray[np.uint8]:
        """Return the lungs of a case, (S, S), 255 inside."""
        if case_id not in self._rows:
            return self._default
        inside = self._regions.union(self._rows[case_id])
        frame = Frame(*self._shapes[case_id], self._side)
        return frame.resized(inside.view(np.uint8) * np.uint8(255), self._fit, self._size)
