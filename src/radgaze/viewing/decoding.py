"""Reading of a file that is in memory alone, in a worker process. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from radgaze.dicom.error import DicomError
from radgaze.dicom.image import read_any, size_of
from radgaze.store.pixels import fit

Voi: TypeAlias = Literal["window", "none"]
Way: TypeAlias = tuple[int, Voi]
"""Side of the stored square and grey values of a run's images, see `Preparation`."""

WHITE = 65535
FITTED = 2**18
"""Pixels, about, by which a window is found; all are compared with it."""
TOLERANCE = 1.5 / 255
"""Largest difference of two grey scales that counts as none: about a level of a screen."""


@dataclass(frozen=True)
class File:
    """The content of an image file.

    Attributes:
        content: Its bytes.
        ways: The ways in which runs need the image.
        most_pixels: Most pixels of an image.
    """

    content: bytes
    ways: frozenset[Way]
    most_pixels: int


@dataclass(frozen=True)
class Decoded:
    """An image, to be shown and to be predicted; it holds nothing else of its file.

    Attributes:
        pixels: Greys (H, W), 0 black and 65,535 white, upright. Where possible, over the whole range of the
            file's values.
        window: Lowest and highest of these greys that are first shown as black and white: the file's window.
        squares: The stored square of each way.
        turned: Whether it was turned to be upright.
        burned_in: Whether the file states that text is burnt into it, which may identify the patient.
    """

    pixels: NDArray[np.uint16]
    window: tuple[float, float]
    squares: Mapping[Way, NDArray[np.uint8]]
    turned: bool
    burned_in: bool


def decode(file: File) -> Decoded:
    """Read an image file that is in memory.

    Raises:
        DicomError: The file cannot be read, or the image is too large.
    """
    rows, columns = size_of(file.content)
    if rows * columns > file.most_pixels:
        raise DicomError("too_large", f"{rows} rows and {columns} columns")
    shown, whole = (read_any(file.content, voi=voi) for voi in ("window", "none"))
    greys: dict[Voi, NDArray[np.float32]] = {"window": shown.pixels, "none": whole.pixels}
    squares = {(side, voi): fit(greys[voi], side) for side, voi in file.ways}
    window = window_of(whole.pixels, shown.pixels)
    pixels = shown.pixels if window is None else whole.pixels
    low, high = window or (0.0, 1.0)
    return Decoded(
        np.rint(pixels * WHITE).astype(np.uint16),
        (low * WHITE, high * WHITE),
        squares,
        shown.turned,
        shown.burned_in,
    )


def window_of(whole: NDArray[np.float32], shown: NDArray[np.float32]) -> tuple[float, float] | None:
    """Find the window that makes one image of another.

    Args:
        whole: Greys (H, W) over the whole range of values.
        shown: The same image through the file's window.

    Returns:
        The greys of `whole` that are black and white in `shown`; None where a window does not lead from one
        to the other, as with a look-up table.
    """
    step = max(1, round((shown.size / FITTED) ** 0.5))
    some_whole, some_shown = whole[::step, ::step], shown[::step, ::step]
    inside = (some_shown > 0.02) & (some_shown < 0.98)
    if not inside.any():
        return None
    x, y = some_whole[inside].astype(np.float64), some_shown[inside].astype(np.float64)
    variance = x.var()
    slope = float(((x - x.mean()) * (y - y.mean())).mean() / variance) if variance > 0 else 0.0
    if slope <= 0:
        return None
    low = float(x.mean() - y.mean() / slope)
    high = low + 1 / slope
    windowed = whole * np.float32(1 / (high - low)) - np.float32(low / (high - low))
    if np.abs(np.clip(windowed, 0, 1) - shown).max() > TOLERANCE:
        return None
    return low, high
