"""Maps that are nothing but rounding: they are zero, and must not be scaled to 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SUSPECT = 1e-2
"""A gradient that, over all places, moves a score by less than this share of it is looked at twice."""

OTHERS = (1.1, 0.7, 1.9)
"""Factors that are no powers of two: under each everything is rounded otherwise."""

AGREES = 0.1
"""Two gradients that differ by more than this share of their largest value agree by chance alone."""

ROUNDINGS = 16
"""What a score that does not change comes out differently by at most, in units of its last place."""


def gradient_of_scores(differentiate: Callable[[float, bool], Tensor], of: Tensor, scores: Tensor) -> Tensor:
    """∂score/∂of, zero for the cases in which it is rounding noise, the rest of terms that cancel.

    A gradient is proportional to what the score is multiplied by, and its rounding is not: where a gradient
    is small beside its score, it is computed of other multiples as well, and compared.

    Args:
        differentiate: Gives the gradient of the score times a factor, for that factor, over it; and whether
            the graph is kept for differentiating that.
        of: What is differentiated by, (B, …).
        scores: (B,).
    """
    found = differentiate(1.0, True)
    with torch.no_grad():
        size = found.detach().abs().flatten(1).amax(1)
        reach = size * of.detach().to(found.dtype).abs().flatten(1).sum(1)
        if not bool(((reach < SUSPECT * scores.detach().abs().to(found)) & (size > 0)).any()):
            return found
        noise = torch.zeros_like(size, dtype=torch.bool)
        for factor in OTHERS:
            again = differentiate(factor, False)
            noise |= (again - found).abs().flatten(1).amax(1) > AGREES * size
    if not bool(noise.any()):
        return found
    return found.masked_fill(noise.view(-1, *[1] * (found.dim() - 1)), 0)


def without_rounding(attributions: Tensor, scores: Tensor) -> Tensor:
    """Attributions (B, C, H, W) in the unit of the scores (B,); zero in cases where all are rounding."""
    floor = ROUNDINGS * torch.finfo(scores.dtype).eps * scores.abs().to(attributions)
    noise = attributions.abs().flatten(1).amax(1) <= floor
    return attributions.masked_fill(noise.view(-1, 1, 1, 1), 0)
