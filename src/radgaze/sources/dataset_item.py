"""One item of a data set in Python: an image with its label, and what is known about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radgaze.errors import UserError, shortened, to_grey
from radgaze.sources.gaze_points import points_of_map
from radgaze.sources.table.cases import SPLIT_WORDS

Array = NDArray[Any]
Floats = NDArray[np.float64]

FIELDS = ("image", "label", "gaze", "mask", "lungs", "boxes", "patient", "split", "id")
"""Keys of an item that is a mapping; an item that is a tuple has the first three."""

ASPECT = 0.01
"""Allowed relative difference between the aspect ratios of an image and of a map of it."""

MISSING = re.compile(r"nan|tensor\(nan.*\)|<NA>|NaT")
"""Missing values of NumPy, PyTorch and pandas, as text."""

ROUNDING = 1e-4
"""Distance from the range of greys that may come from rounding."""

NO_FIXATIONS: Floats = np.zeros((0, 3))


@dataclass(frozen=True)
class Item:
    """An item.

    Attributes:
        shape: Rows and columns of the image.
        label: The label as given.
        fixations: (N, 3) x, y (image px) and duration (s).
        boxes: Boxes (N, 4) x1, y1, x2, y2 (image px), by label.
        patient: Patient, or None.
        split: "train", "validate" or "test", or None.
        id: Id, or None.
        pixels: Image (H, W) of 8 or 16 bits; empty once it is stored.
        masks: Pixels (H, W) inside a region, by label; none once they are stored.
        image: File of the image, once it is stored.
        files: Files of the masks by label, once they are stored.
    """

    shape: tuple[int, int]
    label: object
    fixations: Floats = field(default_factory=lambda: NO_FIXATIONS)
    boxes: Mapping[str, Floats] = field(default_factory=dict)
    patient: str | None = None
    split: str | None = None
    id: str | None = None
    pixels: Array = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    image: Path = Path()
    files: Mapping[str, Path] = field(default_factory=dict)

    def stored(self, image: Path, files: Mapping[str, Path]) -> Item:
        """Return the item with files in place of its pictures."""
        return replace(self, pixels=np.zeros((0, 0), np.uint8), masks={}, image=image, files=files)


def read_item(given: object, *, points: int) -> Item:
    """Read an item.

    Args:
        given: A tuple (image, label) or (image, label, gaze), or a mapping with some of `FIELDS`.
        points: Number of fixations that a gaze map becomes.

    Raises:
        UserError: A part is missing, or has another shape, type or range than documented.
    """
    values = _named(given)
    pixels = image_of(values["image"])
    rows, columns = pixels.shape
    shape = (int(rows), int(columns))
    masks: dict[str, NDArray[np.bool_]] = {}
    for key in ("mask", "lungs"):
        several = values[key] if isinstance(values.get(key), Mapping) else {key: values.get(key)}
        assert isinstance(several, Mapping)
        masks |= {str(name): _mask(mask, key, shape) for name, mask in several.items() if mask is not None}
    boxes = values.get("boxes")
    by_name = boxes if isinstance(boxes, Mapping) else {"box": boxes}
    split = values.get("split")
    if split is not None and str(split).lower() not in SPLIT_WORDS:
        raise UserError(f"`split` must be train, validate or test, got {shortened(str(split), 80)!r}")
    return Item(
        shape,
        values["label"],
        fixations=_fixations(values.get("gaze"), shape, points),
        boxes={str(name): _boxes(each, shape) for name, each in by_name.items() if each is not None},
        patient=_name(values, "patient"),
        split=None if split is None else SPLIT_WORDS[str(split).lower()],
        id=_name(values, "id"),
        pixels=pixels,
        masks=masks,
    )


def image_of(given: object) -> Array:
    """Convert an image to (H, W) of 8 or 16 bits, which are read as those of an image file.

    Floating point becomes 8 bits: an image of 16 is stretched from its least to its greatest value when it is
    read, and greys that are in [0, 1] already are to stay what they are, as in prediction.

    Args:
        given: Array or tensor (H, W) or (1, H, W): uint8, uint16, or floating point in [0, 1].

    Raises:
        UserError: It has another shape, type or range.
    """
    image = checked(plane(as_array(given, "image"), "image"), "image")
    return image if image.dtype in (np.uint8, np.uint16) else np.rint(image * 255).astype(np.uint8)


def checked(image: Array, name: str) -> Array:
    """Return the values of an image (H, W): uint8, uint16, or greys in [0, 1] of 64-bit floating point.

    Other whole numbers are refused, as those of 8 bits are often held in them: they would be stretched.

    Raises:
        UserError: It has another type or range.
    """
    if image.dtype in (np.uint8, np.uint16):
        return image
    if not np.issubdtype(image.dtype, np.floating):
        raise UserError(f"`{name}` must be uint8, uint16, or floating point in [0, 1], got {image.dtype}")
    if not np.isfinite(image).all():
        raise UserError(f"`{name}` must be finite, got NaN or infinite values")
    low, high = float(image.min()), float(image.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise UserError(
            f"`{name}` of floats must be greys from 0 (black) to 1 (white), got values from "
            f"{low:.4g} to {high:.4g}"
        )
    return np.clip(image.astype(np.float64), 0, 1)


def as_array(given: object, name: str) -> Array:
    """Convert a value to an array; a tensor of any device, with or without a graph, too.

    Raises:
        UserError: It is none of numbers.
    """
    for method in ("detach", "cpu"):
        given = getattr(given, method)() if hasattr(given, method) else given
    if str(getattr(given, "dtype", "")) == "torch.bfloat16":  # NumPy has no such type
        given = given.float()  # type: ignore[attr-defined]  # a tensor
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise UserError(f"`{name}` is no array: {error}") from error
    if array.dtype == object or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise UserError(f"`{name}` must be an array of numbers, got {type(given).__name__}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def plane(array: Array, name: str) -> Array:
    """Return an array (H, W) or (1, H, W) as (H, W).

    Raises:
        UserError: It has another shape, or is empty.
    """
    flat = array[0] if array.ndim == 3 and len(array) == 1 else array
    if flat.ndim != 2 or not flat.size:
        hint = to_grey(array.shape, name) if name == "image" else ""
        raise UserError(f"`{name}` must be (H, W) or (1, H, W), got {tuple(array.shape)}{hint}")
    return flat


def _named(given: object) -> Mapping[str, object]:
    """The parts of an item by name."""
    if isinstance(given, tuple | list) and 2 <= len(given) <= 3:
        return dict(zip(FIELDS, given, strict=False))
    if not isinstance(given, Mapping):
        raise UserError(
            f"it must be (image, label), (image, label, gaze) or a dictionary, got {type(given).__name__}"
        )
    unknown = [str(key) for key in given if key not in FIELDS]
    if unknown:
        raise UserError(f"it has the key {unknown[0]!r}; there are {', '.join(FIELDS)}")
    missing = [key for key in ("image", "label") if given.get(key) is None]
    if missing:
        raise UserError(f"it has no `{missing[0]}`")
    return dict(given)


def _name(values: Mapping[str, object], key: str) -> str | None:
    """A patient or an id as a text; None for none.

    A missing value as of a table, which is NaN in one of floating point, would be one name for many items.
    """
    given = values.get(key)
    if given is not None and MISSING.fullmatch(str(given)):
        raise UserError(f"`{key}` is a missing value, {given!r}; leave it out, or give None")
    return None if given is None else str(given)


def _fixations(given: object, shape: tuple[int, int], points: int) -> Floats:
    """The fixations (N, 3) of an item, given as such or as a map of the image."""
    if given is None:
        return NO_FIXATIONS
    gaze = as_array(given, "gaze").astype(np.float64)
    _check_finite(gaze, "gaze")
    if gaze.ndim == 2 and gaze.shape[1] in (2, 3) and gaze.shape != shape:
        _check_fixations(gaze, shape)
        return gaze
    values = plane(gaze, "gaze")
    _check_aspect(values, "gaze", shape)
    if values.min() < 0:
        raise UserError(f"`gaze` must be a map of 0 or more, got {values.min():g}")
    return points_of_map(values, shape, points)


def _check_fixations(gaze: Floats, shape: tuple[int, int]) -> None:
    """Raise UserError for gaze of two columns, and for fixations (N, 3) that are perhaps a map."""
    rows, columns = gaze.shape
    if columns == 2:
        raise UserError(
            f"`gaze` must be fixations (N, 3) of x, y and a duration in seconds, got ({rows}, 2); give a map "
            f"of two columns as (1, {rows}, 2)"
        )
    if not rows:
        return
    if gaze[:, 2].min() < 0:
        raise UserError("`gaze` of fixations (N, 3) must be x, y and a duration of 0 or more")
    # The columns of a map have values of about one size; positions in pixels are far above durations in
    # seconds, also where as many fixations as there are rows in such a map were made.
    if gaze.min() >= 0 and _has_aspect(gaze, shape) and 10 * gaze[:, 2].max() >= gaze[:, :2].max():
        raise UserError(
            f"`gaze` ({rows}, 3) may be fixations or a map: give a map as (1, {rows}, 3), and fixations with "
            "x and y in pixels of the image and durations in seconds"
        )


def _mask(given: object, name: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = plane(as_array(given, name), name)
    _check_finite(mask, name)
    _check_aspect(mask, name, shape)
    return np.asarray(mask > (0.5 if np.issubdtype(mask.dtype, np.floating) else 0))


def _boxes(given: object, shape: tuple[int, int]) -> Floats:
    boxes = as_array(given, "boxes").astype(np.float64)
    if boxes.size % 4:
        raise UserError(f"`boxes` must be (N, 4), got {boxes.shape}")
    boxes = boxes.reshape(-1, 4)
    cut = boxes.clip(0, np.array([shape[1], shape[0]] * 2, dtype=np.float64))
    if not ((cut[:, 2] > cut[:, 0]) & (cut[:, 3] > cut[:, 1])).all():
        raise UserError("`boxes` must be (N, 4) of x1, y1, x2 > x1, y2 > y1, in pixels on the image")
    return cut


def _check_finite(values: Array, name: str) -> None:
    if not np.isfinite(values).all():
        raise UserError(f"`{name}` has values that are not finite")


def _check_aspect(values: Array, name: str, shape: tuple[int, int]) -> None:
    """Raise UserError where a map has another aspect ratio than its image."""
    if not _has_aspect(values, shape):
        (height, width), (rows, columns) = values.shape, shape
        raise UserError(f"`{name}` has {height} × {width} pixels on an image of {rows} × {columns}")


def _has_aspect(values: Array, shape: tuple[int, int]) -> bool:
    """Whether a map has the aspect ratio of its image, up to the rounding of its sides to whole pixels."""
    (height, width), (rows, columns) = values.shape, shape
    return bool(abs(width * rows - height * columns) <= max(ASPECT * height * columns, rows, columns))
