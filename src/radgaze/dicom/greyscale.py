"""Convert decoded pixels to greys: modality LUT, VOI, inversion, padding (DICOM PS3.3 C.7.6.3, C.11.1–2).

Each step is a function of one pixel's stored value, so all of them are done in float64 on a table with one
row for each bit pattern that a pixel can have (256 or 65,536 of them), and the image looks its greys up.
pydicom's own functions work pixel by pixel in float64, 0.5 GB at 64 million pixels, and their LUTs wrap
around where the LUT has fewer bits than the image.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from radgaze.dicom.error import DicomError

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Default = TypeVar("Default", float, None)


def grey(
    pixels: NDArray[np.generic], dataset: Dataset, voi: Literal["window", "none"]
) -> NDArray[np.float32]:
    """Convert decoded pixels to greys (H, W) in [0, 1], 0 black.

    Args:
        pixels: Pixels (H, W) of 8 or 16 bits, signed or not, unused bits as they are in the file.
        dataset: The file's other elements.
        voi: "window" for VOI LUT, else first window, else min–max of all that is not padding; "none" for
            modality values over their maximum, shifted first so that none is negative.

    Raises:
        DicomError: An element is missing or invalid.
    """
    bits = pixels.dtype.itemsize * 8
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False).view(f"u{pixels.dtype.itemsize}")
    stored = _stored_values(np.arange(2**bits), dataset, bits)
    seen = np.zeros(2**bits, bool)
    seen[pixels] = True
    padding = _padding(stored, dataset, bits)
    with np.errstate(all="ignore"):  # values that are no numbers are refused below
        values = _modality(stored, dataset)
        table = _windowed(values, seen & ~padding, dataset) if voi == "window" else None
        if table is None:
            table = _stretched(values, seen & ~padding, from_zero=voi == "none")
    # The one inversion rule. Presentation LUT Shape is not applied on top: for MONOCHROME1 the standard
    # demands that it be INVERSE (C.8.11.3), so it states the same inversion again.
    inverse = str(dataset.get("PresentationLUTShape") or "").strip().upper() == "INVERSE"
    if dataset.PhotometricInterpretation == "MONOCHROME1" or inverse:
        table = 1 - table
    table[padding] = 0
    if not np.isfinite(table[seen]).all():
        raise DicomError("not_finite", "the file's rescale, LUT or window gives values that are no numbers")
    greys: NDArray[np.float32] = np.clip(table, 0, 1).astype(np.float32)[pixels]
    return greys


def _stored_values(patterns: NDArray[np.int64], dataset: Dataset, bits: int) -> NDArray[np.int64]:
    """The numbers that bit patterns represent: the Bits Stored that end at High Bit.

    Overlays may use the bits above and below them.
    """
    used = min(int(dataset.BitsStored), bits)  # a decoder may give bytes where a byte is enough
    values: NDArray[np.int64] = (patterns >> _shift(dataset)) & (2**used - 1)
    if _signed(dataset):
        values = np.where(values >= 2 ** (used - 1), values - 2**used, values)
    return values


def _shift(dataset: Dataset) -> int:
    """The number of bits below the stored ones."""
    high = dataset.get("HighBit")
    return 0 if high is None else int(high) + 1 - int(dataset.BitsStored)


def _signed(dataset: Dataset) -> bool:
    return int(dataset.get("PixelRepresentation") or 0) == 1


def _padding(stored: NDArray[np.int64], dataset: Dataset, bits: int) -> Flags:
    """Which bit patterns are padding: Pixel Padding Value, or the range to Pixel Padding Range Limit."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(len(stored), bool)
    ends = []
    for end in (value, value if limit is None else limit):
        pattern = int(end) & (2**bits - 1)
        # A signed value may have been written as unsigned; and a value beyond Bits Stored is taken whole.
        whole = pattern - 2**bits if _signed(dataset) and pattern >= 2 ** (bits - 1) else pattern
        ends.append(whole)
    low, high = min(ends), max(ends)
    whole = np.arange(len(stored))
    if _signed(dataset):
        whole = np.where(whole >= 2 ** (bits - 1), whole - 2**bits, whole)
    as_stored: Flags = (stored >= low) & (stored <= high)
    as_whole: Flags = (whole >= low) & (whole <= high)
    if not _shift(dataset):
        return as_stored | as_whole
    # With bits below, a number that Bits Stored can hold is a pixel's value, and any other its whole pattern.
    fits = stored.min() <= low and high <= stored.max()
    return as_stored if fits else as_whole


