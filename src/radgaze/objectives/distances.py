"""Distances between two maps, one number per case, which is smallest (in most cases 0) where the maps agree.

`p` is the predicted map, `q` its target; both are (B, 1, H, W) in [0, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives import (  # each registers its distances
    attribution_priors,  # noqa: F401
    saliency_alignment,  # noqa: F401
    separability,  # noqa: F401
)
from radgaze.objectives.distance import REGISTRY, Distance, check, find, register

__all__ = ["REGISTRY", "Distance", "bce", "check", "dice", "find", "kl", "mse", "one_minus_cc", "register"]

_TINY = 1e-6


@register
def bce(p: Tensor, q: Tensor) -> Tensor:
    """Mean over pixels of −q·log p − (1 − q)·log(1 − p), p clamped; NaN if a pixel is NaN."""
    # torch refuses NaN: with an exception, and on a GPU with an assertion that ends the process.
    broken = torch.isnan(p) | torch.isnan(q)
    p, q = p.masked_fill(broken, 0.5), q.masked_fill(broken, 0.5)
    # With a saturated p the gradient in q, where that is learned as well, would be log(1 − p) − log p = ∓∞.
    least = torch.finfo(p.dtype).eps
    pixels = F.binary_cross_entropy(p.clamp(least, 1 - least), q, reduction="none")
    return pixels.masked_fill(broken, torch.nan).flatten(1).mean(1)


@register
def mse(p: Tensor, q: Tensor) -> Tensor:
    """Mean over pixels of (p − q)²."""
    return (p - q).square().flatten(1).mean(1)


@register
def kl(p: Tensor, q: Tensor) -> Tensor:
    """Σ Q·log(Q/P), P and Q the maps divided by their sums: scales have no effect (Bylinskii et al.)."""
    P, Q = _share(p), _share(q)
    return (Q * (torch.log(Q + _TINY**2) - torch.log(P + _TINY**2))).sum(1)


@register
def one_minus_cc(p: Tensor, q: Tensor) -> Tensor:
    """1 − Pearson's correlation over pixels, in [0, 2]; 1 where either map is constant."""
    a, b = _centred(p), _centred(q)
    return 1 - (a * b).sum(1) / ((a.square().sum(1) + _TINY**2) * (b.square().sum(1) + _TINY**2)).sqrt()


@register
def dice(p: Tensor, q: Tensor) -> Tensor:
    """Soft Dice, 1 − 2·Σpq / (Σp² + Σq²); 0 where both maps are empty."""
    a, b = p.flatten(1), q.flatten(1)
    return 1 - (2 * (a * b).sum(1) + _TINY) / (a.square().sum(1) + b.square().sum(1) + _TINY)


def _centred(m: Tensor) -> Tensor:
    """m − mean m over pixels, (B, H·W). Zeros for a constant map, whose rounding errors would correlate, with
    the gradient of any other map, so that it does not stay constant."""
    flat = m.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    low, high = torch.aminmax(flat.detach(), dim=1, keepdim=True)
    constant = high - low <= _TINY * torch.maximum(high.abs(), low.abs())
    return centred - torch.where(constant, centred, 0).detach()


def _share(m: Tensor) -> Tensor:
    flat = m.flatten(1).clamp(min=0) + _TINY
    return flat / flat.sum(1, keepdim=True)
