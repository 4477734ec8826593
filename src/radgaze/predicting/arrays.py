"""Images given as arrays or tensors, as greys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.dicom.picture import scaled
from radgaze.errors import UserError, to_grey
from radgaze.predicting.inputs import Voi

Array: TypeAlias = NDArray[np.generic] | Tensor

SHAPES = "(H, W), (B, H, W) or (B, 1, H, W)"
ROUNDING = 1e-4
"""Distance from the range of greys that may come from rounding."""


def planes(images: Array) -> Iterator[NDArray[np.generic]]:
    """Separate the images (H, W) of an array.

    Args:
        images: Array or tensor of shape (H, W), (B, H, W) or (B, 1, H, W).

    Raises:
        UserError: The array has another shape, or values that are no numbers.
    """
    values = _numbers(images)
    shape = tuple(values.shape)
    grey = len(shape) in (2, 3) or (len(shape) == 4 and shape[1] == 1)
    # (H, W, 3) is a colour picture rather than H images of three columns.
    if not grey or (len(shape) == 3 and shape[2] in (3, 4)):
        hint = to_grey(shape, "images")
        raise UserError(f"`images` must be grey, of shape {SHAPES}, got {shape}{hint}")
    if not all(shape):
        raise UserError(f"`images` must not be empty, got the shape {shape}")
    yield from values.reshape(-1, *shape[-2:])


def greys(image: NDArray[np.generic], voi: Voi) -> NDArray[np.float32]:
    """Convert an image (H, W) to greys in [0, 1], 0 black.

    Floats are greys already. Whole numbers are taken as those of an image file: 8 bits as shown, 255 white;
    deeper ones are stretched from their least to their greatest value (`picture.read_picture`).

    Args:
        image: The image.
        voi: Grey values of the run's images; "none" takes whole numbers over their maximum.

    Raises:
        UserError: Floats are not finite, or not in [0, 1].
    """
    if np.issubdtype(image.dtype, np.integer):
        deep = image.dtype != np.uint8
        return scaled(image.astype(np.float64) if deep else image.astype(np.uint8), deep=deep, voi=voi)
    values = image.astype(np.float32)
    if not np.isfinite(values).all():
        raise UserError("`images` must be finite, got NaN or infinite values")
    low, high = float(values.min()), float(values.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise UserError(
            "`images` of floats must be greys from 0 (black) to 1 (white), got values from "
            f"{low:.4g} to {high:.4g}"
        )
    return np.clip(values, 0, 1)


def _numbers(images: Array) -> NDArray[np.generic]:
    if isinstance(images, Tensor):
        tensor = images.detach().cpu()
        return np.asarray(tensor.float() if tensor.dtype == torch.bfloat16 else tensor)
    values = np.asarray(images)
    if not (np.issubdtype(values.dtype, np.integer) or np.issubdtype(values.dtype, np.floating)):
        raise UserError(f"`images` must be numbers, got an array of {values.dtype}")
    return values
