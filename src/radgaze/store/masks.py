"""Reading of mask files as bits of the square, in a worker process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.error import DicomError
from radgaze.store.letterboxing import letterbox

Floats = NDArray[np.float64]

ASPECT = 0.01
"""Allowed relative difference between the aspect ratios of mask and image, since sizes are rounded."""


def packed_shape(size: int) -> tuple[int, int]:
    """Return the shape (size, ⌈size/8⌉) of the bits of one region in a store of a size in pixels."""
    return size, -(-size // 8)


def packed(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Pack flags (…, W) into bits (…, ⌈W/8⌉)."""
    return np.packbits(inside, axis=-1)


def unpacked(bits: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """Unpack bits (…, ⌈W/8⌉) into flags (…, W)."""
    return np.unpackbits(bits, axis=-1, count=width).view(bool)


def read_region(path: str | Path, *, rows: int, columns: int, size: int) -> NDArray[np.uint8]:
    """Read a mask file and letterbox it like its image; a pixel is inside if at least half of it is marked.

    Args:
        path: Path of the mask, of the size of the image or of another size with the same aspect ratio.
        rows, columns: Size of the image, in pixels.
        size: Side of the square, in pixels.

    Returns:
        Bits (size, ⌈size/8⌉).

    Raises:
        DicomError: The file cannot be read, or has another aspect ratio than the image (`size_mismatch`).
    """
    from radgaze.dicom.mask import read_mask  # imports pydicom, which those who open a store do without

    mask = read_mask(path)
    height, width = mask.shape
    # Rounding changes a side by up to a pixel, which exceeds the relative tolerance for a small mask.
    if abs(width * rows - height * columns) > max(ASPECT * height * columns, rows + columns):
        raise DicomError("size_mismatch", f"{width}×{height} pixels on an image of {columns}×{rows}")
    box = letterbox(rows, columns, size)
    # As for images, the part beyond the last whole pixel of the square is cut off.
    down = np.minimum(np.arange(box.height + 1) / box.scale / rows, 1) * height
    across = np.minimum(np.arange(box.width + 1) / box.scale / columns, 1) * width
    square = np.zeros((size, size), dtype=bool)
    square[box.pad_y : box.pad_y + box.height, box.pad_x : box.pad_x + box.width] = (
        _shares(mask, down, across) >= 0.5
    )
    return packed(square)


def _shares(mask: NDArray[np.bool_], down: Floats, across: Floats) -> Floats:
    """The marked share (E − 1, F − 1) of each cell between edges (E,) and (F,)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return np.zeros((len(down) - 1, len(across) - 1))
    # Only the bounding box of the mask is summed, since most of a mask is empty and sums take half of the
    # time.
    marked = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    sums = _sums(_sums(marked, down - rows[0]).T, across - columns[0]).T
    return sums / np.outer(np.diff(down), np.diff(across))


def _sums(values: NDArray[np.bool_] | Floats, edges: Floats) -> Floats:
    """The sums (E − 1, W) of values (H, W) between consecutive edges (E,), each value one unit high."""
    sums = np.zeros((len(values) + 1, values.shape[1]), np.int32 if values.dtype == bool else np.float64)
    np.cumsum(values, axis=0, out=sums[1:])
    edges = edges.clip(0, len(values))
    whole = np.minimum(edges.astype(np.int64), len(values) - 1)
    return np.diff(sums[whole] + (edges - whole)[:, None] * values[whole], axis=0)
