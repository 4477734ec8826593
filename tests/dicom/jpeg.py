"""Radiographs in the kinds of JPEG that DICOM has, encoded by imagecodecs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)

from tests.dicom.files import write

Encode = Callable[[np.ndarray, int], bytes | bytearray]

KINDS: dict[str, tuple[UID, Encode, tuple[int, ...], float]] = {
    "baseline": (JPEGBaseline8Bit, lambda a, bits: imagecodecs.jpeg8_encode(a, level=98), (8,), 0.02),
    "extended": (
        JPEGExtended12Bit,
        lambda a, bits: imagecodecs.jpeg8_encode(a, level=98, bitspersample=12),
        (12,),
        0.02,
    ),
    "lossless": (
        JPEGLosslessSV1,
        lambda a, bits: imagecodecs.ljpeg_encode(a, bitspersample=bits),
        (8, 12, 16),
        0,
    ),
    "jpegls": (JPEGLSLossless, lambda a, bits: imagecodecs.jpegls_encode(a), (8, 12, 16), 0),
    "jpegls_near": (JPEGLSNearLossless, lambda a, bits: imagecodecs.jpegls_encode(a, level=2), (8,), 0.02),
    "jpeg2000": (
        JPEG2000Lossless,
        lambda a, bits: imagecodecs.jpeg2k_encode(a, codecformat="j2k", bitspersample=bits, reversible=True),
        (8, 12, 16),
        0,
    ),
    "jpeg2000_lossy": (
        JPEG2000,
        lambda a, bits: imagecodecs.jpeg2k_encode(a, level=60, codecformat="j2k", bitspersample=bits),
        (8, 12),
        0.02,
    ),
}
"""Per kind: its transfer syntax, encoder, bits, and how far off a pixel may be, as a share of the range."""


def write_jpeg(path: Path, pixels: np.ndarray, kind: str, *, bits: int, **elements: Any) -> Path:
    """Write (H, W) unsigned integers."""
    syntax, encode, *_ = KINDS[kind]
    write(path, pixels, bits=bits, **elements)
    file = dcmread(path)
    file.file_meta.TransferSyntaxUID = syntax
    file.PixelData = encapsulate([bytes(encode(pixels, bits))])
    file["PixelData"].VR = "OB"
    file["PixelData"].is_undefined_length = True
    file.save_as(path, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return path
