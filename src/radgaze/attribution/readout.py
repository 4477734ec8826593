"""Read-outs: reduce a gradient over its channels, enlarge it, and scale it to [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Normalise = Literal["max", "minmax", "quantile", "none"]


def absolute(g: Tensor) -> Tensor:
    """Largest |g| over the channels, (B, C, H, W) → (B, 1, H, W) (Simonyan et al. 2014)."""
    return g.abs().amax(1, keepdim=True)


def positive(g: Tensor) -> Tensor:
    """Largest max(g, 0) over the channels, (B, C, H, W) → (B, 1, H, W): evidence for the class."""
    return g.clamp(min=0).amax(1, keepdim=True)


def negative(g: Tensor) -> Tensor:
    """Largest max(−g, 0) over the channels, (B, C, H, W) → (B, 1, H, W): evidence against it."""
    return (-g).clamp(min=0).amax(1, keepdim=True)


def total(g: Tensor) -> Tensor:
    """Σ_c g, signed, (B, C, H, W) → (B, 1, H, W)."""
    return g.sum(1, keepdim=True)


def norm(g: Tensor) -> Tensor:
    """Euclidean norm over the channels, (B, C, H, W) → (B, 1, H, W), with the gradient 0 where g is 0."""
    square = g.square().sum(1, keepdim=True)
    zero = square == 0
    return torch.where(
        zero, torch.zeros_like(square), torch.where(zero, torch.ones_like(square), square).sqrt()
    )


READOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "absolute": absolute,
    "positive": positive,
    "negative": negative,
    "sum": total,
    "norm": norm,
}


def enlarge(heat: Tensor, size: torch.Size) -> Tensor:
    """Enlarge maps (B, 1, h, w) to an image's size (H, W), by bilinear interpolation."""
    if heat.shape[-2:] == size:
        return heat
    return F.interpolate(heat, size=size, mode="bilinear", align_corners=False)


def normalise(heat: Tensor, how: Normalise = "max", *, through_scale: bool = False) -> Tensor:
    """Scale each case's map to [0, 1].

    "max" divides by the largest value, and negative values become 0; "minmax" subtracts the smallest value
    and divides by the range; "quantile" divides by the 99th percentile and clips to [0, 1]; "none" leaves the
    map as it is. A divisor that is not positive is replaced by 1: a map that is zero everywhere stays zero,
    and one whose 99th percentile is 0 is clipped without being scaled.

    Args:
        heat: Maps (B, 1, H, W).
        how: Name of the scaling.
        through_scale: Whether the loss's gradient also flows through the scale. Otherwise the scale is held
            constant: the scale is the value of one pixel, at which the gradients of all others would add up.

    Returns:
        Maps (B, 1, H, W).
    """
    if how == "none":
        return heat
    flat = heat.flatten(1) if through_scale else heat.detach().flatten(1)
    low = flat.amin(1) if how == "minmax" else torch.zeros_like(flat[:, 0])
    high = torch.quantile(flat.float(), 0.99, dim=1).to(flat.dtype) if how == "quantile" else flat.amax(1)
    span = high - low
    scale = torch.where(span > 0, span, torch.ones_like(span))
    mapped = (heat - low.view(-1, 1, 1, 1)) / scale.view(-1, 1, 1, 1)
    if how == "minmax":
        return mapped
    # Only a quantile is exceeded. Clipping at 1 would cut the maximum's gradient, since torch's clamp passes
    # none at its bounds (older versions did).
    return mapped.clamp(0, 1) if how == "quantile" else mapped.clamp(min=0)
