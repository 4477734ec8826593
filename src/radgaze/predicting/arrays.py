"""Images given as arrays or tensors, as greys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from radgaze.dicom.picture import scaled
from radgaze.errors import UserError, to_grey
from radgaze.predicting.inputs import Voi
from radgaze.sources.dataset_item import as_array, checked

Array: TypeAlias = NDArray[np.generic] | Tensor

SHAPES = "(H, W), (B, H, W) or (B, 1, H, W)"


def planes(images: Array) -> Iterator[NDArray[np.generic]]:
    """Separate the images (H, W) of an array.

    Args:
        images: Array or tensor of shape (H, W), (B, H, W) or (B, 1, H, W).

    Raises:
        UserError: The array has another shape, or values that are no numbers.
    """
    values = as_array(images, "images")
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

    Floats are greys already. Whole numbers are taken as those of an image file: uint8 as shown, 255 white;
    uint16 stretched from its least to its greatest value (`picture.read_picture`).

    Args:
        image: The image.
        voi: Grey values of the run's images; "none" takes whole numbers over their maximum.

    Raises:
        UserError: The image is none of uint8, uint16 and floats; or floats are not finite, or not in [0, 1].
    """
    values = checked(image, "images")
    if np.issubdtype(values.dtype, np.floating):
        return values.astype(np.float32)
    deep = values.dtype != np.uint8
    return scaled(values.astype(np.float64) if deep else values, deep=deep, voi=voi)
