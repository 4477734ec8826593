"""One DICOM radiograph to grey values, checked before its pixels are touched."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from radgaze.dicom import jpeg
from radgaze.dicom.error import DicomError
from radgaze.dicom.grey import grey
from radgaze.dicom.guard import errors_only, opened
from radgaze.dicom.view import Radiograph, check_frontal, upright

__all__ = ["MAX_PIXELS", "DicomError", "Header", "read_header", "read_image", "read_radiograph"]

MAX_PIXELS = 64_000_000
"""Four times the largest detectors of today, and little enough to hold in memory a few times over."""

HEADER_BYTES = 64 * 2**20
"""What a file may hold beside its pixels."""

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
JPEG_2000 = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
JPEG = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)
LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
OURS = "jpeg"
"""In the place of a plugin's name: none of pydicom's that is free to use decodes all of `JPEG`."""


@dataclass(frozen=True)
class Header:
    """What a file says of its image; nothing of it is checked beyond being numbers.

    Attributes:
        rows: Height in pixels.
        columns: Width in pixels.
        photometric: Photometric Interpretation, as "MONOCHROME2".
        samples: Samples per pixel, 1 for grey.
        frames: Number of frames.
        bits_allocated: Bits that a pixel takes.
        bits_stored: Bits of them that are used.
        signed: Whether stored values are signed.
        transfer_syntax: UID of the encoding.
    """

    rows: int
    columns: int
    photometric: str
    samples: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    transfer_syntax: str


KEYWORDS = [
    "Rows",
    "Columns",
    "PhotometricInterpretation",
    "SamplesPerPixel",
    "NumberOfFrames",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
]


def read_header(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read a file's header; no pixel is touched.

    Raises:
        DicomError: The file is not there, not DICOM, or does not say what its image is.
    """
    with errors_only(), _opened(path, max_pixels) as file:
        return _header(dcmread(file, stop_before_pixels=True, specific_tags=KEYWORDS))


def read_image(
    path: str | os.PathLike[str], *, voi: Literal["window", "none"] = "window", max_pixels: int = MAX_PIXELS
) -> NDArray[np.float32]:
    """The greys of `read_radiograph`."""
    return read_radiograph(path, voi=voi, max_pixels=max_pixels).pixels


def read_radiograph(
    path: str | os.PathLike[str], *, voi: Literal["window", "none"] = "window", max_pixels: int = MAX_PIXELS
) -> Radiograph:
    """Read one frontal single-frame grey image as it is meant to be seen.

    In this order: the header, checks of size and transfer syntax, decoding, modality LUT or rescale, VOI,
    inversion of MONOCHROME1, padding to black, turning upright.

    Args:
        path: The file.
        voi: "window" applies VOI LUT, else the first window, and gives shares of its output range; without
            either, min–max of all that is not padding. "none" is modality values over their maximum, moved up
            first so that none is negative, as many training scripts do it.
        max_pixels: No image of more is read.

    Raises:
        DicomError: For whatever reason, the file cannot be read; or it is a lateral view.
    """
    with errors_only(), _opened(path, max_pixels) as file:
        dataset = dcmread(file, stop_before_pixels=True)
        header = _header(dataset)
        check_frontal(dataset)
        plugin = _checked(header, max_pixels)
        if header.transfer_syntax in NATIVE and header.transfer_syntax != DeflatedExplicitVRLittleEndian:
            _check_length(file, header)
        file.seek(0)
        dataset = dcmread(file)
        _check_pixel_data(dataset, header)
        if plugin == OURS:
            pixels = _from_jpeg(dataset, header)
        else:
            # The unused bits are dealt with in grey(), which must see padding as it is in the file.
            pixels = pixel_array(dataset, raw=True, decoding_plugin=plugin, correct_unused_bits=False)
        if pixels.shape != (header.rows, header.columns):
            raise DicomError("wrong_length", "the decoded image has not the size that the header says")
        return upright(grey(np.ascontiguousarray(pixels), dataset, voi), dataset)


@contextmanager
def _opened(path: str | os.PathLike[str], max_pixels: int) -> Iterator[BinaryIO]:
    """The file, if it is not far larger than any image that would be read, deflated or not."""
    limit = 2 * max_pixels + HEADER_BYTES
    with opened(path, limit) as file:
        _check_deflated(file, limit)
        file.seek(0)
        yield file


def _check_deflated(file: BinaryIO, limit: int) -> None:
    """Inflate a deflated file piece by piece, only to see that it stays small: pydicom does it in one go."""
    read_preamble(file, force=False)
    meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    rest = file.read()
    while rest and not inflater.eof:
        size += len(inflater.decompress(rest, 2**20))
        rest = inflater.unconsumed_tail
        if size > limit:
            raise DicomError("too_large", f"the file inflates to more than {limit >> 20} MiB")


