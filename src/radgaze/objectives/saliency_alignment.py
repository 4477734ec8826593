"""Distances of methods that train a heatmap to match a human's map, each with the scaling of its source.

`p` is the raw heatmap (B, 1, H, W), `q` the human's map, in [0, 1] and of the same shape; each distance is
one number per case, and depends on that case alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives.distance import Count, Positive, Share, Weight, register

CELLS = 7
"""Side of a Grad-CAM map of a network's last stage, for images of 224 pixels."""

LEAST = 1e-6
"""Distance from 0 and 1 at which a map is clamped before its logarithm is taken."""


@register(raw=True)
def harmonization(p: Tensor, q: Tensor, *, levels: Count = 5) -> Tensor:
    """Mean over the levels of a pyramid of the mean of (p' − q')² (Fel et al. 2022, Harmonization).

    p' and q' are the standardised maps, whose negative values are set to 0; q' is then scaled to the maximum
    of p', which is constant in the backward pass. Each further level is the one before, filtered by a 5 × 5
    binomial kernel with stride 2 and zero padding. The filter and the numbers added to divisors are as
    implemented in serre-lab/Harmonization.

    Args:
        p: Heatmaps, signed.
        q: Human maps.
        levels: Number of levels, of which the maps themselves are the first.
    """
    p, q = standardise_cut(p), standardise_cut(q)
    q = q / (_maximum(q) + 1e-6) * (_maximum(p).detach() + 1e-6)
    per_level = [(p - q).square().flatten(1).mean(1)]
    for _ in range(levels - 1):
        p, q = _halved(p), _halved(q)
        per_level.append((p - q).square().flatten(1).mean(1))
    return torch.stack(per_level).mean(0)


@register(raw=True)
def res(
    p: Tensor,
    q: Tensor,
    *,
    cells: Count = CELLS,
    positive_above: Share = 0.5,
    negative_below: Share = 0.05,
    slack: Weight = 0.1,
) -> Tensor:
    """max(mean |tanh(5(M − a*)) − F| − η, 0) + mean |M − g(F⁺)|, RES-G (Gao et al. 2022).

    M is p scaled to [0, 1] by its minimum and maximum. F is 1 where q is above `positive_above`, −1 where it
    is below `negative_below`, and 0 elsewhere; the first mean is over the cells where F is not 0. a* is the
    `best_threshold`, and g filters by a 3 × 3 Gaussian and divides by the maximum. tanh(5·) and g are as
    implemented in YuyangGao/RES, where a* is one value for the whole batch.

    Args:
        p: Heatmaps.
        q: Human maps.
        cells: Number of cells along each side of the grid on which the maps are compared.
        positive_above: Value of q above which F is 1.
        negative_below: Value of q below which F is −1.
        slack: η, 0.1 as in the commands of that repository's README.
    """
    M, q = _from_0_to_1(_pooled(p, cells)), _pooled(q, cells)
    said = (q > positive_above).to(M.dtype) - (q < negative_below).to(M.dtype)
    a = best_threshold(M.detach(), said).view(-1, 1, 1, 1)
    annotated = said.abs()
    wrong = (annotated * (torch.tanh(5 * (M - a)) - said).abs()).flatten(1).sum(1)
    robust = wrong / annotated.flatten(1).sum(1).clamp(min=1)
    return (robust - slack).clamp(min=0) + (M - _smoothed(said.clamp(min=0))).abs().flatten(1).mean(1)


@register(raw=True)
def haics(p: Tensor, q: Tensor, *, cells: Count = CELLS) -> Tensor:
    """Mean of −q·log M − (1 − q)·log(1 − M), M being p scaled to [0, 1] (HAICS, Shen et al. 2021).

    Computed as implemented in YuyangGao/RES, but without its factor, the share of the cells that are
    annotated. M is scaled by the minimum and maximum of p, and clamped to [1e-6, 1 − 1e-6].

    Args:
        p: Heatmaps.
        q: Human maps.
        cells: Number of cells along each side of the grid on which the maps are compared.
    """
    M, q = _from_0_to_1(_pooled(p, cells)).clamp(LEAST, 1 - LEAST), _pooled(q, cells)
    return -(q * M.log() + (1 - q) * torch.log1p(-M)).flatten(1).mean(1)


