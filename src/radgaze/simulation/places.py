"""Random places of confounders: outside of the lungs and the heart, or within them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radgaze.simulation.anatomy import Shape

CELLS = 96
"""Number of cells of the search grid along the long side of the image."""

AIR, HEART = 12.0, 5.0
"""Thickness of lung and of heart, in mm, from which a place counts as lung or as heart."""

MARGIN = 12.0
"""Distance from the lungs, in mm; the tilt, which is not regarded here, moves their border by less."""

DEEP = 25.0
"""Thickness of lung, in mm, that a device has at least behind or before it, if it is not on the heart."""


def outside_the_lungs(
    shape: Shape, size: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float]:
    """Draw the centre (x, y), in pixels, of a box on the image that keeps off the lungs and the heart.

    All such centres of the grid have the same probability. Where there is none, it is one with the least of
    lungs and heart in its box.

    Args:
        shape: The thorax in its pose.
        size: Width and height of the box, in pixels.
        rng: Random generator.
    """
    pose = shape.pose
    x, y, air, heart = _grid(shape)
    occupied = (air > AIR) | (heart > HEART)
    cell, margin = x[1] - x[0], MARGIN * pose.scale
    near_x, near_y = (int(np.ceil((side / 2 + margin) / cell)) for side in size)
    taken = _sums(occupied, near_x, near_y).astype(np.float64)
    inside_x = (x >= size[0] / 2) & (x <= pose.width - size[0] / 2)
    inside_y = (y >= size[1] / 2) & (y <= pose.height - size[1] / 2)
    taken[~(inside_y[:, None] & inside_x[None])] = np.inf
    rows, columns = np.nonzero(taken == taken.min())
    pick = int(rng.integers(len(rows)))
    return float(x[columns[pick]]), float(y[rows[pick]])


def within_the_lungs_or_heart(shape: Shape, rng: np.random.Generator) -> tuple[float, float]:
    """Draw a point (x, y), in pixels, over a lung or the heart; all of them have the same probability."""
    x, y, air, heart = _grid(shape)
    rows, columns = np.nonzero((air > DEEP) | (heart > HEART))
    pick = int(rng.integers(len(rows)))
    u = (x[columns[pick]] - shape.pose.origin_x) / shape.pose.scale
    v = (y[rows[pick]] - shape.pose.origin_y) / shape.pose.scale
    tilted_x, tilted_y = shape.pose.to_pixels(u, v)
    return (
        float(np.clip(tilted_x, 0, shape.pose.width - 1)),
        float(np.clip(tilted_y, 0, shape.pose.height - 1)),
    )


Grid = npt.NDArray[np.float32]


def _grid(shape: Shape) -> tuple[Grid, Grid, Grid, Grid]:
    """Pixels x (w,) and y (h,) of cells, and thickness of lungs and heart (h, w) there, without the tilt."""
    pose = shape.pose
    cell = max(pose.width, pose.height) / CELLS
    x = (np.arange(int(pose.width / cell), dtype=np.float32) + 0.5) * np.float32(cell)
    y = (np.arange(int(pose.height / cell), dtype=np.float32) + 0.5) * np.float32(cell)
    u = ((x - pose.origin_x) / pose.scale)[None].astype(np.float32)
    v = ((y - pose.origin_y) / pose.scale)[:, None].astype(np.float32)
    return x, y, shape.lungs(u, v), shape.heart(u, v)


def _sums(cells: npt.NDArray[np.bool_], near_x: int, near_y: int) -> npt.NDArray[np.int64]:
    """Number of true cells at most near_x columns and near_y rows away from each cell (h, w)."""
    height, width = cells.shape
    padded = np.pad(cells, ((near_y + 1, near_y), (near_x + 1, near_x))).astype(np.int64)
    total = padded.cumsum(0).cumsum(1)
    tall, wide = 2 * near_y + 1, 2 * near_x + 1
    sums: npt.NDArray[np.int64] = (
        total[tall : tall + height, wide : wide + width]
        - total[:height, wide : wide + width]
        - total[tall : tall + height, :width]
        + total[:height, :width]
    )
    return sums
