"""Read a DICOM radiograph as grey values; it is checked before its pixels are read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.utils import pixel_array
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

from radgaze.dicom import jpeg, jpeg2000, rle
from radgaze.dicom.error import DicomError
from radgaze.dicom.file import HEADER_BYTES, MAX_TEXT, check_fragments, check_values, opened_dicom
from radgaze.dicom.greyscale import grey
from radgaze.dicom.guard import Source, errors_only
from radgaze.dicom.view import Radiograph, check_frontal, upright

__all__ = [
    "HEADER_BYTES",
    "MAX_PIXELS",
    "DicomError",
    "Header",
    "read_header",
    "read_image",
    "read_radiograph",
]

MAX_PIXELS = 64_000_000
"""Most pixels of an image: four times the largest detectors, and a few copies fit into memory."""

NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
JPEG_2000 = (JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
JPEG = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)
LOSSY = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless)
UNPARSED = "elements of the file cannot be parsed, or have values that make no sense"
PIXELS, SIGNATURES, PADDING = 0x7FE0, 0xFFFA, 0xFFFC
"""Groups of elements that may end a file."""
USED = (
    *("PresentationLUTShape", "ModalityLUTSequence", "VOILUTSequence", "VOILUTFunction", "WindowCenter"),
    *("WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ViewPosition", "ViewCodeSequence", "PatientOrientation", "BurnedInAnnotation"),
)
"""Elements that are used beside `KEYWORDS`."""


@dataclass(frozen=True)
class Header:
    """The description of the image in a file, checked only to consist of numbers.

    Attributes:
        rows: Height in pixels.
        columns: Width in pixels.
        photometric: Photometric Interpretation, as "MONOCHROME2".
        samples: Samples per pixel, 1 for grey.
        frames: Number of frames.
        bits_allocated: Bits of a pixel.
        bits_stored: Bits of them that are used.
        high_bit: The highest bit used, counted from 0.
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
    high_bit: int
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
    "HighBit",
    "PixelRepresentation",
]


