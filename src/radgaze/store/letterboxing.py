"""Letterboxing: placement of an image on a square with its aspect ratio kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Letterbox:
    """Placement of an image on its square: x_store = x·scale + pad_x, y_store = y·scale + pad_y, in pixels.

    Attributes:
        scale: Pixels of the square per pixel of the image, the same in both directions.
        width, height: Size of the image on the square in pixels, rounded down: up to one pixel of the square
            is cut off at the right or lower edge, so that no pixel is part image and part padding.
        pad_x, pad_y: Position of the image's left and top edge on the square, in pixels.
    """

    scale: float
    width: int
    height: int
    pad_x: int
    pad_y: int


def letterbox(rows: int, columns: int, size: int) -> Letterbox:
    """Compute the placement of an image of rows × columns on a square of size × size, in pixels."""
    scale = size / max(rows, columns)
    # The small summand corrects rounding errors of products that should be integers, such as 3 · (512 / 3).
    width, height = (max(1, int(side * scale + 1e-6)) for side in (columns, rows))
    return Letterbox(scale, width, height, (size - width) // 2, (size - height) // 2)