def _header(dataset: Dataset) -> Header:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise DicomError("not_dicom", "the file does not name its transfer syntax")
    for keyword in ("Rows", "Columns", "PhotometricInterpretation", "BitsAllocated", "BitsStored"):
        if dataset.get(keyword) in (None, ""):
            raise DicomError("no_image", f"the file has no {keyword}")
    return Header(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        photometric=str(dataset.PhotometricInterpretation),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        frames=int(dataset.get("NumberOfFrames") or 1),
        bits_allocated=int(dataset.BitsAllocated),
        bits_stored=int(dataset.BitsStored),
        signed=int(dataset.get("PixelRepresentation") or 0) == 1,
        transfer_syntax=str(syntax),
    )


def _checked(header: Header, max_pixels: int) -> str:
    """Refuse what is no single grey image of a plausible size; return the plugin that decodes the rest."""
    if header.samples != 1 or header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomError("not_grey", f"{header.samples} samples per pixel, not MONOCHROME1 or 2")
    if header.frames != 1:
        raise DicomError("multi_frame", f"{header.frames} frames")
    if header.rows < 1 or header.columns < 1:
        raise DicomError("no_image", f"{header.rows} rows and {header.columns} columns")
    if header.rows * header.columns > max_pixels:
        raise DicomError("too_large", f"{header.rows} rows and {header.columns} columns")
    if header.bits_allocated not in (8, 16) or not 1 <= header.bits_stored <= header.bits_allocated:
        raise DicomError("bad_bits", f"{header.bits_stored} bits stored of {header.bits_allocated} allocated")
    syntax = header.transfer_syntax
    if syntax in NATIVE:
        return ""
    if syntax == RLELossless:
        return "pydicom"
    if syntax in JPEG_2000:
        return "pylibjpeg"
    if syntax in JPEG:
        return OURS
    raise DicomError("no_decoder", "a transfer syntax that radgaze does not decode")


def _check_length(file: BinaryIO, header: Header) -> None:
    """Compare the length that native pixels have with the one they should have, before reading them."""
    start = file.read(12)
    if len(start) < 12:
        raise DicomError("no_pixels", "the file has no pixel data")
    order: Literal["little", "big"] = "big" if header.transfer_syntax == ExplicitVRBigEndian else "little"
    at = 4 if header.transfer_syntax == ImplicitVRLittleEndian else 8
    length = int.from_bytes(start[at : at + 4], order)
    value = file.tell() - 12 + at + 4
    if length not in _lengths(header):
        raise DicomError("wrong_length", "the pixel data has not the length that the header says")
    if os.fstat(file.fileno()).st_size < value + length:
        raise DicomError("truncated", "the file ends within its pixel data")


def _lengths(header: Header) -> tuple[int, int]:
    """Lengths that native pixels may have in bytes: exact, or padded to an even number."""
    exact = header.rows * header.columns * header.bits_allocated // 8
    return exact, exact + exact % 2


def _check_pixel_data(dataset: Dataset, header: Header) -> None:
    data = dataset.get("PixelData")
    if not data:
        raise DicomError("no_pixels", "the file has no pixel data")
    if header.transfer_syntax in NATIVE and len(data) not in _lengths(header):
        raise DicomError("wrong_length", "the pixel data has not the length that the header says")
    if header.transfer_syntax in JPEG_2000:
        _check_codestream(get_frame(data, 0, number_of_frames=1), header)


def _from_jpeg(dataset: Dataset, header: Header) -> NDArray[Any]:
    codestream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    ls = header.transfer_syntax in JPEGLSTransferSyntaxes
    pixels = jpeg.decode(codestream, header.rows, header.columns, ls=ls)
    if 8 * pixels.itemsize > header.bits_allocated:
        raise DicomError("bad_bits", f"a codestream of more than the {header.bits_allocated} bits allocated")
    if header.transfer_syntax in LOSSY and not header.signed:
        # Extended JPEG has 8 or 12 bits. Of 10 that are stored, white is rounded beyond them, to a black.
        pixels = pixels.clip(max=min(2**header.bits_stored - 1, np.iinfo(pixels.dtype).max))
    return pixels


def _check_codestream(codestream: bytes, header: Header) -> None:
    """Compare JPEG 2000's own size (SIZ) with the header's: the decoder believes only the former."""
    at = codestream.find(b"\xff\x4f\xff\x51", 0, 4096)  # 0 by the standard; some wrap it in a JP2 file
    if at < 0 or len(codestream) < at + 43:
        raise DicomError("broken", "no JPEG 2000 codestream")
    x1, y1, x0, y0 = (int.from_bytes(codestream[i : i + 4], "big") for i in range(at + 8, at + 24, 4))
    samples = int.from_bytes(codestream[at + 40 : at + 42], "big")
    if (y1 - y0, x1 - x0, samples) != (header.rows, header.columns, 1):
        raise DicomError("wrong_length", "the JPEG 2000 codestream has not the size that the header says")
    if codestream[at + 42] % 128 >= header.bits_allocated:  # Ssiz: the sign, and the depth less one
        raise DicomError("bad_bits", f"a codestream of more than the {header.bits_allocated} bits allocated")
