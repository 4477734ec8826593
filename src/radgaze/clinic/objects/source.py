"""An image to make objects of, read in a process of its own: its header, its square, and a picture of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from radgaze.clinic.objects.header import READ, header_of
from radgaze.dicom.error import DicomError
from radgaze.dicom.file import opened_dicom
from radgaze.dicom.guard import errors_only
from radgaze.dicom.read import LOSSY, MAX_PIXELS, UNPARSED, read_radiograph
from radgaze.dicom.view import Turn, turn_of
from radgaze.store.pixels import fit

HEIGHT = 768
"""Height in pixels of the radiograph on the picture; a smaller one is enlarged by at most `ENLARGED`."""
WIDEST = 1024
ENLARGED = 4
RADIOGRAPHS = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    SecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)
"""SOP classes of radiographs, scanned ones included."""
OWN = "radgaze"
"""Manufacturer's Model Name of the objects that radgaze makes."""


@dataclass(frozen=True)
class Source:
    """An image.

    Attributes:
        header: Attributes that its results share, see `header.header_of`.
        square: Its square as in a store, (side, side) uint8.
        rows, columns: Size of the upright image, in pixels.
        turn: How the image of the file is turned upright.
        picture: The upright radiograph, (h, w) uint8, for the picture.
    """

    header: Dataset
    square: NDArray[np.uint8]
    rows: int
    columns: int
    turn: Turn
    picture: NDArray[np.uint8]


def read_source(path: str, *, side: int, voi: Literal["window", "none"], no_patient: bool) -> Source:
    """Read a DICOM radiograph.

    Args:
        path: The file.
        side: Side of the square, in pixels.
        voi: Grey values, see `PrepareOptions`.
        no_patient: Whether attributes of the patient and the study are left out.

    Raises:
        DicomError: The file cannot be read, is no radiograph, or is a result of radgaze.
    """
    with errors_only(UNPARSED), opened_dicom(path, MAX_PIXELS) as (file, _):
        dataset = dcmread(file, stop_before_pixels=True, specific_tags=list(READ))
        if str(dataset.get("ManufacturerModelName") or "").strip() == OWN:
            raise DicomError("own_result", "this is a result of radgaze, not an image")
        sop_class = str(dataset.get("SOPClassUID") or "").strip()
        if sop_class and sop_class not in RADIOGRAPHS:
            raise DicomError("not_a_radiograph", "its SOP class is not one of a radiograph")
        header = header_of(dataset, no_patient=no_patient)
        if dataset.file_meta.get("TransferSyntaxUID") in LOSSY:
            header.LossyImageCompression = "01"  # which many files of such a syntax do not state
    radiograph = read_radiograph(path, voi=voi)
    turn = turn_of(dataset)
    rows, columns = radiograph.pixels.shape
    return Source(header, fit(radiograph.pixels, side), rows, columns, turn, _picture(radiograph.pixels))


def _picture(greys: NDArray[np.float32]) -> NDArray[np.uint8]:
    rows, columns = greys.shape
    scale = min(HEIGHT / rows, WIDEST / columns, ENLARGED)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    image = Image.fromarray(np.rint(greys * 255).astype(np.uint8))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))
