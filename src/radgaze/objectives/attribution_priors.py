"""Distances of methods that say where a heatmap may be, in place of what it should equal.

`p` is the raw heatmap (B, 1, H, W), `q` its target in [0, 1], of the same shape; each distance is one number
per case.
"""

from __future__ import annotations

from torch import Tensor

from radgaze.objectives.distance import register


@register(raw=True)
def outside_squared(p: Tensor, q: Tensor, *, relevant_above: float | None = None) -> Tensor:
    """Σ_d ((1 − q_d)·p_d)², right for the right reasons (Ross et al. 2017, eq. 1, where 1 − q is A).

    Args:
        p: Heatmaps: ∂/∂x Σ_k log ŷ_k in the paper.
        q: Relevance of each place.
        relevant_above: Value above which a place is relevant, and the others are not, as in the paper, whose
            A is binary; None takes the relevance as it is.
    """
    relevant = q if relevant_above is None else (q > relevant_above).to(p.dtype)
    return ((1 - relevant) * p).square().flatten(1).sum(1)
