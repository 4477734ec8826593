"""Read a radiograph in PNG, JPEG or TIFF as grey values; it is checked before its pixels are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from radgaze.dicom import jpeg
from radgaze.dicom.error import DicomError
from radgaze.dicom.guard import Source, errors_only, opened
from radgaze.dicom.read import HEADER_BYTES, MAX_PIXELS

FORMATS = ("PNG", "JPEG", "TIFF")
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
"""First bytes of files of these formats."""

GREY = ("1", "L", "I;16", "I;16L", "I;16B", "I", "F")
COLOUR = ("LA", "P", "RGB", "RGBA")
"""Modes of Pillow that are read; those of colour only if the picture is grey."""

TINT = 8
"""Levels of 256 by which red, green and blue may differ in a grey picture, as JPEG rounds."""

OTHERS = {
    "BMP": rb"BM.{4}\0{4}",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF.{4}WEBP",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "BigTIFF": rb"II\+\0|MM\0\+",
    "HEIF": rb".{4}ftyp(hei[cx]|mif1|avi[fs])",
}
"""Pictures that are not read, by a pattern of their first bytes."""

START = 132
"""First bytes of a file by which its format is known: those of DICOM up to its prefix."""

ORIENTATION, PHOTOMETRIC, BITS, SAMPLE_FORMAT = 0x0112, 262, 258, 339  # tags of EXIF and TIFF
UPRIGHT = (0, 1)
"""Upright orientations; 0 is not defined, and some cameras and scanners write it."""
WHITE_IS_ZERO, SIGNED = 0, 2


def is_picture(file: BinaryIO) -> bool:
    """Whether an open file begins like those of `FORMATS`; its position is reset to the beginning.

    Raises:
        DicomError: The file begins like a picture of another format.
    """
    start = file.read(START)
    file.seek(0)
    name = other_format(start)
    if name is not None:
        raise DicomError("unsupported_format", f"a {name} picture, which is not read; save it as PNG")
    return start.startswith(SIGNATURES)


def other_format(start: bytes) -> str | None:
    """Format of a picture that is not read, by the first bytes of its file; None for any other file."""
    if start.endswith(b"DICM"):
        return None
    return next((name for name, begin in OTHERS.items() if re.match(begin, start, re.DOTALL)), None)


def picture_size(source: Source, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Rows and columns of a picture in pixels, from its header.

    Raises:
        DicomError: The file is no picture, or one that is not read.
    """
    with errors_only(), opened(source, _limit(max_pixels)) as file:
        image = _checked(file, max_pixels)
        return image.height, image.width


def read_picture(
    source: Source, *, voi: Literal["window", "none"] = "window", max_pixels: int = MAX_PIXELS
) -> NDArray[np.float32]:
    """Read a picture as greys (H, W) in [0, 1], 0 black.

    Eight bits are read as shown, 255 white. Deeper pictures do not define white: like a DICOM file without a
    window they are stretched from their least to their greatest value.

    Args:
        source: PNG, JPEG or TIFF file of 1 to 16 bits, or 32 as numbers; RGB, palette or opaque alpha if
            grey.
        voi: Grey scale, "none" for values over their maximum at any depth.
        max_pixels: Most pixels of a picture that is read.

    Raises:
        DicomError: The file is not such a picture, or damaged.
    """
    with errors_only():
        values, deep = grey_values(source, max_pixels=max_pixels)
    return scaled(values, deep=deep, voi=voi)


def grey_values(
    source: Source,
    *,
    max_pixels: int = MAX_PIXELS,
    colour: Literal["none", "brightest"] = "none",
) -> tuple[NDArray[np.number], bool]:
    """Read a picture's values (H, W) as stored, 0 black, and whether they are deeper than 8 bits.

    Args:
        source: PNG, JPEG or TIFF file, see `read_picture`.
        max_pixels: Most pixels of a picture that is read.
        colour: Treatment of a picture with colours: "none" refuses it, "brightest" reads the brightest of its
            channels.

    Raises:
        DicomError: The file is not such a picture, or damaged.
    """
    with opened(source, _limit(max_pixels)) as file:
        image = _checked(file, max_pixels)
        if image.format == "JPEG":
            file.seek(0)
            jpeg.check(file.read())
        # Pillow inverts 8 bits of white-is-zero itself, and no others.
        turned = _white_is_zero(image) and image.mode not in ("1", "L")
        wide = image.mode in COLOUR and _is_wide(file, image)
        try:
            image.load()
        except OSError as error:  # Pillow's error for a file that ends early, and for damaged data
            reason = "truncated" if "truncated" in str(error) else "broken"
            raise DicomError(reason, "the picture's data end early or make no sense") from error
        values = _grey_of_wide(file, image, colour) if wide else _grey(image, colour)
    if not np.isfinite(values).all():
        raise DicomError("not_finite", "the picture has values that are no numbers")
    if turned:
        values = values.max() + values.min() - values
    return values, wide or image.mode not in ("1", "L", *COLOUR)


def _limit(max_pixels: int) -> int:
    return 4 * max_pixels + HEADER_BYTES


