"""Ratio of two means over seeds, with Fieller's interval.

A ratio of two estimates has no variance where the one below may be 0. Fieller (1954) inverts a test instead:
the interval is the set of all ρ for which "above − ρ · below is 0" is not rejected. It is bounded exactly
where the interval of the one below excludes 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import brentq

from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.resampling import Estimate

_FARTHEST = 1e6
"""Distance from the ratio at which the search for an end of the interval stops."""


def ratio_over_seeds(
    above: Sequence[Estimate], below: Sequence[Estimate]
) -> tuple[float, tuple[float, float]]:
    """Divide the mean of one figure over seeds by the mean of another.

    The test is that of `across`: its interval of above − ρ · below includes 0, so that the drawing of cases
    and of seeds counts, and what the two figures have in common does not.

    Args:
        above: Estimate of the figure above, for each seed.
        below: Estimate of the figure below for the same seeds, on the same resamples. The 95% interval of its
            mean must lie above 0; else the result has no meaning.

    Returns:
        The ratio of the means, and its 95% interval; an end that is farther away than 10⁶ is infinite.
    """
    pairs = list(zip(above, below, strict=True))
    value = float(np.mean([a.value for a in above]) / np.mean([b.value for b in below]))

    def interval(ratio: float) -> tuple[float, float]:
        """Interval of above − ratio · below, which falls where the ratio rises."""
        return across(
            [Estimate(a.value - ratio * b.value, a.resampled - ratio * b.resampled) for a, b in pairs]
        ).interval

    low = _root(lambda distance: interval(value - distance)[0])
    high = _root(lambda distance: -interval(value + distance)[1])
    return value, (value - low, value + high)


def _root(rising: Callable[[float], float]) -> float:
    """Distance at which a rising function is 0; 0 where it is positive from the start."""
    if not rising(0.0) < 0:
        return 0.0
    end = 1e-3
    while rising(end) < 0:
        end *= 2
        if end > _FARTHEST:
            return float("inf")
    return float(brentq(rising, 0.0, end, xtol=1e-6))
