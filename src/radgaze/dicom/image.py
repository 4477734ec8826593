"""Image files of any supported format: DICOM, or a picture (PNG, JPEG, TIFF)."""

from __future__ import annotations

import os
from typing import Literal

from radgaze.dicom.guard import errors_only, opened
from radgaze.dicom.picture import is_picture, picture_size, read_picture
from radgaze.dicom.read import HEADER_BYTES, MAX_PIXELS, read_header, read_radiograph
from radgaze.dicom.view import Radiograph


def read_any(path: str | os.PathLike[str], *, voi: Literal["window", "none"] = "window") -> Radiograph:
    """Read an image as it is meant to be seen, by the format of its content.

    Args:
        path: DICOM, PNG, JPEG or TIFF file.
        voi: Grey scale, see `read_radiograph` and `read_picture`.

    Returns:
        The image, with greys (H, W) in [0, 1], 0 black.

    Raises:
        DicomError: The file cannot be read.
    """
    if _begins_as_picture(path):
        return Radiograph(read_picture(path, voi=voi))
    return read_radiograph(path, voi=voi)


def size_of(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Rows and columns of an image in pixels, from the file's header.

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
