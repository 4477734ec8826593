"""Images that a classifier of chest radiographs should not be trusted on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

_PICTURES = (
    "astronaut",
    "brick",
    "camera",
    "cat",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "horse",
    "moon",
    "page",
)
"""Of scikit-image, those that come with it."""


def upside_down(images: Tensor, seed: int) -> Tensor:
    """(B, 1, H, W) turned by 180°."""
    return images.flip((-2, -1))


def inverted(images: Tensor, seed: int) -> Tensor:
    """(B, 1, H, W) with bright and dark exchanged, as where a photometric interpretation was missed."""
    return 1 - images


def noise(images: Tensor, seed: int) -> Tensor:
    """(B, 1, H, W) of grey noise, uniform in [0, 1]."""
    drawn = [
        torch.rand(images.shape[1:], generator=torch.Generator().manual_seed(seed + k))
        for k in range(len(images))
    ]
    return torch.stack(drawn).to(images)


def not_chest(images: Tensor, seed: int) -> Tensor:
    """(B, 1, H, W) of pieces of photographs of other things, scaled from 0 to 1."""
    pieces = [_piece(images.shape[-2:], np.random.default_rng(seed + k)) for k in range(len(images))]
    return torch.stack(pieces).to(images)


KINDS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "upside_down": upside_down,
    "inverted": inverted,
    "noise": noise,
    "not_chest": not_chest,
}
"""By name, from images and the seed of the first, each has the next, to as many out of distribution."""

TITLES = {
    "upside_down": "Upside down",
    "inverted": "Inverted",
    "noise": "Noise",
    "not_chest": "Not a chest",
}


def _piece(size: Sequence[int], draw: np.random.Generator) -> Tensor:
    """Half of a picture's shorter side or more, at a random place, (1, H, W)."""
    whole = _picture(_PICTURES[draw.integers(len(_PICTURES))])
    side = int(draw.integers(min(whole.shape) // 2, min(whole.shape) + 1))
    top, left = (int(draw.integers(0, length - side + 1)) for length in whole.shape)
    piece = torch.from_numpy(whole[top : top + side, left : left + side].copy())[None, None]
    resized = interpolate(piece, size=tuple(size), mode="bilinear", antialias=True)[0]
    low, high = resized.min(), resized.max()
    return (resized - low) / (high - low).clamp(min=1e-6)


@cache
def _picture(name: str) -> NDArray[np.float32]:
    from skimage import color, data
    from skimage.util import img_as_float32

    pixels = img_as_float32(getattr(data, name)())  # type: ignore[no-untyped-call]  # of skimage, not typed
    return np.asarray(color.rgb2gray(pixels[..., :3]) if pixels.ndim == 3 else pixels, dtype=np.float32)
