"""Fixations that are distributed like a gaze map, for a data set that has maps alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def points_of_map(values: Floats, shape: tuple[int, int], points: int) -> Floats:
    """Draw fixations from a map by systematic sampling, the same each time.

    The pixels are ordered along a curve that fills the plane (Morton 1966), and the points divide the sum of
    the map along it evenly: each square of the curve has as many points as its share of the map, rounded. A
    map of these points, smoothed, is the map, smoothed.

    Args:
        values: Map (h, w) of 0 or more.
        shape: Size (H, W) of the image that the positions are of.
        points: Number of fixations N.

    Returns:
        (N, 3) x, y in image pixels, and durations, which add up to one second; (0, 3) for a map of zeros.
    """
    total = values.sum()
    if not total > 0:
        return np.zeros((0, 3))
    height, width = values.shape
    order = _curve(height, width)
    along = np.cumsum(values.ravel()[order]) / total
    places = np.searchsorted(along, (np.arange(points) + 0.5) / points).clip(0, len(order) - 1)
    row, column = np.divmod(order[places], width)
    x, y = (column + 0.5) * (shape[1] / width), (row + 0.5) * (shape[0] / height)
    return np.stack([x, y, np.full(points, 1 / points)], axis=1)


@lru_cache(maxsize=8)
def _curve(height: int, width: int) -> NDArray[np.int64]:
    """The pixels of a map, as indices into it, in the order of their interleaved bits."""
    rows, columns = (np.arange(side, dtype=np.int64) for side in (height, width))
    keys = (_spread(rows)[:, None] << 1) | _spread(columns)[None]
    return np.argsort(keys.ravel(), kind="stable")


def _spread(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers with a zero between each two of their bits."""
    spread = np.zeros_like(numbers)
    for bit in range(31):
        spread |= ((numbers >> bit) & 1) << (2 * bit)
    return spread
