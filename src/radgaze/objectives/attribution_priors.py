"""Distances of methods that constrain where a heatmap may have values, and not which values it should have.

`p` is the raw heatmap (B, 1, H, W), `q` the relevance of each place, in [0, 1] and of the same shape; each
distance is one number per case, and depends on that case alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from radgaze.objectives.distance import PENALISED, Positive, Share, Weight, register

ENERGY = 1e-7
"""Sum of a heatmap below which `energy` does not divide by it, as implemented in Model-Guidance."""

STABILISER = 1e-10
"""Number added to the mean that `isnet_background` divides by, as implemented in ISNet."""


@register(raw=True, effect=PENALISED)
def outside_squared(p: Tensor, q: Tensor, *, relevant_above: Share | None = None) -> Tensor:
    """Σ_d ((1 − q_d)·p_d)², right for the right reasons (Ross et al. 2017, eq. 1, where 1 − q is A).

    Args:
        p: Heatmaps: ∂/∂x Σ_k log ŷ_k in the paper.
        q: Relevance of each place.
        relevant_above: Value above which a place is relevant, and the others are not, as in the paper, whose
            A is binary; None takes the relevance as it is.
    """
    return ((1 - _relevance(p, q, relevant_above)) * p).square().flatten(1).sum(1)


@register(raw=True, effect=PENALISED)
def inside_squared(p: Tensor, q: Tensor, *, irrelevant_above: Share | None = None) -> Tensor:
    """Σ_d (q_d·p_d)², right for the right reasons (Ross et al. 2017, eq. 1) where q itself is A.

    Args:
        p: Heatmaps: ∂/∂x Σ_k log ŷ_k in the paper.
        q: Irrelevance of each place: the mask of earlier explanations, where the paper looks for another one.
        irrelevant_above: Value above which a place is irrelevant, and the others are not, as in the paper,
            whose A is binary; None takes the irrelevance as it is.
    """
    return (_relevance(p, q, irrelevant_above) * p).square().flatten(1).sum(1)


@register(raw=True, effect=PENALISED)
def outside_absolute(p: Tensor, q: Tensor, *, relevant_above: Share | None = None) -> Tensor:
    """Σ_d |(1 − q_d)·p_d|, GradMask (Simpson et al. 2019), as implemented in saliency-red-herring.

    Args:
        p: Heatmaps: ∂|ŷ_0 − ŷ_1|/∂x there.
        q: Relevance of each place: the segmented lesion there.
        relevant_above: Value above which a place is relevant, and the others are not; None takes the
            relevance as it is.
    """
    return ((1 - _relevance(p, q, relevant_above)) * p).abs().flatten(1).sum(1)


@register(raw=True, effect=PENALISED)
def energy(p: Tensor, q: Tensor, *, relevant_above: Share | None = None) -> Tensor:
    """1 − Σ q·p⁺ / Σ p⁺, the energy outside (Rao et al. 2023, Model-Guidance, with boxes as q).

    Where Σ p⁺ is below 1e-7 it is 1 − Σ q·p⁺, as implemented in Model-Guidance.

    Args:
        p: Heatmaps, of which negative values count as 0.
        q: Relevance of each place.
        relevant_above: Value above which a place is relevant, and the others are not; None takes the
            relevance as it is.
    """
    positive = p.clamp(min=0)
    inside = (_relevance(p, q, relevant_above) * positive).flatten(1).sum(1)
    everything = positive.flatten(1).sum(1)
    return 1 - inside / torch.where(everything < ENERGY, 1.0, everything)


@register(raw=True, effect=PENALISED)
def isnet_background(
    p: Tensor,
    q: Tensor,
    *,
    decay: Share = 0.9,
    lowest: Positive = 1.0,
    highest: Positive = 25.0,
    background_weight: Weight = 1.0,
    foreground_weight: Weight = 3.0,
    relevant_above: Share | None = None,
) -> Tensor:
    """w₁·background + w₂·foreground (Bassi et al. 2024, ISNet, with the foreground of Faster ISNet).

    The background h is |p| outside, divided by the mean of |p| inside, and averaged with the weights dʳ for
    the values of rank r in descending order (Qiu 2018). Its cost −log(1 − h/(h + 1)) is computed as
    log(1 + h); the published code computes the first form with a clip, beyond which the gradient is 0. The
    foreground f is Σ |p| inside, whose cost is 0 between C₁ and C₂, (f/C₁ − 1)² below, ((f − C₂)/C₁)² above,
    and f − C₁ − C₂ + 1 above C₁ + C₂.

    Args:
        p: Heatmaps.
        q: Relevance of each place: a binary mask of the lungs there. Where nothing is relevant, the unit is
            the mean of the whole map.
        decay: d in [0, 1], 0 for the maximum and 1 for the mean; 0.9 as implemented in ISNet.
        lowest: C₁, 1 as implemented in ISNet.
        highest: C₂, 25 as implemented in ISNet.
        background_weight: w₁, 1 as implemented in ISNet.
        foreground_weight: w₂, 3 as implemented in ISNet.
        relevant_above: Value above which a place is relevant, and the others are not; None takes the
            relevance as it is.
    """
    heat, relevance = p.abs().flatten(1), _relevance(p, q, relevant_above).flatten(1)
    inside, relevant = (heat * relevance).sum(1), relevance.sum(1)
    nowhere = relevant == 0
    unit = torch.where(nowhere, heat.mean(1), inside / torch.where(nowhere, 1.0, relevant)) + STABILISER
    weights = decay ** torch.arange(heat.shape[1], device=p.device, dtype=p.dtype)
    outside = (heat * (1 - relevance)).sort(dim=1, descending=True).values
    background = torch.log1p((outside * weights).sum(1) / weights.sum() / unit)
    return background_weight * background + foreground_weight * _kept_between(inside, lowest, highest)


def _kept_between(f: Tensor, lowest: float, highest: float) -> Tensor:
    """The cost of leaving [C₁, C₂]: squared in units of C₁, and a line from C₁ + C₂ on."""
    below = (1 - f / lowest).clamp(min=0).square()
    above = ((f - highest) / lowest).clamp(min=0, max=1).square()
    return below + above + (f - highest - lowest).clamp(min=0)


def _relevance(p: Tensor, q: Tensor, above: float | None) -> Tensor:
    return q if above is None else (q > above).to(p.dtype)
