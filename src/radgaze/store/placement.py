"""Placement of an image on its square in the store, and on the input of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.store.letterboxing import letterbox

if TYPE_CHECKING:
    from radgaze.gaze.spec import Geometry

Fit = Literal["stretch", "pad"]


class Frame:
    """Placement of a case's image on its square in the store, and on the input of a model.

    Args:
        rows, columns: Size of the original image, in pixels.
        side: Side of the square, in pixels.
    """

    def __init__(self, rows: int, columns: int, side: int) -> None:
        self.rows, self.columns, self.side, self.box = rows, columns, side, letterbox(rows, columns, side)

    def seen(self, fit: Fit) -> tuple[int, int, int, int]:
        """Return the part of the square that fills the model's input: left, top, right, bottom in pixels."""
        if fit == "pad":
            return 0, 0, self.side, self.side
        box = self.box
        return box.pad_x, box.pad_y, box.pad_x + box.width, box.pad_y + box.height

    def resized(self, square: NDArray[np.uint8], fit: Fit, size: int) -> NDArray[np.uint8]:
        """Resize the image on a square (side, side) to (size, size) uint8, bilinearly with antialiasing.

        Args:
            square: Square of the image.
            fit: Placement in the model's input, "stretch" or "pad".
            size: Side of the model's input, in pixels.
        """
        # Cropped first: the argument `box` of `resize` mixes pixels beyond the box into the outermost ones.
        image = Image.fromarray(np.asarray(square)).crop(self.seen(fit))
        # A copy, since torch needs writable memory.
        return np.array(image.resize((size, size), Image.Resampling.BILINEAR))

    def restored(self, maps: NDArray[np.floating], fit: Fit) -> NDArray[np.float32]:
        """Resize a map (S, S) of the model's input back to the square, (side, side); zero where it is not."""
        left, top, right, bottom = self.seen(fit)
        image = Image.fromarray(np.asarray(maps, dtype=np.float32))
        square = np.zeros((self.side, self.side), np.float32)
        resized = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
        square[top:bottom, left:right] = np.asarray(resized)
        # With fit="pad" the input has the padding, too, where nothing can be marked.
        box = self.box
        inside = np.zeros((self.side, self.side), bool)
        inside[box.pad_y : box.pad_y + box.height, box.pad_x : box.pad_x + box.width] = True
        return np.where(inside, square, np.float32(0))

    def geometry(self, fit: Fit, size: int) -> Geometry:
        """Compute the position of the original image on a map of side `size`, in pixels."""
        left, top, right, bottom = self.seen(fit)
        zoom_x, zoom_y = size / (right - left), size / (bottom - top)
        from radgaze.gaze.spec import Geometry  # imports torch, which preparing does without

        return Geometry(
            rows=self.rows,
            columns=self.columns,
            scale_x=self.box.scale * zoom_x,
            scale_y=self.box.scale * zoom_y,
            shift_x=(self.box.pad_x - left) * zoom_x,
            shift_y=(self.box.pad_y - top) * zoom_y,
        )
