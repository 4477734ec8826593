"""Letterboxing: an image on a square with its aspect ratio kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Letterbox:
    """Placement of an image on its square: x_store = x·scale + pad_x, y_store = y·scale + pad_y, in pixels.

    Attributes:
        scale: Square pixels per image pixel; the same both ways, exactly.
        width, height: Size of the image on the square; rounded down, so that up to one square pixel of the
            right or lower edge is cut off and no square pixel is half image, half padding.
    """

    scale: float
    width: int
    height: int
    pad_x: int
    pad_y: int


def letterbox(rows: int, columns: int, size: int) -> Letterbox:
    """Compute the letterbox of an image of rows × columns on a square of size × size."""
    scale = size / max(rows, columns)
    # The small number is for a product that should be whole and is not, such as 3 · (512 / 3).
    width, height = (max(1, int(side * scale + 1e-6)) for side in (columns, rows))
    return Letterbox(scale, width, height, (size - width) // 2, (size - height) // 2)
