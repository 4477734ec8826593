"""From an image's square in the store to what a model sees of it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.gaze.spec import Geometry
from radgaze.store.letterbox import letterbox

Fit = Literal["stretch", "pad"]


class Frame:
    """Where a case's image lies on its square in the store, and on the map that a model sees.

    Args:
        rows, columns: Of the original image.
        side: Of the square, in pixels.
    """

    def __init__(self, rows: int, columns: int, side: int) -> None:
        self.rows, self.columns, self.side, self.box = rows, columns, side, letterbox(rows, columns, side)

    def seen(self, fit: Fit) -> tuple[int, int, int, int]:
        """The part of the square that fills the map: left, top, right, bottom."""
        if fit == "pad":
            return 0, 0, self.side, self.side
        box = self.box
        return box.pad_x, box.pad_y, box.pad_x + box.width, box.pad_y + box.height

    def resized(self, square: NDArray[np.uint8], fit: Fit, size: int) -> NDArray[np.uint8]:
        """The square's image at (size, size). In 8 bits: Pillow is fastest there, and so a cache is small."""
        # Not resize's own `box`, which lets what lies beyond into the outermost pixels.
        image = Image.fromarray(np.asarray(square)).crop(self.seen(fit))
        # A copy: torch wants memory that it may write to.
        return np.array(image.resize((size, size), Image.Resampling.BILINEAR))

    def geometry(self, fit: Fit, size: int) -> Geometry:
        """Where the original image's pixels lie on a map of that side."""
        left, top, right, bottom = self.seen(fit)
        zoom_x, zoom_y = size / (right - left), size / (bottom - top)
        return Geometry(
            rows=self.rows,
            columns=self.columns,
            scale_x=self.box.scale * zoom_x,
            scale_y=self.box.scale * zoom_y,
            shift_x=(self.box.pad_x - left) * zoom_x,
            shift_y=(self.box.pad_y - top) * zoom_y,
        )
