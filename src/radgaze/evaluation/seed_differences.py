"""Means over seeds, and paired differences over seeds with Holm's correction over experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.evidence import Evidence, bounds_after, too_few_seeds
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.evaluation.statistics.power_analysis import PLANNED, of_difference
from radgaze.evaluation.statistics.resampling import Estimate, number

UNBOUNDED = (-np.inf, np.inf)


@dataclass(frozen=True)
class SeedMean(IntervalEstimate):
    """A mean over seeds; for several seeds that are too few for an interval, `low` and `high` are None.

    Attributes:
        seeds: Number of seeds.
    """

    seeds: int = 1

    @property
    def has_too_few_seeds(self) -> bool:
        """Whether there are several seeds, but too few for an interval."""
        return too_few_seeds(self.seeds)


@dataclass(frozen=True)
class Difference(SeedMean):
    """A paired difference between two experiments.

    Attributes:
        p: P-value after Holm's correction; None where there is no interval.
        p_is_bound: Whether `p` is an upper bound, at the floor of the resampling.
        patients: Number of patients; None where it was not counted.
        discordant: Number of patients on whom the two experiments differ; None where it was not counted.
        comparisons: Number of comparisons in Holm's correction.
        detectable: Smallest true difference that is found with 80% power; None where there is none.
        detectable_at: Two-sided level of `detectable`; None where the power was not computed.
        detectable_note: Reason why there is no `detectable` difference.
        needed: Numbers of cases or seeds that a difference of `PLANNED` needs, in words; None for others than
            macro AUCs.
    """

    p: float | None = None
    p_is_bound: bool = False
    patients: int | None = None
    discordant: int | None = None
    comparisons: int = 1
    detectable: float | None = None
    detectable_at: float | None = None
    detectable_note: str | None = None
    needed: str | None = None

    @property
    def lacking(self) -> str:
        """Reason why there can be no verdict, whatever the figures; empty where there can be one."""
        if self.patients is None:
            return ""
        return Evidence(self.patients, self.discordant, self.comparisons, self.seeds).lacking


Differences = dict[str, dict[str, Difference]]
"""Differences by experiment and figure: a group (`MACRO` or a class) for the AUC, or a metric."""


@dataclass(frozen=True)
class Scale:
    """Scale of the differences of a figure.

    Attributes:
        bounds: Lowest and highest possible difference, to which the interval is clipped.
        largest: Largest possible difference, for the power.
    """

    bounds: tuple[float, float]
    largest: float


@dataclass(frozen=True)
class Counts:
    """Numbers of patients of a difference, and of those on whom the two experiments differ for some seed."""

    patients: int
    discordant: int

    @classmethod
    def of(cls, cases: Sequence[pl.DataFrame]) -> Counts:
        """Count the patients in a table for each seed: `patient`, and `differs`, whether the two differ."""
        every = pl.concat(cases)
        return cls(every["patient"].n_unique(), every.filter(pl.col("differs"))["patient"].n_unique())


@dataclass(frozen=True)
class Changes:
    """The differences of one experiment to a reference, for each seed.

    Attributes:
        estimates: The difference of each figure, for each seed.
        counts: The patients of each figure.
        tested: Test cases of the seed with the fewest patients.
    """

    estimates: Mapping[str, list[Estimate]]
    counts: Mapping[str, Counts]
    tested: pl.DataFrame


def paired_differences(changes: Mapping[str, Changes], scales: Mapping[str, Scale]) -> Differences:
    """Average differences over seeds, with Holm's correction over the experiments for each figure.

    Args:
        changes: The differences of each experiment.
        scales: Scale of each figure; an experiment may lack some figures.
    """
    differences: Differences = {name: {} for name in changes}
    for figure, scale in scales.items():
        compared = {name: change for name, change in changes.items() if figure in change.estimates}
        means = {
            name: over_seeds(change.estimates[figure], scale.bounds) for name, change in compared.items()
        }
        pooled = [across(change.estimates[figure], scale.bounds) for change in compared.values()]
        # A difference without an interval has no p-value either.
        raw = [
            None if mean.has_too_few_seeds else number(estimate.p)
            for mean, estimate in zip(means.values(), pooled, strict=True)
        ]
        adjusted = zip(holm(raw), bounds_after(holm, raw, [each.p_is_bound for each in pooled]), strict=True)
        comparisons = sum(p is not None for p in raw)
        for name, (p, p_is_bound) in zip(compared, adjusted, strict=True):
            change = compared[name]
            power = of_difference(
                change.estimates[figure],
                patients=change.tested["patient"].n_unique(),
                cases=change.tested.height,
                comparisons=comparisons,
                largest=scale.largest,
            )
            differences[name][figure] = Difference(
                value=means[name].value,
                low=means[name].low,
                high=means[name].high,
                seeds=means[name].seeds,
                p=p,
                p_is_bound=p_is_bound,
                patients=change.counts[figure].patients,
                discordant=change.counts[figure].discordant,
                comparisons=comparisons,
                detectable=power.detectable,
                detectable_at=power.level,
                detectable_note=power.why_not or None,
                needed=(power.plan(PLANNED) or None) if figure == MACRO else None,
            )
    return differences


def over_seeds(estimates: Sequence[Estimate], bounds: tuple[float, float] = UNBOUNDED) -> SeedMean:
    """Average over seeds, see `across`.

    Args:
        estimates: An estimate for each seed.
        bounds: Lowest and highest possible value of the figure, to which the interval is clipped.
    """
    seeds = sum(bool(np.isfinite(estimate.value)) for estimate in estimates)
    mean = across(estimates, bounds)
    value = number(mean.value)
    if value is None or too_few_seeds(seeds):
        return SeedMean(value, seeds=seeds)
    low, high = np.clip(mean.interval, *bounds)
    return SeedMean(value, number(low), number(high), seeds=seeds)
