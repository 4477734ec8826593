"""DX files with a full header, made by code, in any orientation and encoding."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

from tests.dicom import lossless
from tests.dicom.files import write

ORIENTATIONS = (
    *(("L", "F"), ("R", "F"), ("L", "H"), ("R", "H")),
    *(("F", "L"), ("F", "R"), ("H", "L"), ("H", "R")),
)
SECRETS = ("Secretname", "s3cretnumber", "19450508", "secretaccession", "Doctor^Who", "secretcomment")
SYNTAXES = (ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, JPEGLosslessSV1)


def header(name: str = "image") -> dict[str, Any]:
    """Elements of a chest radiograph."""
    return {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": uid(f"instance {name}"),
        "SeriesInstanceUID": uid(f"series {name}"),
        "StudyInstanceUID": uid("study"),
        "Modality": "DX",
        "PatientName": "Secretname^Jo",
        "PatientID": "s3cretnumber",
        "PatientBirthDate": "19450508",
        "PatientSex": "F",
        "PatientAge": "071Y",
        "PatientComments": "secretcomment",
        "StudyDate": "20200102",
        "StudyTime": "101112.5",
        "StudyID": "S1",
        "AccessionNumber": "secretaccession"[:16],
        "ReferringPhysicianName": "Doctor^Who",
        "StudyDescription": "CHEST",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "PA",
        "PatientOrientation": ["L", "F"],
        "BurnedInAnnotation": "NO",
        "WindowCenter": 2048,
        "WindowWidth": 4096,
    }


def uid(words: str) -> UID:
    return generate_uid(entropy_srcs=["radgaze clinic", words])


def dot(shape: tuple[int, int], at: tuple[int, int], radius: float = 4.0) -> np.ndarray:
    """Greys in [0, 1] of a dark image with a smooth bright dot at a pixel (row, column)."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * radius**2)))


def write_dx(path: Path, greys: np.ndarray, *, syntax: str = ExplicitVRLittleEndian, **elements: Any) -> Path:
    """Write greys in [0, 1] as 12 bits; an element that is None is left out."""
    pixels = np.rint(greys * 4095).astype(np.uint16)
    if elements.get("PhotometricInterpretation") == "MONOCHROME1":
        pixels = 4095 - pixels
    wanted = {**header(path.stem), **elements}
    plain = ExplicitVRLittleEndian if syntax == JPEGLosslessSV1 else syntax
    given = {name: value for name, value in wanted.items() if value is not None}
    write(path, pixels, bits=12, syntax=plain, **given)
    gone = [name for name, value in wanted.items() if value is None]
    if gone or syntax == JPEGLosslessSV1:
        edited = read(path)
        for name in gone:
            if name in edited:
                del edited[name]
        if syntax == JPEGLosslessSV1:
            edited.PixelData = encapsulate([lossless.encode(pixels, bits=12, predictor=1)])
            edited["PixelData"].is_undefined_length = True
            edited.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        edited.save_as(path, enforce_file_format=True)
    return path


def write_jpeg(path: Path, greys: np.ndarray, **elements: Any) -> Path:
    """Write greys in [0, 1] as lossy JPEG of 8 bits."""
    write_dx(path, greys, WindowCenter=128, WindowWidth=256, **elements)
    dataset, content = read(path), BytesIO()
    Image.fromarray(np.rint(greys * 255).astype(np.uint8)).save(content, "JPEG", quality=20)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = encapsulate([content.getvalue()])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.save_as(path, enforce_file_format=True)
    return path


def read(path: Path) -> Dataset:
    import pydicom

    return pydicom.dcmread(path)
