"""A figure over several seeds: its mean, with an interval that counts the drawing of cases and of seeds.

A seed draws the split, the initial weights and the order of training. Between seeds a figure differs by both,
and by the cases that it was measured on; see `across` for how the two are told apart. Without the first part,
an interval is of one network that happened to be trained (Bouthillier et al. 2021, "Accounting for variance
in machine learning benchmarks").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import stats

from radgaze.evaluation import summary
from radgaze.evaluation.paired import holm
from radgaze.evaluation.resampling import Estimate, Floats, Part

__all__ = ["across", "between_seeds", "bootstraps", "holm"]


def across(estimates: Sequence[Estimate], within: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    """The mean over seeds; its resamples spread as far as other cases and other seeds would move it.

    Resample r is the mean of the seeds' resamples r, which is how far other cases move it, whether seeds
    share their test cases, some of them or none, if `bootstraps` drew them; and on top of that a draw of
    τ/√k·t from Student's t of k − 1 degrees of freedom, which is how far other seeds do, with τ as
    `between_seeds` estimates it from k of them. Few seeds tell little about τ, and t says so: with three its
    95% quantile is 4.3, not 1.96.

    Args:
        estimates: One for each seed, all of as many resamples; those of a difference, to compare. Seeds where
            the figure is undefined are left out.
        within: Bounds of the figure, such as (0, 1) of an AUC: no resample lies beyond them.

    Returns:
        The mean. Of one seed, that seed's own estimate: nothing is known of others.

    Raises:
        ValueError: Numbers of resamples differ.
    """
    if len({len(estimate.resampled) for estimate in estimates}) > 1:
        raise ValueError("the seeds' estimates come from different numbers of resamples")
    known = [estimate for estimate in estimates if np.isfinite(estimate.value)]
    if len(known) < 2:
        return known[0] if known else Estimate(float("nan"), np.empty(0))
    value = float(np.mean([estimate.value for estimate in known]))
    cases = np.mean([estimate.resampled for estimate in known], axis=0)
    spread = between_seeds(known) / np.sqrt(len(known)) * _student(len(cases), len(known) - 1)
    return Estimate(value, np.clip(cases + spread, *within))


def between_seeds(estimates: Sequence[Estimate]) -> float:
    """τ, the standard deviation between seeds that measuring them on different cases does not explain.

    The variance of k figures is τ² + v − c, with v the mean variance over case resamples and c the mean
    covariance over them of two seeds: the same cases for all seeds move all figures alike (v = c), cases of
    their own do not (c = 0), and where test sets overlap c lies between. That is solved for τ², with 0 as the
    least (the method of moments of DerSimonian and Laird 1986, with a covariance).
    """
    figures = np.array([estimate.value for estimate in estimates])
    resampled = np.stack([estimate.resampled for estimate in estimates])
    resampled = resampled[:, np.isfinite(resampled).all(0)]
    k = len(figures)
    of_cases = 0.0
    if resampled.shape[1] > 1:
        covariance = np.cov(resampled)
        own = float(np.trace(covariance)) / k
        of_cases = own - float(covariance.sum() - np.trace(covariance)) / (k * (k - 1))
    return float(np.sqrt(max(0.0, float(figures.var(ddof=1)) - of_cases)))


def bootstraps(
    tables: Sequence[pl.DataFrame], classes: Sequence[str], *, resamples: int, seed: int
) -> list[Part]:
    """Draws of each seed's cases in which a patient counts equally often in all seeds' resample r.

    The patients of all tables are drawn together, once. Splits drawn anew share some test patients, and
    repeated cross-validation tests each patient once per repetition; drawn table by table, such a patient
    would be a new one each time, and an interval the narrower the more often the same patients are tested.
    Where all tables hold the same cases, these are the draws of `summary.bootstrap`.

    Args:
        tables: One of each seed: `case_id`, `patient` and `label_<class>`.
        classes: The classes.
        resamples: How many.
        seed: Of the draws.
    """
    columns = ["case_id", "patient", *(f"label_{name}" for name in classes)]
    every = pl.concat([table.select(columns) for table in tables]).unique("case_id", maintain_order=True)
    draws = summary.bootstrap(every, classes, resamples=resamples, seed=seed)
    place = dict(zip(every["case_id"], range(every.height), strict=True))
    return [Part(draws, np.array([place[c] for c in table["case_id"]], dtype=np.int64)) for table in tables]


def _student(count: int, freedom: int) -> Floats:
    """So many draws of Student's t: its quantiles, evenly, in an order of no meaning, always the same."""
    order = np.random.default_rng(count).permutation(count)
    quantiles: Floats = stats.t.ppf((order + 0.5) / max(1, count), freedom)
    return quantiles
