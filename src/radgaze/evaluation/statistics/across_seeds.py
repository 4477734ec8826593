"""A figure over several seeds: its mean, with an interval that counts the drawing of cases and of seeds.

A seed draws the split, the initial weights and the order of training. Between seeds a figure differs by
these, by how they act on single cases, and by the cases that it was measured on; see `across`. Without the
first parts, an interval is of one network that happened to be trained (Bouthillier et al. 2021,
"Accounting for variance in machine learning benchmarks").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from radgaze.evaluation.statistics.resampling import RESAMPLES, Estimate, Floats


def across(estimates: Sequence[Estimate], within: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """The mean over seeds; its resamples spread as far as other cases and other seeds would move it.

    A resample is the mean plus N(0, √c), which is how far other cases move all seeds alike, plus s/√k·t from
    Student's t of k − 1 degrees of freedom, which is how far other seeds do; see `spread`. Few seeds tell
    little about s, and t says so: with three its 95% quantile is 4.3, not 1.96.

    Args:
        estimates: One for each seed, all of as many resamples; those of a difference, to compare. Seeds where
            the figure is undefined are left out.
        within: Bounds of the figure, such as (0, 1) of an AUC: no resample lies beyond them.

    Returns:
        The mean, with no fewer resamples than the seeds have. Of one seed, that seed's own estimate: nothing
        is known of others. Of two it is computed, but see `evidence.too_few_seeds`.

    Raises:
        ValueError: Numbers of resamples differ.
    """
    if len({len(estimate.resampled) for estimate in estimates}) > 1:
        raise ValueError("the seeds' estimates come from different numbers of resamples")
    known = [estimate for estimate in estimates if np.isfinite(estimate.value)]
    if len(known) < 2:
        return known[0] if known else Estimate(float("nan"), np.empty(0))
    found, count = spread(known), max(RESAMPLES, len(known[0].resampled))
    normal, student = _draws(count, found.count - 1)
    moved = found.cases * normal + found.seeds / np.sqrt(found.count) * student
    value = float(np.mean([estimate.value for estimate in known]))
    return Estimate(value, np.clip(value + moved, *within))


@dataclass(frozen=True)
class Spread:
    """What moves a mean over seeds.

    Attributes:
        cases: √c, c the mean covariance of two seeds over resamples of cases: what other cases move in all
            seeds alike. 0 where seeds share no cases.
        seeds: s, the standard deviation of the figures. What cases do to one seed alone is in it.
        count: How many seeds, k.
    """

    cases: float
    seeds: float
    count: int


def spread(estimates: Sequence[Estimate]) -> Spread:
    """The parts of the variance of a mean over k ≥ 2 seeds, c + s²/k.

    s² is not reduced by what cases explain: of few seeds such a remainder is 0 in a third of all sets of
    three, and the interval is then too narrow. As c counts the cases anew, the interval is rather somewhat
    too wide where seeds share no cases or differ in nothing else.
    """
    figures = np.array([estimate.value for estimate in estimates])
    resampled = np.stack([estimate.resampled for estimate in estimates])
    resampled = resampled[:, np.isfinite(resampled).all(0)]
    k, shared = len(figures), 0.0
    if resampled.shape[1] > 1:
        covariance = np.cov(resampled)
        shared = float(covariance.sum() - np.trace(covariance)) / (k * (k - 1))
    return Spread(float(np.sqrt(max(0.0, shared))), float(figures.std(ddof=1)), k)


@lru_cache(maxsize=32)
def _draws(count: int, freedom: int) -> tuple[Floats, Floats]:
    """So many of N(0, 1), and of Student's t: quantiles, evenly, each in an order that is always the same."""
    places = (np.arange(count) + 0.5) / count
    first, second = np.random.default_rng(count).spawn(2)
    return first.permutation(stats.norm.ppf(places)), second.permutation(stats.t.ppf(places, freedom))
