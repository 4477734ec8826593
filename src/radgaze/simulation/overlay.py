"""Something painted over a part of an image: its brightness and opacity, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
Pixels = npt.NDArray[np.uint16]
Layer = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Overlay:
    """Something that is painted over a part of an image.

    Attributes:
        left, top: Position of its first pixel.
        ink: Brightness in [0, 1] as a share of the brightest pixel, of shape (h, w).
        cover: Opacity in [0, 1], of shape (h, w).
    """

    left: int
    top: int
    ink: Layer
    cover: Layer

    @property
    def box(self) -> Box:
        """Box (x1, y1, x2, y2) in pixels."""
        tall, wide = self.cover.shape
        return float(self.left), float(self.top), float(self.left + wide), float(self.top + tall)

    def painted(self, pixels: Pixels, full: float) -> Pixels:
        """Return a copy of an image with the overlay.

        Args:
            pixels: Image (H, W) that contains the overlay's box.
            full: Value of an ink of 1.
        """
        cut = self._cut
        image = pixels.copy()
        image[cut] = np.round(image[cut] * (1 - self.cover) + full * self.ink * self.cover).astype(np.uint16)
        return image

    def mask(self, shape: tuple[int, ...]) -> Mask:
        """Return the pixels (H, W) that it covers, also where it is partly transparent."""
        mask = np.zeros(shape, np.bool_)
        mask[self._cut] = self.cover > 0
        return mask

    def hidden(self, shape: tuple[int, ...]) -> Mask:
        """Return the pixels (H, W) on which nothing below it is seen."""
        mask = np.zeros(shape, np.bool_)
        mask[self._cut] = self.cover >= 1
        return mask

    @property
    def _cut(self) -> tuple[slice, slice]:
        tall, wide = self.cover.shape
        return np.s_[self.top : self.top + tall, self.left : self.left + wide]


def clipped(overlay: Overlay, shape: tuple[int, ...]) -> Overlay:
    """Return the part of an overlay that is on an image of a shape (H, W)."""
    height, width = shape
    tall, wide = overlay.cover.shape
    top, left = max(0, -overlay.top), max(0, -overlay.left)
    bottom, right = min(tall, height - overlay.top), min(wide, width - overlay.left)
    cut = np.s_[top : max(top, bottom), left : max(left, right)]
    return Overlay(overlay.left + left, overlay.top + top, overlay.ink[cut], overlay.cover[cut])