def _checked(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Open a picture whose header is that of one grey upright image of a plausible size."""
    try:
        image = Image.open(file, formats=FORMATS)
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DicomError("not_a_picture", "this is no PNG, JPEG or TIFF picture that can be read") from error
    if image.width * image.height > max_pixels:
        raise DicomError("too_large", f"{image.height} rows and {image.width} columns")
    if _has_second_frame(image):
        raise DicomError("multi_frame", "more than one frame")
    if image.mode not in (*GREY, *COLOUR):
        raise DicomError("not_grey", f"a picture of mode {image.mode}")
    # For the EXIF of a PNG that has none at its beginning, Pillow decodes the whole file.
    exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
    if exif.get(ORIENTATION, 1) not in UPRIGHT:
        # Boxes and fixations may refer to either position, and viewers differ.
        raise DicomError("orientation", "the file asks to be turned; save it upright")
    return image


def _has_second_frame(image: Image.Image) -> bool:
    if image.format != "TIFF":
        return int(getattr(image, "n_frames", 1)) != 1
    try:
        image.seek(1)  # not n_frames: a file may claim millions, and it reads them all
    except EOFError:
        return False
    return True


def _white_is_zero(image: Image.Image) -> bool:
    return _tag(image, PHOTOMETRIC) == (WHITE_IS_ZERO,)


def _tag(image: Image.Image, tag: int) -> tuple[object, ...]:
    """The values of a TIFF file's tag; empty without it."""
    tags: Mapping[int, object] = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    value = tags.get(tag, ())
    return value if isinstance(value, tuple) else (value,)


def _is_wide(file: BinaryIO, image: Image.Image) -> bool:
    """Whether a picture with several samples to a pixel has 16 bits of each, of which Pillow keeps 8."""
    if image.format == "TIFF":
        return any(isinstance(bits, int) and bits > 8 for bits in _tag(image, BITS))
    file.seek(24)
    return image.format == "PNG" and file.read(1) == b"\x10"


def _grey_of_wide(
    file: BinaryIO, image: Image.Image, colour: Literal["none", "brightest"]
) -> NDArray[np.number]:
    """Values (H, W) of a picture with 16 bits per sample and several samples per pixel."""
    import imagecodecs  # half a second, and few files need it

    file.seek(0)
    decode = imagecodecs.png_decode if image.format == "PNG" else imagecodecs.tiff_decode
    samples = np.asarray(decode(file.read()))
    if samples.dtype != np.uint16 or samples.shape not in [(image.height, image.width, k) for k in (2, 3, 4)]:
        raise DicomError("bad_bits", "samples that are not of 16 bits, or not side by side")
    if samples.shape[2] in (2, 4):
        if samples[..., -1].min() < 2**16 - 1:
            raise DicomError("not_grey", "parts of the picture are transparent")
        samples = samples[..., :-1]
    if colour == "brightest":
        return np.asarray(samples.max(2))
    if (np.ptp(samples, axis=2) > TINT * 257).any():
        raise DicomError("not_grey", "the picture has colours")
    means: NDArray[np.float32] = samples.mean(2, dtype=np.float32)
    return means


def _grey(image: Image.Image, colour: Literal["none", "brightest"]) -> NDArray[np.number]:
    """Values (H, W) as stored: bytes if the picture has 8 bits, else floating point."""
    if image.mode == "1":
        image = image.convert("L")
    signed = _tag(image, SAMPLE_FORMAT)[:1] == (SIGNED,)
    if image.mode == "L":
        return np.asarray(image).view(np.int8).astype(np.float32) if signed else np.asarray(image)
    if image.mode == "I" and image.format == "TIFF" and _tag(image, BITS) == (32,) and not signed:
        return np.asarray(image).view(np.uint32).astype(np.float64)  # Pillow treats all as signed
    if image.mode in GREY:
        return np.asarray(image).astype(np.float64 if image.mode == "I" else np.float32)
    if image.mode in ("LA", "RGBA", "P"):
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise DicomError("not_grey", "parts of the picture are transparent")
    colours = np.asarray(image.convert("RGB"))
    if colour == "brightest":
        return np.asarray(colours.max(2))
    if (np.ptp(colours, axis=2) > TINT).any():
        raise DicomError("not_grey", "the picture has colours")
    means: NDArray[np.float32] = colours.mean(2, dtype=np.float32)
    return means


def scaled(values: NDArray[np.number], *, deep: bool, voi: Literal["window", "none"]) -> NDArray[np.float32]:
    """Scale stored values (H, W) to greys in [0, 1], see `read_picture`; `deep`: more than 8 bits."""
    low, high = float(values.min()), float(values.max())
    if voi == "none":
        low = min(low, 0.0)
    elif not deep:
        low, high = 0.0, 255.0
    if high <= low:
        return np.zeros(values.shape, np.float32)
    if values.dtype == np.float64 or high - low > np.finfo(np.float32).max:
        return ((values.astype(np.float64) - low) / (high - low)).astype(np.float32)
    return ((values.astype(np.float32) - low) / (high - low)).astype(np.float32)