def _modality(stored: NDArray[np.int64], dataset: Dataset) -> Floats:
    """Values by the modality LUT, or else by rescale slope and intercept (C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        lut, first = _lut(dataset, "ModalityLUTSequence", signed=_signed(dataset))
        return lut[np.clip(stored - first, 0, len(lut) - 1)]
    slope, intercept = _number(dataset, "RescaleSlope", 1.0), _number(dataset, "RescaleIntercept", 0.0)
    if not (np.isfinite(slope) and np.isfinite(intercept) and slope != 0):
        raise DicomError("bad_rescale", "Rescale Slope or Intercept is no usable number")
    return np.asarray(stored * slope + intercept, np.float64)


def _windowed(values: Floats, seen: Flags, dataset: Dataset) -> Floats | None:
    """Shares of the output range by the VOI LUT, or else the first window (C.11.2); None without either."""
    if dataset.get("VOILUTSequence"):
        signed = bool(seen.any() and values[seen].min() < 0)
        lut, first = _lut(dataset, "VOILUTSequence", signed=signed)
        # Some files state 16 bits in the descriptor of a table of 10 or 12: its entries show which is white.
        white = 2 ** int(lut.max()).bit_length() - 1
        # Steep values far outside the table are its ends; rint first, as rescaled values need not be whole.
        places = np.clip(np.rint(values) - first, 0, len(lut) - 1).astype(np.int64)
        looked_up: Floats = lut[places] / max(white, 1)
        return looked_up
    c, w = _number(dataset, "WindowCenter", None), _number(dataset, "WindowWidth", None)
    if c is None and w is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    least = {"LINEAR": 1.0, "LINEAR_EXACT": 0.0, "SIGMOID": 0.0}.get(function)
    if least is None or c is None or w is None or not np.isfinite([c, w]).all() or w < least or w == 0:
        raise DicomError("bad_window", "Window Center, Window Width or VOI LUT Function makes no sense")
    share: Floats
    if function == "SIGMOID":
        share = 1 / (1 + np.exp(np.clip(-4 * (values - c) / w, -700, 700)))
        return share
    if function == "LINEAR":
        c, w = c - 0.5, w - 1
    share = (values > c).astype(np.float64) if w == 0 else np.clip((values - c) / w + 0.5, 0, 1)
    return share


def _stretched(values: Floats, seen: Flags, *, from_zero: bool) -> Floats:
    """Values over the range of the pixels seen, or over the range from zero if no value is below."""
    if not seen.any():
        return np.zeros_like(values)
    low, high = float(values[seen].min()), float(values[seen].max())
    if from_zero:
        low = min(low, 0.0)
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _lut(dataset: Dataset, keyword: str, *, signed: bool) -> tuple[Floats, int]:
    """Entries of the first look-up table of a sequence, and the first value that it maps (C.11.1.1.1).

    Raises:
        DicomError: The table is missing, or makes no sense.
    """
    sequence = dataset[keyword].value
    item = sequence[0] if isinstance(sequence, Sequence) else None
    descriptor, data = (None, None) if item is None else (item.get("LUTDescriptor"), item.get("LUTData"))
    if descriptor is None or data is None:
        raise DicomError("bad_lut", f"the first item of the file's {keyword} holds no look-up table")
    try:
        entries, first, depth = (int(number) for number in descriptor)
    except (TypeError, ValueError):
        message = f"the LUT Descriptor in the file's {keyword} is not three numbers"
        raise DicomError("bad_lut", message) from None
    entries = entries % 2**16 or 2**16  # 0 is 65,536, which 16 bits cannot say
    if signed and first >= 2**15:
        first -= 2**16
    if isinstance(data, bytes):
        wide = len(data) >= 2 * entries
        order = "<" if dataset.original_encoding[1] else ">"
        lut = np.frombuffer(data, f"{order}u2" if wide else "u1")
    else:
        lut = np.atleast_1d(np.asarray(data, np.int64)) & 0xFFFF
    if not 8 <= depth <= 16 or len(lut) < entries:
        raise DicomError("bad_lut", f"a LUT of {len(lut)} entries and {depth} bits, for {entries} stated")
    return lut[:entries].astype(np.float64), first


def _number(dataset: Dataset, keyword: str, default: Default) -> float | Default:
    """The first number of an element; the default if it is absent or empty."""
    value = dataset.get(keyword)
    if isinstance(value, MultiValue | list | tuple):
        value = value[0] if len(value) else None
    if value is None or value == "":
        return default
    try:
        # pydicom leaves an invalid number as text; some files have a decimal comma, as in 2048,5.
        return float(value.replace(",", ".") if isinstance(value, str) else value)
    except ValueError:
        raise DicomError("bad_number", f"the file's {keyword} is no number") from None
