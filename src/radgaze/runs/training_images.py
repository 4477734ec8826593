"""RUN/training_images.png: the first training images of a run that changes them, without any identifier.

One grey picture of three rows: the images, the share of each pixel that is kept for the case's own region,
and the images as the network saw them. A column is a case.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.errors import UserError
from radgaze.files import write_bytes

FILE = "training_images.png"

CASES = 8
"""Number of cases shown."""

SIDE = 256
"""Largest side of an image in the picture, in pixels."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class TrainingImage:
    """An image of a training case, each (S, S) grey.

    Attributes:
        image: The image.
        retained: Share of each pixel that is kept for the case's own region, 255 for all of it.
        seen: The image as the network saw it.
    """

    image: Pixels
    retained: Pixels
    seen: Pixels

    @property
    def is_changed(self) -> bool:
        """Whether the network saw another image."""
        return not np.array_equal(self.image, self.seen)


def write(images: Sequence[TrainingImage], path: Path) -> None:
    """Write images, all of one size, in the folder of a run; larger ones than `SIDE` are made smaller."""
    columns = [np.concatenate([_fitted(part) for part in (i.image, i.retained, i.seen)]) for i in images]
    buffer = BytesIO()
    Image.fromarray(np.concatenate(columns, axis=1)).save(buffer, format="PNG")
    write_bytes(buffer.getvalue(), path)


def read(path: Path) -> list[TrainingImage]:
    """Read the images that `write` wrote; none where there is no such file.

    Raises:
        UserError: The file is damaged, or is no such picture.
    """
    if not path.is_file():
        return []
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            side, rest = divmod(picture.height, 3)
            if picture.mode != "L" or rest or not 0 < side <= SIDE or picture.width not in _widths(side):
                raise ValueError("another shape")
            sheet = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path} is damaged or no picture of training images; remove it") from error
    columns = np.split(sheet, sheet.shape[1] // side, axis=1)
    return [TrainingImage(*np.split(column, 3)) for column in columns]


def _widths(side: int) -> list[int]:
    return [count * side for count in range(1, CASES + 1)]


def _fitted(pixels: Pixels) -> Pixels:
    if len(pixels) <= SIDE:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX))
