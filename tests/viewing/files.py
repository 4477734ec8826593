"""Files that are sent to the page."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from tests.store.cohorts import write_dicom

HIDDEN = (b"Secretname", b"s3cretnumber", b"secretaccession", b"19450508")
"""What of the patient is in the DICOM files."""


def dicom(folder: Path, pixels: NDArray[np.floating], **elements: object) -> bytes:
    """A DICOM file with some elements changed."""
    path = folder / "p10001-Secretname.dcm"
    write_dicom(path, np.asarray(pixels))
    file = dcmread(path)
    for name, value in elements.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)
    content = path.read_bytes()
    path.unlink()
    return content


def png(pixels: NDArray[np.generic]) -> bytes:
    """A PNG picture."""
    made = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(made, "PNG")
    return made.getvalue()


def noise(rows: int, columns: int, seed: int = 0) -> NDArray[np.float64]:
    """An image of noise."""
    return np.random.default_rng(seed).random((rows, columns))