@register(raw=True)
def gradia(p: Tensor, q: Tensor, *, cells: Count = CELLS) -> Tensor:
    """Mean of |M − q|, M being p scaled to [0, 1] by its minimum and maximum (GRADIA, Gao et al. 2022).

    Computed as implemented in YuyangGao/RES.

    Args:
        p: Heatmaps.
        q: Human maps.
        cells: Number of cells along each side of the grid on which the maps are compared.
    """
    return (_from_0_to_1(_pooled(p, cells)) - _pooled(q, cells)).abs().flatten(1).mean(1)


@register(raw=True)
def ga_net(p: Tensor, q: Tensor, *, steepness: Positive = 100.0, threshold: Share = 0.4) -> Tensor:
    """Mean of (sigmoid(ω(M − θ)) − q)², GA-Net's attention consistency (Wang et al. 2022).

    M is p scaled to [0, 1] by its minimum and maximum.

    Args:
        p: Class-activation maps.
        q: Gaze maps.
        steepness: ω, 100 as implemented in the authors' code.
        threshold: θ, 0.4 as implemented in the authors' code.
    """
    return (torch.sigmoid(steepness * (_from_0_to_1(p) - threshold)) - q).square().flatten(1).mean(1)


def standardise_cut(map_: Tensor) -> Tensor:
    """Standardise each map (B, 1, H, W) by its mean and standard deviation; set negative values to 0."""
    centred = map_ - map_.mean((1, 2, 3), keepdim=True)
    variance = centred.square().mean((1, 2, 3), keepdim=True)
    constant = variance == 0
    deviation = torch.where(constant, 0.0, torch.where(constant, 1.0, variance).sqrt())
    return (centred / (deviation + 1e-5)).clamp(min=0)


@torch.no_grad()
def best_threshold(map_: Tensor, said: Tensor) -> Tensor:
    """Find the threshold a* of each map that best separates relevant from irrelevant pixels.

    It maximises the share of relevant pixels at or above it plus the share of irrelevant pixels below it. The
    candidates are the values at irrelevant pixels plus 1e-4, followed by those at relevant ones; of equally
    good ones the first is taken, as implemented in YuyangGao/RES.

    Args:
        map_: Maps (B, 1, H, W).
        said: Annotations (B, 1, H, W): above 0 relevant, below 0 irrelevant.

    Returns:
        Thresholds (B,), 0 where nothing is annotated.
    """
    thresholds = map_.new_zeros(len(map_))
    for case, (values, annotation) in enumerate(zip(map_, said, strict=True)):
        no, yes = values[annotation < 0], values[annotation > 0]
        candidates = torch.cat([no + 1e-4, yes])
        if len(candidates):
            below = torch.searchsorted(no.sort().values, candidates) / max(len(no), 1)
            above = 1 - torch.searchsorted(yes.sort().values, candidates) / max(len(yes), 1)
            thresholds[case] = candidates[(below + above).argmax()]
    return thresholds


def _from_0_to_1(map_: Tensor) -> Tensor:
    """Scale each map from 0 to 1, with the gradient through both ends; a constant map is 0."""
    raised = map_ - map_.amin((1, 2, 3), keepdim=True)
    top = _maximum(raised)
    return raised / torch.where(top == 0, 1.0, top)


def _maximum(map_: Tensor) -> Tensor:
    return map_.amax((1, 2, 3), keepdim=True)


def _pooled(map_: Tensor, cells: int) -> Tensor:
    return F.adaptive_avg_pool2d(map_, cells)


def _smoothed(map_: Tensor) -> Tensor:
    """Filter maps by OpenCV's 3 × 3 Gaussian, reflected without the border, and divide by the maximum."""
    kernel = map_.new_tensor([0.25, 0.5, 0.25])
    around = F.pad(map_, (1, 1, 1, 1), mode="reflect") if min(map_.shape[-2:]) > 1 else F.pad(map_, (1,) * 4)
    smooth = F.conv2d(around, kernel.outer(kernel)[None, None])
    return smooth / (_maximum(smooth) + 1e-6)


def _halved(map_: Tensor) -> Tensor:
    """Filter maps by the 5 × 5 binomial kernel with stride 2, padded by zeros as TensorFlow's "SAME"."""
    kernel = map_.new_tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    sides = [max((-(-side // 2) - 1) * 2 + 5 - side, 0) for side in reversed(map_.shape[-2:])]
    padding = [part for total in sides for part in (total // 2, total - total // 2)]
    return F.conv2d(F.pad(map_, padding), kernel.outer(kernel)[None, None], stride=2)
