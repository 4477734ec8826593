"""Spearman's rank correlation as a function of case weights, for resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.evaluation.statistics.resampling import Statistic

Floats = NDArray[np.float64]

_NONE = 1e-12


def rank_correlation_of(x: ArrayLike, y: ArrayLike) -> Statistic:
    """Return Spearman's ρ of x and y (n,) as a function of case weights, which are multiplicities.

    A case of weight w counts w times: ρ is Pearson's correlation of the midranks among Σw cases. It is NaN
    where x or y is the same in all cases of positive weight, or NaN in one of them.
    """
    of_x, of_y = (np.asarray(values, dtype=np.float64) for values in (x, y))
    unknown = np.isnan(of_x) | np.isnan(of_y)

    def statistic(weights: Floats) -> Floats:
        total = weights.sum(1, keepdims=True)
        a, b = (midranks(values, weights) - (total + 1) / 2 for values in (of_x, of_y))
        covariance = (weights * a * b).sum(1)
        variance = (weights * a * a).sum(1) * (weights * b * b).sum(1)
        is_defined = (variance > _NONE) & ~(weights[:, unknown] > 0).any(1)
        rho: Floats = np.divide(
            covariance, np.sqrt(variance, where=is_defined, out=np.ones_like(variance)),
            out=np.full(len(weights), np.nan), where=is_defined,
        )  # fmt: skip
        return rho

    return statistic


def midranks(values: ArrayLike, weights: Floats) -> Floats:
    """Compute the midranks (R, n) of values (n,), each repeated as often as its weight (R, n) says."""
    x = np.asarray(values, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    first = np.flatnonzero(np.r_[True, np.diff(x[order]) > 0])  # of each group of equal values
    of_groups = np.add.reduceat(weights[:, order], first, axis=1)
    below = np.cumsum(of_groups, axis=1) - of_groups
    group = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(x)]))
    ranks = np.empty_like(weights)
    ranks[:, order] = (below + (of_groups + 1) / 2)[:, group]
    return ranks
