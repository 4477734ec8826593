"""A marker to be pasted into images: a picture, or a text on a plate."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from radgaze.errors import UserError, shortened

Layer = NDArray[np.float32]

LARGEST = 4096
"""Largest side of the picture of a marker, in pixels."""

LETTERS = 96
"""Height of a plate of text before it is resized, in pixels."""


@dataclass(frozen=True)
class Stamp:
    """A marker.

    Attributes:
        ink: Brightness in [0, 1], of shape (h, w).
        cover: Opacity in [0, 1], of shape (h, w).
    """

    ink: Layer
    cover: Layer

    @property
    def sha256(self) -> str:
        """SHA-256 of its pixels, by which it is recognised without its name."""
        return hashlib.sha256(self.ink.tobytes() + self.cover.tobytes()).hexdigest()

    def at_height(self, height: int, *, most: int) -> tuple[Layer, Layer]:
        """Return ink and cover at a height, or less where the width would be above `most`, in pixels."""
        tall, wide = self.ink.shape
        factor = min(height / tall, most / wide)
        size = (max(1, round(wide * factor)), max(1, round(tall * factor)))
        ink, cover = (
            np.asarray(Image.fromarray(layer).resize(size, Image.Resampling.BOX), np.float32)
            for layer in (self.ink, self.cover)
        )
        return ink, cover


def stamp_of(content: str) -> Stamp:
    """Make a marker from the path of a picture or, where there is no such file, from a text.

    Raises:
        UserError: The file is no picture, or too large a one.
    """
    path = Path(content)
    if len(content) < 256 and path.is_file():
        return _of_picture(path)
    if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):
        raise UserError(f"`overlay`: there is no file {shortened(content)}")
    return _of_text(content)


def _of_picture(path: Path) -> Stamp:
    try:
        with Image.open(path) as picture:
            if max(picture.size) > LARGEST:
                raise UserError(f"{path} has more than {LARGEST} pixels a side; give a smaller picture")
            layers = np.asarray(picture.convert("LA"), np.float32) / np.float32(255)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is no picture that can be read") from error
    return Stamp(np.ascontiguousarray(layers[..., 0]), np.ascontiguousarray(layers[..., 1]))


def _of_text(text: str) -> Stamp:
    """White letters on a black plate."""
    font = ImageFont.load_default(size=0.7 * LETTERS)
    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), text, font=font)
    plate = Image.new("L", (round(right - left + 0.3 * LETTERS), LETTERS))
    corner = (0.15 * LETTERS - left, (LETTERS - bottom - top) / 2)
    ImageDraw.Draw(plate).text(corner, text, font=font, fill=255)
    ink = np.asarray(plate, np.float32) / np.float32(255)
    return Stamp(ink, np.ones_like(ink))
