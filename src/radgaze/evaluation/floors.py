"""Maps that know nothing of the case at hand. A heatmap that does not beat them has not looked at the image.

On plain metrics a lung-shaped mask ties another radiologist's gaze (arXiv 2112.11716), which is why it stands
in every table of agreement, beside the mean gaze of the training cases.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from radgaze.store.batch import Batch

Floats = NDArray[np.float64]

# Right and left lung (left and right in the picture) as shares of the frame: centre (x, y), then half of the
# width and of the height.
_LUNGS = ((0.295, 0.47, 0.165, 0.345), (0.705, 0.47, 0.165, 0.345))
_TAPER = 0.28  # an apex is narrower than a base


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
