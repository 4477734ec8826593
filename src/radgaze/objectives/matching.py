"""Match a gradient map, which is speckled, with a gaze map, which is smooth."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.attribution.engine.capture import full
from radgaze.attribution.readout import normalise
from radgaze.objectives.config import HeatmapConfig


def match(heat: Tensor, gaze: Tensor, sigma: Tensor, config: HeatmapConfig) -> tuple[Tensor, Tensor]:
    """Smooth a raw heatmap, and scale it and a gaze map to one size and to [0, 1].

    The smoothed heatmap H becomes H' = ε + (1 − 2ε) · Ĥ/c, where Ĥ = H/‖H‖, ε is the margin, and c = max Ĥ is
    constant in the backward pass; this is for the scaling "max", and others scale Ĥ accordingly. With the
    method "pool", the pooled gaze map is divided by its maximum. This avoids two failures of training, both
    observed:

    - H/max H with a constant scale has a gradient component along H itself, which decreases (or increases)
      the whole map and cannot lower the loss, since the scale cancels it. Within two epochs, guided
      back-propagation's map was zero everywhere and had no gradient. The gradient through Ĥ is orthogonal to
      H, so that only the shape is learned.
    - Every map is 1 at its maximum and may be 0 elsewhere, which cross-entropy treats as certain: its slope
      (p − q)/(p(1 − p)) is much larger at those pixels than at all others. The margin bounds it.

    Args:
        heat: Raw heatmaps (B, 1, H, W), not negative.
        gaze: Gaze maps (B, 1, H, W), in [0, 1].
        sigma: Standard deviations (σy, σx) of the gaze maps in pixels of the map, (B, 2).
        config: Settings, of which `match`, `cells`, `normalise` and `margin` are used.

    Returns:
        The heatmaps in [ε, 1 − ε], and the gaze maps in [0, 1], of one size: that of the inputs or, with
        "pool", (B, 1, cells, cells).
    """
    if config.match == "blur":
        heat = blur(heat, sigma)
    elif config.match == "pool":
        heat = F.adaptive_avg_pool2d(heat, config.cells)
        gaze = normalise(F.adaptive_avg_pool2d(gaze, config.cells), "max")
    heat = normalise(of_unit_norm(heat), config.normalise)
    return config.margin + (1 - 2 * config.margin) * heat, gaze


def of_unit_norm(heat: Tensor) -> Tensor:
    """Divide each map (B, 1, H, W) by its Euclidean norm; a map of zeros stays zeros, without a gradient."""
    norm = heat.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    dead = norm == 0
    return torch.where(dead, torch.zeros_like(heat), heat / torch.where(dead, torch.ones_like(norm), norm))


def blur(heat: Tensor, sigma: Tensor) -> Tensor:
    """Blur maps (B, 1, H, W), each case by its own (σy, σx) in pixels, (B, 2), with reflecting borders.

    The Gaussian is that of gaze maps, applied as two matrix products per case. σ gets no gradient.
    """
    rows, columns = heat.shape[-2:]
    heat = full(heat)
    sigma = sigma.detach().to("cpu", torch.float32)
    ky = torch.stack([_kernel(rows, float(s)) for s in sigma[:, 0]]).to(heat)
    kx = torch.stack([_kernel(columns, float(s)) for s in sigma[:, 1]]).to(heat)
    return (ky[:, None] @ heat) @ kx[:, None].transpose(-1, -2)


def blur_alike(heat: Tensor, sigma: tuple[float, float]) -> Tensor:
    """Blur maps (B, 1, H, W) as `blur` does, all by the same (σy, σx) in pixels."""
    heat = full(heat)
    ky, kx = (
        _kernel(side, s).to(heat).expand(len(heat), 1, side, side)
        for side, s in zip(heat.shape[-2:], sigma, strict=True)
    )
    return (ky @ heat) @ kx.transpose(-1, -2)


def pyramid(p: Tensor, q: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    """Reduce both maps by average pooling over scale × scale pixels."""
    return (p, q) if scale == 1 else (F.avg_pool2d(p, scale), F.avg_pool2d(q, scale))


@lru_cache(maxsize=256)
def _kernel(size: int, sigma: float) -> Tensor:
    """The matrix of a 1-D Gaussian filter with SciPy's `mode="reflect"`, (size, size); its rows sum to 1."""
    if sigma <= 0:
        return torch.eye(size)
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2).double()
    # Reflected, the axis repeats itself every 2·size pixels: d c b a | a b c d | d c b a
    folded = torch.zeros(2 * size, dtype=torch.float64)
    folded.index_add_(0, offsets.remainder(2 * size), weights / weights.sum())
    place = (torch.arange(size)[:, None] + torch.arange(2 * size)).remainder(2 * size)
    place = torch.where(place >= size, 2 * size - 1 - place, place)
    return torch.zeros(size, size).scatter_add_(1, place, folded.float().expand(size, -1))
