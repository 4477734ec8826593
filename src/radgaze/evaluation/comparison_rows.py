"""Rows of the tables of a comparison: figures of runs, and their paired differences to a reference."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.statistics.decision import Difference
from radgaze.evaluation.statistics.power_analysis import PowerSummary

TABLE = {
    **dict.fromkeys(("run", "metric", "map", "group"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
}
"""Columns of `Comparison.table`."""
PAIRED = {
    **dict.fromkeys(("run", "reference", "metric", "map", "group"), pl.String),
    **dict.fromkeys(("difference", "low", "high"), pl.Float64),
    **dict.fromkeys(("p_bootstrap", "p_delong", "p_bootstrap_holm", "p_delong_holm"), pl.Float64),
    "higher_is_better": pl.Boolean,
    **dict.fromkeys(("detectable", "detectable_at"), pl.Float64),
    **dict.fromkeys(("detectable_note", "needed"), pl.String),
    **dict.fromkeys(("patients", "discordant", "comparisons"), pl.Int64),
    **dict.fromkeys(("p_bootstrap_is_bound", "p_bootstrap_holm_is_bound"), pl.Boolean),
}
"""Columns of `Comparison.paired`."""


@dataclass(frozen=True)
class EstimateRow:
    """A figure of a run, as a row of compare.csv.

    Attributes:
        run: Name of the run.
        metric: Name of the metric.
        map: Name of the map; None for a metric of predictions.
        group: A class or `MACRO`; None for a metric of maps.
        value: The figure; None where it is undefined.
        low: Lower end of its 95% interval.
        high: Upper end of its 95% interval.
    """

    run: str
    metric: str
    map: str | None
    group: str | None
    value: float | None
    low: float | None
    high: float | None

    @property
    def estimate(self) -> IntervalEstimate:
        """The figure with its interval."""
        return IntervalEstimate(self.value, self.low, self.high)


@dataclass(frozen=True)
class PairedRow:
    """A paired difference of a run to the reference, as a row of paired.csv.

    Attributes:
        run: Name of the run.
        reference: Name of the reference.
        metric: Name of the metric.
        map: Name of the map; None for a metric of predictions.
        group: A class or `MACRO`; None for a metric of maps.
        difference: Figure of the run minus that of the reference; None where it is undefined.
        low: Lower end of its 95% interval: percentiles of the patient bootstrap, or Student's t for a mean
            over few patients.
        high: Upper end of its 95% interval.
        p_bootstrap: P-value of the same kind as the interval.
        p_delong: P-value of DeLong's test; for AUCs only.
        p_bootstrap_holm: `p_bootstrap` after Holm's correction over the runs.
        p_delong_holm: `p_delong` after Holm's correction over the runs.
        higher_is_better: Direction of the metric; None where neither is better, as of reliance.
        detectable, detectable_at, detectable_note: Attributes of `PowerSummary`.
        needed: Attribute of `PowerSummary`; for the macro AUC only.
        patients: Number of patients.
        discordant: Number of patients on whose cases the two runs differ.
        comparisons: Number of comparisons in Holm's correction.
        p_bootstrap_is_bound: Whether `p_bootstrap` is an upper bound, at the floor of the resampling.
        p_bootstrap_holm_is_bound: Whether `p_bootstrap_holm` is an upper bound.
    """

    run: str
    reference: str
    metric: str
    map: str | None
    group: str | None
    difference: float | None
    low: float | None
    high: float | None
    p_bootstrap: float | None
    p_delong: float | None
    p_bootstrap_holm: float | None
    p_delong_holm: float | None
    higher_is_better: bool | None
    detectable: float | None
    detectable_at: float | None
    detectable_note: str | None
    needed: str | None
    patients: int
    discordant: int
    comparisons: int
    p_bootstrap_is_bound: bool
    p_bootstrap_holm_is_bound: bool

    @property
    def estimate(self) -> Difference:
        """The difference with the evidence for a verdict on it."""
        return Difference(
            self.difference,
            self.low,
            self.high,
            patients=self.patients,
            discordant=self.discordant,
            comparisons=self.comparisons,
            p=self.p_bootstrap_holm,
            p_is_bound=self.p_bootstrap_holm_is_bound,
        )

    @property
    def power(self) -> PowerSummary:
        """The difference that could have been detected."""
        return PowerSummary(self.detectable, self.detectable_at, self.detectable_note, self.needed)


@dataclass(frozen=True)
class Rows:
    """Rows of a comparison.

    Attributes:
        estimates: Rows of `Comparison.table`.
        differences: Rows of `Comparison.paired`.
    """

    estimates: tuple[EstimateRow, ...] = ()
    differences: tuple[PairedRow, ...] = ()

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.estimates + other.estimates, self.differences + other.differences)
