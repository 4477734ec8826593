"""Does a map stay when the image hardly changes? Likeness of maps by Spearman's correlation.

Alvarez-Melis and Jaakkola (2018) ask that similar inputs have similar explanations; their Lipschitz constant
depends on a map's scale, and all maps here are scaled.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from radgaze.evaluation.metrics.randomisation import rank_correlation

Explain = Callable[[Tensor], Tensor]
"""From images (B, C, H, W) to their maps (B, 1, H, W)."""


def under_noise(explain: Explain, images: Tensor, *, noise: float, samples: int, seed: int) -> Tensor:
    """Mean rank correlation of the maps of noisy images with those of the images.

    In [−1, 1], higher is better. NaN where the image's map is constant; a noisy image's constant map counts
    0.

    Args:
        explain: Makes maps.
        images: (B, C, H, W).
        noise: Standard deviation of the Gaussian noise, in units of the image's range.
        samples: Draws, the same for all images.
        seed: Of these.

    Returns:
        (B,).
    """
    maps, draw = explain(images), torch.Generator().manual_seed(seed)
    alike = []
    for _ in range(samples):
        shaken = noise * torch.randn(images.shape[1:], generator=draw)
        alike.append(_alike(maps, explain(images + shaken.to(images))))
    return torch.stack(alike).mean(0)


def under_shifts(explain: Explain, images: Tensor, *, pixels: int) -> Tensor:
    """Mean rank correlation of the maps of shifted images, shifted back, with those of the images.

    The images go up, down, left and right; what comes in is mirrored, and only what both show is compared. In
    [−1, 1], higher is better. NaN where the image's map is constant; a shifted image's constant map counts 0.

    Args:
        explain: Makes maps.
        images: (B, C, H, W).
        pixels: How far.

    Returns:
        (B,).
    """
    H, W = images.shape[-2:]
    if not 1 <= pixels < min(H, W):
        raise ValueError(f"a shift of {pixels} pixels, of images of {H} × {W}")
    maps = explain(images)
    wide = F.pad(images, (pixels,) * 4, mode="reflect")
    alike = []
    for dy, dx in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)):
        moved = explain(wide[..., pixels - dy : pixels - dy + H, pixels - dx : pixels - dx + W].contiguous())
        alike.append(_alike(_common(maps, -dy, -dx), _common(moved, dy, dx)))
    return torch.stack(alike).mean(0)


def _common(maps: Tensor, dy: int, dx: int) -> Tensor:
    """What is left of maps without the rows and columns that a shift by (dy, dx) brought in."""
    H, W = maps.shape[-2:]
    return maps[..., max(dy, 0) : H + min(dy, 0), max(dx, 0) : W + min(dx, 0)]


def _alike(maps: Tensor, others: Tensor) -> Tensor:
    flat = others.flatten(1)
    constant = flat.amax(1) == flat.amin(1)
    known = maps.flatten(1).amax(1) > maps.flatten(1).amin(1)
    return torch.where(constant & known, 0.0, rank_correlation(maps, others))
