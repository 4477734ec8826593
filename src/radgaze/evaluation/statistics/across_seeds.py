"""Means over several seeds, with intervals for the sampling of cases and of seeds.

A seed determines the split, the initial weights and the order of training. A figure differs between seeds
because of these, because of their effect on single cases, and because of the cases on which it was measured;
see `across`. An interval that reflects only the cases applies to one network (Bouthillier et al. 2021,
"Accounting for variance in machine learning benchmarks").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from scipy import stats

from radgaze.evaluation.statistics.resampling import RESAMPLES, Estimate, Floats


def across(estimates: Sequence[Estimate], within: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """Average over seeds, with resamples that reflect the sampling of cases and of seeds.

    A resample is the mean plus N(0, √c), the effect of other cases on all seeds alike, plus s/√k·t with
    Student's t of k − 1 degrees of freedom, the effect of other seeds; see `spread`. With few seeds s is
    uncertain, which t accounts for: with three seeds its 95% quantile is 4.3, not 1.96.

    Args:
        estimates: Estimate of each seed, all with the same number of resamples; to compare two experiments,
            the differences. Seeds for which the figure is undefined are left out.
        within: Range of the figure, such as (0, 1) for an AUC; it clips the resamples.

    Returns:
        The mean, with at least as many resamples as the seeds have; NaN where no seed has the figure. For one
        seed it is the estimate of this seed. It is computed for two seeds as well, but see
        `evidence.too_few_seeds`.

    Raises:
        ValueError: Numbers of resamples differ.
    """
    estimates = list(estimates)  # an iterator would be used up by the check
    if len({len(estimate.resampled) for estimate in estimates}) > 1:
        raise ValueError("the seeds' estimates come from different numbers of resamples")
    defined = [estimate for estimate in estimates if np.isfinite(estimate.value)]
    if len(defined) < 2:
        return defined[0] if defined else Estimate(float("nan"), np.empty(0))
    variation, count = spread(defined), max(RESAMPLES, len(defined[0].resampled))
    normal, student = _draws(count, variation.count - 1)
    shift = variation.cases * normal + variation.seeds / np.sqrt(variation.count) * student
    value = float(np.mean([estimate.value for estimate in defined]))
    return Estimate(value, np.clip(value + shift, *within))


@dataclass(frozen=True)
class Spread:
    """Variation of a mean over seeds.

    Attributes:
        cases: √c, with c the mean covariance of two seeds over resamples of cases: the effect of other cases
            on all seeds alike. 0 where seeds share no cases.
        seeds: s, the standard deviation of the figures, which includes the effect of cases on one seed alone.
        count: Number of seeds k.
    """

    cases: float
    seeds: float
    count: int


def spread(estimates: Sequence[Estimate]) -> Spread:
    """Compute the components of the variance c + s²/k of a mean over k ≥ 2 seeds.

    The part of s² that cases explain is not subtracted: with three seeds the remainder would be 0 in a third
    of all samples, and the interval too narrow. Since c counts the cases again, the interval is somewhat too
    wide where seeds share no cases or differ in nothing else.
    """
    figures = np.array([estimate.value for estimate in estimates])
    # By pairs: each seed may be undefined on other resamples, and hardly any be left where all are.
    covariances = []
    for one, other in combinations([estimate.resampled for estimate in estimates], 2):
        both = np.isfinite(one) & np.isfinite(other)
        if both.sum() > 1:
            covariances.append(np.cov(one[both], other[both])[0, 1])
    shared = float(np.mean(covariances)) if covariances else 0.0
    return Spread(float(np.sqrt(max(0.0, shared))), float(figures.std(ddof=1)), len(figures))


@lru_cache(maxsize=32)
def _draws(count: int, freedom: int) -> tuple[Floats, Floats]:
    """Evenly spaced quantiles of N(0, 1) and of Student's t, each in a fixed random order."""
    places = (np.arange(count) + 0.5) / count
    first, second = np.random.default_rng(count).spawn(2)
    return first.permutation(stats.norm.ppf(places)), second.permutation(stats.t.ppf(places, freedom))
