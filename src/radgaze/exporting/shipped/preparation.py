"""Read a radiograph as input of an exported network, as `model.json` states; needs numpy, Pillow and pydicom.

    preparation = json.loads(Path("model.json").read_text())["preparation"]
    image = prepared("chest.dcm", preparation)  # (1, S, S), float32

This is the usual way of a frontal radiograph. radgaze itself also checks files for damage, and refuses views
and encodings that this does not notice. Research use only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.pixels.utils import pixel_array

Greys = NDArray[np.float32]
Whole = NDArray[np.int64]
LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
"""Transfer syntaxes of JPEG and JPEG-LS that may round white beyond Bits Stored."""


def prepared(path: str | Path, preparation: Mapping[str, object]) -> Greys:
    """Read a DICOM, PNG, JPEG or TIFF file as (1, S, S) in [0, 1].

    Args:
        path: The file.
        preparation: The entry "preparation" of `model.json`.
    """
    greys, side = read(path, str(preparation["grey_values"])), int(str(preparation["square"]))
    rows, columns = greys.shape
    # The letterbox: the largest size with the image's proportions on a black square of 8 bits.
    scale = side / max(rows, columns)
    width, height = (max(1, int(n * scale + 1e-6)) for n in (columns, rows))
    left, top = (side - width) // 2, (side - height) // 2
    seen = (0.0, 0.0, min(width / scale, columns), min(height / scale, rows))
    small = Image.fromarray(greys).resize((width, height), Image.Resampling.BICUBIC, box=seen)
    square = np.zeros((side, side), np.uint8)
    levels = np.rint(np.clip(np.asarray(small), 0, 1) * 255).astype(np.uint8)
    square[top : top + height, left : left + width] = levels
    # The input: the image alone, stretched to a square, or with the black beside it.
    size, picture = int(str(preparation["size"])), Image.fromarray(square)
    if preparation["fit"] == "stretch":
        picture = picture.crop((left, top, left + width, top + height))
    resized = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR))
    return (resized.astype(np.float32) / np.float32(255))[None]


def read(path: str | Path, grey_values: str) -> Greys:
    """Read a file as greys (H, W) in [0, 1], 0 black, upright.

    Args:
        path: The file.
        grey_values: "window", the file's VOI LUT or first window; or "none".
    """
    with Path(path).open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        return _dicom(pydicom.dcmread(path), grey_values)
    with Image.open(path) as picture:
        deep = picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA")
        values = np.asarray(picture.convert("RGB") if picture.mode in ("1", "LA", "P", "RGBA") else picture)
    values = values.mean(2, dtype=np.float32) if values.ndim == 3 else values
    low, high = float(values.min()), float(values.max())
    if grey_values == "none":
        low = min(low, 0.0)
    elif not deep:
        low, high = 0.0, 255.0
    return _stretched(values.astype(np.float32), low, high)


def _dicom(dataset: pydicom.Dataset, grey_values: str) -> Greys:
    # pydicom's pixel_array clears the bits above Bits Stored, of which padding may consist.
    words = pixel_array(dataset, raw=True, correct_unused_bits=False)
    if words.ndim != 2:
        raise ValueError("more than one frame, or colours")
    width = 8 * words.dtype.itemsize
    whole = words.view(words.dtype.str.replace("i", "u")).astype(np.int64)
    bits, below = min(int(dataset.BitsStored), width), _below(dataset)
    if dataset.file_meta.TransferSyntaxUID in LOSSY and not dataset.PixelRepresentation:
        whole = whole.clip(max=2**bits - 1)
    stored = _signed((whole >> below) & (2**bits - 1), bits, dataset)
    is_padding = _padding(stored, _signed(whole, width, dataset), bits, width, dataset)
    values = _modality(stored.astype(np.float64), dataset)
    seen = values[~is_padding]
    windowed = _windowed(values, seen, dataset) if grey_values == "window" else None
    if windowed is None:
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 0.0)
        shares = _stretched(values, min(low, 0.0) if grey_values == "none" else low, high)
    else:
        shares = windowed.astype(np.float32)
    inverse = str(dataset.get("PresentationLUTShape") or "").strip().upper() == "INVERSE"
    if dataset.PhotometricInterpretation == "MONOCHROME1" or inverse:
        shares = 1 - shares
    greys = np.where(is_padding, np.float32(0), np.clip(shares, 0, 1))
    return _upright(np.asarray(greys, np.float32), dataset)


def _below(dataset: pydicom.Dataset) -> int:
    """The number of bits below the stored ones."""
    high = dataset.get("HighBit")
    return 0 if high is None else int(high) + 1 - int(dataset.BitsStored)


def _signed(words: Whole, bits: int, dataset: pydicom.Dataset) -> Whole:
    """The numbers that words of so many bits represent."""
    if int(dataset.get("PixelRepresentation") or 0) != 1:
        return words
    return np.where(words >= 2 ** (bits - 1), words - 2**bits, words)


def _modality(stored: NDArray[np.float64], dataset: pydicom.Dataset) -> NDArray[np.float64]:
    if dataset.get("ModalityLUTSequence"):
        signed = int(dataset.get("PixelRepresentation") or 0) == 1
        return _looked_up(stored, dataset.ModalityLUTSequence[0], dataset, signed=signed)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    return stored * float(1 if slope in (None, "") else slope) + float(intercept or 0)


def _windowed(
    values: NDArray[np.float64], seen: NDArray[np.float64], dataset: pydicom.Dataset
) -> NDArray[np.float64] | None:
    if dataset.get("VOILUTSequence"):
        table = _entries(dataset.VOILUTSequence[0], dataset)
        # White is the largest number of as many bits as the entries take.
        white = max(2 ** int(table.max()).bit_length() - 1, 1)
        signed = bool(seen.size and seen.min() < 0)
        shares = _looked_up(values, dataset.VOILUTSequence[0], dataset, signed=signed) / white
        return np.asarray(shares, np.float64)
    c, w = _first(dataset.get("WindowCenter")), _first(dataset.get("WindowWidth"))
    if c is None or w is None:
        return None
    function = str(dataset.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - c) / w, -700, 700))))
    if function == "LINEAR":
        c, w = c - 0.5, w - 1
    return np.asarray(values > c, np.float64) if w == 0 else np.clip((values - c) / w + 0.5, 0, 1)


def _padding(
    stored: Whole, whole: Whole, bits: int, width: int, dataset: pydicom.Dataset
) -> NDArray[np.bool_]:
    """Which pixels are padding, whose value may be stated as a pixel's, or as the whole word around it."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, bool)
    words = np.array([value, value if limit is None else limit], np.int64) & (2**width - 1)
    low, high = sorted(_signed(words, width, dataset).tolist())
    as_stored, as_whole = (np.asarray((each >= low) & (each <= high)) for each in (stored, whole))
    if not _below(dataset):
        return np.asarray(as_stored | as_whole)
    fits = (_signed(words & (2**bits - 1), bits, dataset) == _signed(words, width, dataset)).all()
    return as_stored if fits else as_whole