def read_header(source: Source, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the header of a file, without its pixels.

    Args:
        source: The file.
        max_pixels: Most pixels of an image that is read, which limits the size of the file.

    Raises:
        DicomError: The file is missing, not DICOM, or does not describe an image.
    """
    with errors_only(UNPARSED), opened_dicom(source, max_pixels) as (file, deflated):
        dataset = dcmread(file, stop_before_pixels=True, specific_tags=KEYWORDS)
        return _header(dataset, deflated=deflated)


def read_image(
    source: Source, *, voi: Literal["window", "none"] = "window", max_pixels: int = MAX_PIXELS
) -> NDArray[np.float32]:
    """Read the greys (H, W) of `read_radiograph`, in [0, 1]."""
    return read_radiograph(source, voi=voi, max_pixels=max_pixels).pixels


def read_radiograph(
    source: Source, *, voi: Literal["window", "none"] = "window", max_pixels: int = MAX_PIXELS
) -> Radiograph:
    """Read one frontal single-frame grey image as it is meant to be seen.

    The steps are, in this order: the header, checks of size and transfer syntax, decoding, modality LUT or
    rescale, VOI, inversion of MONOCHROME1, padding to black, turning upright.

    Args:
        source: The file.
        voi: Grey scale. "window" applies the VOI LUT, else the first window, and gives shares of its output
            range; without either, min–max of all that is not padding. "none" gives modality values over
            their maximum, shifted first so that none is negative, as many training scripts do.
        max_pixels: Most pixels of an image that is read.

    Returns:
        The image, with greys (H, W) in [0, 1], 0 black, upright.

    Raises:
        DicomError: The file cannot be read, or it is a lateral view.
    """
    with errors_only(UNPARSED), opened_dicom(source, max_pixels) as (file, deflated):
        dataset = dcmread(file, stop_before_pixels=True)
        header = _header(dataset, deflated=deflated)
        check_values(dataset, USED)
        check_frontal(dataset)
        _check(header, max_pixels)
        if header.transfer_syntax in NATIVE:
            _check_length(file, header)
        file.seek(0)
        dataset = dcmread(file)
        with errors_only("the pixel data cannot be decoded"):
            _check_pixel_data(dataset, header)
            if deflated:
                _check_rest(file, dataset)
            if dataset.get("PixelRepresentation") in (None, ""):
                dataset.PixelRepresentation = 0
            pixels = _decoded(dataset, header)
        if pixels.shape != (header.rows, header.columns):
            raise DicomError("wrong_length", "the decoded image does not have the size stated in the header")
        with errors_only("the elements that describe the greys cannot be used"):
            greys = grey(np.ascontiguousarray(pixels), dataset, voi)
        return upright(greys, dataset)


def _header(dataset: Dataset, *, deflated: bool) -> Header:
    check_values(dataset, KEYWORDS, most=MAX_TEXT)
    syntax = DeflatedExplicitVRLittleEndian if deflated else dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise DicomError("not_dicom", "the file does not name its transfer syntax")
    for keyword in ("Rows", "Columns", "PhotometricInterpretation", "BitsAllocated", "BitsStored"):
        if dataset.get(keyword) in (None, ""):
            raise DicomError("no_image", f"the file has no {keyword}")
    return Header(
        rows=_integer(dataset, "Rows", 0),
        columns=_integer(dataset, "Columns", 0),
        photometric=str(dataset.PhotometricInterpretation),
        samples=_integer(dataset, "SamplesPerPixel", 1) or 1,
        frames=_integer(dataset, "NumberOfFrames", 1) or 1,
        bits_allocated=_integer(dataset, "BitsAllocated", 0),
        bits_stored=_integer(dataset, "BitsStored", 0),
        high_bit=_integer(dataset, "HighBit", _integer(dataset, "BitsStored", 0) - 1),
        signed=_integer(dataset, "PixelRepresentation", 0) == 1,
        transfer_syntax=str(syntax),
    )


def _integer(dataset: Dataset, keyword: str, default: int) -> int:
    """The number in an element; the default if it is absent or empty."""
    value = dataset.get(keyword)
    try:
        return default if value is None or value == "" else int(value)
    except (TypeError, ValueError):
        raise DicomError("bad_number", f"the file's {keyword} is not one whole number") from None


def _check(header: Header, max_pixels: int) -> None:
    """Refuse all but single grey images of a plausible size with a transfer syntax that can be decoded."""
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
    if syntax not in (*NATIVE, RLELossless, *JPEG_2000, *JPEG):
        raise DicomError("no_decoder", "a transfer syntax that radgaze does not decode")
    # A codestream states the number of its bits itself, and they are the lowest.
    low, high = header.bits_stored - 1, header.bits_allocated - 1
    if not low <= header.high_bit <= (high if syntax in (*NATIVE, RLELossless) else low):
        raise DicomError("bad_bits", f"High Bit {header.high_bit} with {header.bits_stored} bits stored")


def _check_length(file: BinaryIO, header: Header) -> None:
    """Compare the length of native pixels with that of the image in the header, before reading them."""
    start = file.read(12)
    if len(start) < 12:
        raise DicomError("no_pixels", "the file has no pixel data")
    order: Literal["little", "big"] = "big" if header.transfer_syntax == ExplicitVRBigEndian else "little"
    at = 4 if header.transfer_syntax == ImplicitVRLittleEndian else 8
    length = int.from_bytes(start[at : at + 4], order)
    value = file.tell() - 12 + at + 4
    if length not in _lengths(header):
        raise DicomError("wrong_length", "the pixel data do not have the length stated in the header")
    if file.seek(0, os.SEEK_END) < value + length:
        raise DicomError("truncated", "the file ends within its pixel data")


def _lengths(header: Header) -> tuple[int, int]:
    """Valid lengths of native pixels in bytes: exact, or padded to an even number."""
    exact = header.rows * header.columns * header.bits_allocated // 8
    return exact, exact + exact % 2


def _check_pixel_data(dataset: Dataset, header: Header) -> None:
    data = dataset.get("PixelData")
    if header.transfer_syntax not in NATIVE and data is None:
        raise DicomError("truncated", "the pixel data have no end: the file is cut, or lacks its delimiter")
    if not data:
        raise DicomError("no_pixels", "the file has no pixel data")
    if header.transfer_syntax in NATIVE:
        if len(data) not in _lengths(header):
            raise DicomError("wrong_length", "the pixel data do not have the length stated in the header")
        return
    check_fragments(data)
    if header.transfer_syntax in JPEG_2000:
        codestream = get_frame(data, 0, number_of_frames=1)
        jpeg2000.check(codestream, header.rows, header.columns, header.bits_allocated)


def _check_rest(file: BinaryIO, dataset: Dataset) -> None:
    """Refuse unexpected elements after the pixels: without a checksum, deflate shows damage only so."""
    last = max(dataset.keys())
    end = file.tell()
    if end < file.seek(0, os.SEEK_END) or last.group not in (PIXELS, SIGNATURES, PADDING):
        raise DicomError("broken", "something follows the pixel data")


def _decoded(dataset: Dataset, header: Header) -> NDArray[np.generic]:
    syntax = header.transfer_syntax
    if syntax in JPEG:
        return _from_jpeg(dataset, header)
    if syntax == RLELossless:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        return rle.decode(frame, header.rows, header.columns, header.bits_allocated)
    # grey() handles the unused bits, as it needs padding as it is in the file.
    plugin = "pylibjpeg" if syntax in JPEG_2000 else ""
    return pixel_array(dataset, raw=True, decoding_plugin=plugin, correct_unused_bits=False)


def _from_jpeg(dataset: Dataset, header: Header) -> NDArray[np.generic]:
    codestream = get_frame(dataset.PixelData, 0, number_of_frames=1)
    ls = header.transfer_syntax in JPEGLSTransferSyntaxes
    pixels = jpeg.decode(codestream, header.rows, header.columns, ls=ls)
    if 8 * pixels.itemsize > header.bits_allocated:
        raise DicomError("bad_bits", f"a codestream of more than the {header.bits_allocated} bits allocated")
    if header.transfer_syntax in LOSSY and not header.signed:
        # Extended JPEG has 8 or 12 bits. With 10 bits stored, white may be rounded beyond them, to black.
        pixels = pixels.clip(max=min(2**header.bits_stored - 1, np.iinfo(pixels.dtype).max))
    return pixels
