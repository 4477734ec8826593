"""DICOM files made by code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    generate_uid,
)

Elements = dict[str, Any]
"""Values of elements by keyword: pydicom takes anything."""


def write(
    path: Path, pixels: np.ndarray, *, bits: int, syntax: str = ExplicitVRLittleEndian, **elements: Any
) -> Path:
    """Write (H, W) integers of 8 or 16 bits; `elements` are set last, so they may contradict the pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["radgaze test"])
    meta.TransferSyntaxUID = UID(syntax)
    ds = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    ds.PatientName, ds.PatientID = "Secret^Name", "SECRET-ID"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * pixels.itemsize, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    order: Literal["<", ">"] = ">" if syntax == ExplicitVRBigEndian else "<"
    data = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(order))).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OW" if pixels.itemsize == 2 else "OB"
    if syntax in (RLELossless, JPEG2000Lossless):
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.compress(syntax, generate_instance_uid=False)
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    little = syntax != ExplicitVRBigEndian
    ds.set_original_encoding(UID(syntax).is_implicit_VR, little)
    ds.save_as(path, enforce_file_format=True)
    return path


def lut(
    data: list[int], first: int, bits: int, *, as_words: bool = False, signed: bool = False
) -> list[Dataset]:
    """A sequence with one look-up table, its data as numbers or as words."""
    item = Dataset()
    item.add_new("LUTDescriptor", "SS" if signed else "US", [len(data) % 2**16, first, bits])
    if as_words:
        item.add_new("LUTData", "OW", np.asarray(data, "<u2").tobytes())
    else:
        item.add_new("LUTData", "US", data)
    return [item]