def _entries(item: pydicom.Dataset, dataset: pydicom.Dataset) -> NDArray[np.float64]:
    count = int(item.LUTDescriptor[0]) % 2**16 or 2**16
    data = item.LUTData
    if isinstance(data, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        data = np.frombuffer(data, f"{order}u2" if len(data) >= 2 * count else "u1")
    return np.atleast_1d(np.asarray(data, np.int64))[:count].astype(np.float64)


def _looked_up(
    values: NDArray[np.float64], item: pydicom.Dataset, dataset: pydicom.Dataset, *, signed: bool
) -> NDArray[np.float64]:
    table, first = _entries(item, dataset), int(item.LUTDescriptor[1])
    if signed and first >= 2**15:
        first -= 2**16
    entries: NDArray[np.float64] = table[np.clip(np.rint(values) - first, 0, len(table) - 1).astype(np.int64)]
    return entries


def _upright(greys: Greys, dataset: pydicom.Dataset) -> Greys:
    """Turn the image by Patient Orientation, so that its columns run from head to foot."""
    words = [str(word).strip().upper() for word in dataset.get("PatientOrientation") or ()]
    if len(words) != 2 or not all(words):
        return greys
    rows, columns = words[0][0], words[1][0]
    if rows in "LR" and columns == "F":
        return greys
    if rows in "FH":
        greys, rows, columns = greys.T, columns, rows
    if columns == "H":
        greys = greys[::-1]
    if rows == "R":
        greys = greys[:, ::-1]
    return np.ascontiguousarray(greys)


def _stretched(values: NDArray[np.number], low: float, high: float) -> Greys:
    if high <= low:
        return np.zeros(values.shape, np.float32)
    return np.asarray((values - low) / (high - low), np.float32)


def _first(value: object) -> float | None:
    if isinstance(value, pydicom.multival.MultiValue | list | tuple):
        value = value[0] if value else None
    return None if value in (None, "") else float(str(value))
