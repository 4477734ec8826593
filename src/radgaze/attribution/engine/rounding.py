"""Detect maps that consist of rounding errors alone: they are zero, and must not be scaled to 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from radgaze.attribution.tracing import is_traced

SUSPECT = 1e-2
"""A gradient that, over all places, moves a score by less than this share of it is checked again."""

OTHERS = (1.1, 0.7, 1.9)
"""Factors that are no powers of two: each changes the rounding of all values."""

AGREES = 0.1
"""Gradients that differ by more than this share of their largest value are rounding errors."""

ROUNDINGS = 16
"""Largest difference between evaluations of an unchanged score, in units in the last place."""


def gradient_of_scores(
    differentiate: Callable[[float, bool], Tensor], source: Tensor, scores: Tensor
) -> Tensor:
    """∂score/∂source, zero for cases in which it is rounding noise, the remainder of terms that cancel.

    A gradient is proportional to a factor of the score, and its rounding is not: where a gradient is small
    compared with its score, it is computed for other factors as well, and compared.

    Args:
        differentiate: Function of a factor, and of whether the graph is kept, that gives the gradient of the
            score times the factor, divided by the factor.
        source: The tensor (B, …) that is differentiated by.
        scores: Scores (B,).
    """
    gradient = differentiate(1.0, True)
    if is_traced():
        return gradient
    with torch.no_grad():
        size = gradient.detach().abs().flatten(1).amax(1)
        reach = size * source.detach().to(gradient.dtype).abs().flatten(1).sum(1)
        if not bool(((reach < SUSPECT * scores.detach().abs().to(gradient)) & (size > 0)).any()):
            return gradient
        noise = torch.zeros_like(size, dtype=torch.bool)
        for factor in OTHERS:
            again = differentiate(factor, False)
            noise |= (again - gradient).abs().flatten(1).amax(1) > AGREES * size
    if not bool(noise.any()):
        return gradient
    return gradient.masked_fill(noise.view(-1, *[1] * (gradient.dim() - 1)), 0)


def without_rounding(attributions: Tensor, scores: Tensor, *, shared_out: bool = False) -> Tensor:
    """Attributions in the unit of the scores; zero in cases where all are rounding.

    Args:
        attributions: Attributions (B, C, H, W).
        scores: Scores (B,).
        shared_out: Whether a score is shared out among all places, rather than each place's attribution a
            difference of two scores: then their sum is compared, since a place has a small part of it.
    """
    floor = ROUNDINGS * torch.finfo(scores.dtype).eps * scores.abs().to(attributions)
    sizes = attributions.abs().flatten(1)
    noise = (sizes.sum(1) if shared_out else sizes.amax(1)) <= floor
    return attributions.masked_fill(noise.view(-1, 1, 1, 1), 0)
