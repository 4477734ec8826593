"""Pictures of a data set in Python, written as PNG files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.files import written


def write_picture(pixels: NDArray[np.uint8] | NDArray[np.uint16], path: Path) -> None:
    """Write grey values (H, W) of 8 or 16 bits."""
    with written(path, lasting=False) as aside:
        Image.fromarray(np.ascontiguousarray(pixels)).save(aside, format="PNG", compress_level=1)
    os.utime(path, (0, 0))  # a data set that is prepared again has not changed; a digest tells if it has


def write_mask(inside: NDArray[np.bool_], path: Path) -> None:
    """Write which pixels (H, W) are inside, as 0 and 255."""
    write_picture(inside.view(np.uint8) * np.uint8(255), path)
