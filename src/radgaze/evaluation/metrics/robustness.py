"""Robustness of maps to small changes of the image, by Spearman's correlation of the maps.

Alvarez-Melis and Jaakkola (2018) require that similar inputs have similar explanations. Their Lipschitz
constant depends on the scale of a map, which is normalised here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from radgaze.evaluation.metrics.randomisation import rank_correlation

Explain = Callable[[Tensor], Tensor]
"""Function from images (B, C, H, W) to their maps (B, 1, H, W)."""


def under_noise(explain: Explain, images: Tensor, *, noise: float, samples: int, seed: int) -> Tensor:
    """Compute the mean rank correlation of the maps of noisy images with the maps of the original images.

    In [−1, 1], higher is better. NaN where the map of the image is constant; the correlation with a constant
    map of a noisy image counts as 0.

    Args:
        explain: Function that makes maps.
        images: Images of shape (B, C, H, W).
        noise: Standard deviation of the Gaussian noise, in units of the image's range.
        samples: Number of noise samples, which are the same for all images.
        seed: Random seed of the noise.

    Returns:
        The correlation for each image, of shape (B,).
    """
    maps, draw = explain(images), torch.Generator().manual_seed(seed)
    correlations = []
    for _ in range(samples):
        noisy = noise * torch.randn(images.shape[1:], generator=draw)
        correlations.append(_correlations(maps, explain(images + noisy.to(images))))
    return torch.stack(correlations).mean(0)


def under_shifts(explain: Explain, images: Tensor, *, pixels: int) -> Tensor:
    """Compute the mean rank correlation of the maps of shifted images, shifted back, with the original maps.

    The images are shifted up, down, left and right with mirrored borders, and only the pixels that both show
    are compared. In [−1, 1], higher is better. NaN where the map of the image is constant; the correlation
    with a constant map of a shifted image counts as 0.

    Args:
        explain: Function that makes maps.
        images: Images of shape (B, C, H, W).
        pixels: Size of the shift, in pixels.

    Returns:
        The correlation for each image, of shape (B,).

    Raises:
        ValueError: `pixels` is below 1 or not less than the sides of the images.
    """
    H, W = images.shape[-2:]
    if not 1 <= pixels < min(H, W):
        raise ValueError(
            f"pixels must be from 1 to {min(H, W) - 1}, less than the image's sides, got {pixels}"
        )
    maps = explain(images)
    padded = F.pad(images, (pixels,) * 4, mode="reflect")
    correlations = []
    for dy, dx in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)):
        moved = explain(
            padded[..., pixels - dy : pixels - dy + H, pixels - dx : pixels - dx + W].contiguous()
        )
        correlations.append(_correlations(_common(maps, -dy, -dx), _common(moved, dy, dx)))
    return torch.stack(correlations).mean(0)


def _common(maps: Tensor, dy: int, dx: int) -> Tensor:
    """Maps without the rows and columns that a shift by (dy, dx) filled."""
    H, W = maps.shape[-2:]
    return maps[..., max(dy, 0) : H + min(dy, 0), max(dx, 0) : W + min(dx, 0)]


def _correlations(maps: Tensor, others: Tensor) -> Tensor:
    flat = others.flatten(1)
    constant = flat.amax(1) == flat.amin(1)
    varies = maps.flatten(1).amax(1) > maps.flatten(1).amin(1)
    return torch.where(constant & varies, 0.0, rank_correlation(maps, others))
