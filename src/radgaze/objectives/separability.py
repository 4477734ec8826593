"""Distances between the heatmaps of two classes or two layers: ICASC (Wang et al. 2019, "Sharpen Focus").

`p` and `q` are raw heatmaps (B, 1, H, W), of which negative values count as 0. Maxima and sums are over the
map of each case, as in the paper; public code takes them over the whole batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from radgaze.objectives.distance import PENALISED, Positive, Share, register
from radgaze.objectives.perturbations import soft_mask

STEEPNESS = 100.0
"""ω of the soft mask, as implemented in paganpasta/SharpenFocus-Pytorch and Happiness-Chung/ICASC-."""

THRESHOLD = 0.55
"""σ of the soft mask as a share of the map's maximum, as implemented in a third re-implementation.

The other two set 0.25 of the maximum and compare it with a map that is scaled to [0, 1] already."""


@register(raw=True, effect="was kept apart from")
def overlap(
    p: Tensor,
    q: Tensor,
    *,
    within: Tensor | None = None,
    steepness: Positive = STEEPNESS,
    threshold: Share = THRESHOLD,
) -> Tensor:
    """L_AS = 2·Σ min(p, q)·T / Σ (p + q), which is 0 where the maps of two classes do not overlap.

    Args:
        p: Heatmaps of the class of the case.
        q: Heatmaps of the class that it is most likely confused with.
        within: Maps T (B, 1, H, W) in [0, 1] of the pixels where they should not overlap. None means the soft
            mask of p, T = sigmoid(ω·(p/max p − σ)), whose max p is constant in the backward pass.
        steepness: Steepness ω of the soft mask.
        threshold: Threshold σ of the soft mask, as a share of max p.
    """
    p, q = p.clamp(min=0), q.clamp(min=0)
    mask = soft_mask(p, steepness, threshold) if within is None else within
    return _ratio(2 * torch.minimum(p, q) * mask, p + q)


@register(raw=True, effect=PENALISED)
def outside_share(
    p: Tensor,
    q: Tensor,
    *,
    mask_from: Literal["last", "own"] = "last",
    steepness: Positive = STEEPNESS,
    threshold: Share = THRESHOLD,
    theta: float = 1.0,
) -> Tensor:
    """L_AC = θ − Σ p·T / Σ p; for θ = 1, the share of an inner layer's heatmap outside a soft mask T.

    It is θ where p is zero everywhere.

    Args:
        p: Heatmaps at the inner layer.
        q: Heatmaps at the last layer.
        mask_from: Heatmap whose soft mask is T: "last" that of q, or "own" that of p, as implemented in
            paganpasta/SharpenFocus-Pytorch and Happiness-Chung/ICASC-.
        steepness: ω of the soft mask.
        threshold: σ of the soft mask.
        theta: Constant θ, which has no effect on the gradient; with 1 the distance is in [0, 1]. Public code
            has 0.8.
    """
    p, q = p.clamp(min=0), q.clamp(min=0)
    return theta - _ratio(p * soft_mask(p if mask_from == "own" else q, steepness, threshold), p)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """Σ part / Σ whole of each case, (B,); 0 where the whole is 0."""
    total = whole.flatten(1).sum(1)
    return part.flatten(1).sum(1) / torch.where(total == 0, 1.0, total)
