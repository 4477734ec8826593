"""An image file by what is in it: DICOM, or a picture (PNG, JPEG, TIFF)."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.guard import errors_only, opened
from radgaze.dicom.picture import is_picture, picture_size, read_picture
from radgaze.dicom.read import HEADER_BYTES, MAX_PIXELS, read_header, read_image


def read_any(
    path: str | os.PathLike[str], *, voi: Literal["window", "none"] = "window"
) -> NDArray[np.float32]:
    """Greys (H, W) in [0, 1]; see `read_image` and `read_picture`.

    Raises:
        DicomError: The file cannot be read.
    """
    return read_picture(path, voi=voi) if _begins_as_picture(path) else read_image(path, voi=voi)


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Rows and columns, from the file's header.

    Raises:
        DicomError: The header cannot be read.
    """
    if _begins_as_picture(path):
        return picture_size(path)
    header = read_header(path)
    return header.rows, header.columns


def _begins_as_picture(path: str | os.PathLike[str]) -> bool:
    with errors_only(), opened(path, 4 * MAX_PIXELS + HEADER_BYTES) as file:
        return is_picture(file)
