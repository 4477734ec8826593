"""Maps of the model's input, laid back onto the pixels of the image that is in the file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.view import Turn
from radgaze.gaze.spec import Geometry


def on_image(values: NDArray[np.floating], geometry: Geometry) -> NDArray[np.float32]:
    """Sample a map (S, S) at each pixel of the upright image, bilinearly, (rows, columns).

    The centre of pixel (x, y) is at (x + ½, y + ½). Beyond the centres of the map's outermost pixels, their
    values continue.

    Args:
        values: The map.
        geometry: Position of the image on the map.
    """
    m = np.asarray(values, dtype=np.float32)
    low, high, share = _places(geometry.columns, geometry.scale_x, geometry.shift_x, m.shape[1])
    across = m[:, low] * (1 - share) + m[:, high] * share
    low, high, share = _places(geometry.rows, geometry.scale_y, geometry.shift_y, m.shape[0])
    return np.asarray(across[low] * (1 - share[:, None]) + across[high] * share[:, None], np.float32)


def in_file(values: NDArray[np.floating], geometry: Geometry, turn: Turn) -> NDArray[np.float32]:
    """Sample a map (S, S) at each pixel of the image as it is in the file, before it is turned upright."""
    return turn.undone(on_image(values, geometry))


def _places(
    pixels: int, scale: float, shift: float, size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Indices of the two map pixels around the centre of each image pixel, and the share of the second."""
    at = np.clip((np.arange(pixels) + 0.5) * scale + shift - 0.5, 0, size - 1)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, size - 1), (at - low).astype(np.float32)
