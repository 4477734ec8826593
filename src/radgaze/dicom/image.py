"""Image files of any supported format: DICOM, or a picture (PNG, JPEG, TIFF)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from radgaze.dicom.error import DicomError
from radgaze.dicom.guard import Source, errors_only, opened
from radgaze.dicom.picture import START, is_picture, picture_size, read_picture
from radgaze.dicom.read import HEADER_BYTES, MAX_PIXELS, read_header, read_radiograph
from radgaze.dicom.view import Radiograph

NAMED = {
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
    ".png": "PNG",
    **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
}
"""Formats that are read, by the endings of names."""

DIRECTORY = "DICOMDIR"
"""Name of the table of contents of a medium with DICOM files (DICOM PS3.10), which is no image."""


def read_any(source: Source, *, voi: Literal["window", "none"] = "window") -> Radiograph:
    """Read an image as it is meant to be seen, by the format of its content.

    Args:
        source: DICOM, PNG, JPEG or TIFF file.
        voi: Grey scale, see `read_radiograph` and `read_picture`.

    Returns:
        The image, with greys (H, W) in [0, 1], 0 black.

    Raises:
        DicomError: The file cannot be read.
    """
    if _begins_as_picture(source):
        return Radiograph(read_picture(source, voi=voi))
    return read_radiograph(source, voi=voi)


def size_of(source: Source) -> tuple[int, int]:
    """Rows and columns of an image in pixels, from the file's header.

    Raises:
        DicomError: The header cannot be read.
    """
    if _begins_as_picture(source):
        return picture_size(source)
    header = read_header(source)
    return header.rows, header.columns


def may_be_image(path: Path) -> bool:
    """Whether a file begins like an image of any known format, is named like one that is read, or cannot be
    opened."""
    if path.name == DIRECTORY:
        return False
    if path.suffix.lower() in NAMED:
        return True
    try:
        with path.open("rb") as file:
            is_known = is_picture(file)
            return is_known or _is_dicom(file.read(START))
    except (DicomError, OSError):  # a picture of another format, or a file that the user may not read
        return True


def _begins_as_picture(source: Source) -> bool:
    """Whether a file begins as a picture that is read, rather than as DICOM; one of neither is an error."""
    with errors_only(), opened(source, 4 * MAX_PIXELS + HEADER_BYTES) as file:
        if is_picture(file):
            return True
        if _is_dicom(file.read(START)):
            return False
    name = None if isinstance(source, bytes) else NAMED.get(Path(source).suffix.lower())
    if name is None:
        raise DicomError("not_dicom", "this is neither a DICOM file nor a PNG, JPEG or TIFF picture")
    raise DicomError(
        "not_dicom" if name == "DICOM" else "not_a_picture",
        f"the file is named as {name}, but does not begin as {name} does: it is damaged, or something else",
    )


def _is_dicom(start: bytes) -> bool:
    return start[128:132] == b"DICM"
