"""Estimates over a grid of runs, experiments by seeds, with paired differences between experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.map_scores import MapMeans, maps_and_metrics
from radgaze.evaluation.metrics import agreement, localisation
from radgaze.evaluation.per_run import HEATMAP_METRICS, Grid, RunEstimates, aucs, run_estimates
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.evidence import Evidence, bounds_after, too_few_seeds
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.evaluation.statistics.power_analysis import PLANNED, of_difference
from radgaze.evaluation.statistics.resampling import Estimate, SeedResamples, number

UNBOUNDED = (-np.inf, np.inf)

_BOUNDS = {name: metric.bounds for name, metric in {**agreement.METRICS, **localisation.METRICS}.items()}


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


Figures = dict[str, SeedMean]
"""Means by group (`MACRO` or a class) or metric."""
MapFigures = dict[str, Figures]
"""Means by map and metric."""
Differences = dict[str, dict[str, Difference]]
"""Differences by experiment and figure: a group (`MACRO` or a class) for the AUC, or one of
`HEATMAP_METRICS`."""


@dataclass(frozen=True)
class GridEstimates:
    """Estimates for every experiment that has a finished run.

    Attributes:
        classes: Names of the classes.
        auc: Test AUC of each experiment and group (`MACRO` or a class). The interval reflects the sampling of
            cases and, for several seeds, of seeds; or it is the paper's, see `estimate_grid`.
        seeds: For each experiment and seed the test AUC of each group, the macro AUC on the validation cases
            under "validation", and the heatmap's NSS under "nss".
        agreement: For each experiment, map and metric the mean over the cases with gaze.
        localisation: For each experiment, map and metric the mean over the cases with boxes; empty where no
            case has boxes.
        differences: For each reference experiment the paired differences of the other experiments to it. A
            metric of the heatmap is left out where the two runs measured it with other settings or cases.
        best: The experiment with the highest mean validation AUC; by test AUC where that selected the
            checkpoints; None where none is defined.
        repeated_patients: Whether a patient has more than one test case.
        controls: For each experiment with a control of gaze and each figure, the paired difference of the
            experiment with the gaze of each case to it, see `estimate_grid`.
    """

    classes: tuple[str, ...]
    auc: Mapping[str, Figures]
    seeds: Mapping[str, Mapping[int, Mapping[str, float | None]]]
    agreement: Mapping[str, MapFigures]
    localisation: Mapping[str, MapFigures]
    differences: Mapping[str, Differences]
    best: str | None
    repeated_patients: bool = False
    controls: Differences = field(default_factory=dict)

    @property
    def groups(self) -> tuple[str, ...]:
        """The macro mean and the classes."""
        return (MACRO, *self.classes)


def estimate_grid(
    runs: Grid,
    classes: tuple[str, ...],
    references: Sequence[str],
    *,
    paper_intervals: bool = False,
    selected_on_test: bool = False,
    controls: Mapping[str, str] | None = None,
    resamples: int,
    seed: int,
) -> GridEstimates:
    """Estimate the figures of every experiment.

    Args:
        runs: The finished runs.
        classes: Names of their classes.
        references: Experiments that the others are compared with, where they have runs.
        paper_intervals: Use the intervals of the paper for AUCs, see `SeedResamples`.
        selected_on_test: Whether the test AUC selected the checkpoints.
        controls: The experiment of each one that has a control of gaze. Such a one is compared with its
            experiment alone, with Holm's correction over all of them, and is never the best.
        resamples: Number of resamples of the patient bootstrap.
        seed: Seed of the resamples.
    """
    groups, controls = (MACRO, *classes), controls or {}
    estimates = run_estimates(runs, classes, resamples=resamples, seed=seed)
    plain = {name: by_seed for name, by_seed in estimates.items() if name not in controls}
    auc = {name: [run.auc for run in by_seed.values()] for name, by_seed in estimates.items()}
    if paper_intervals:
        auc = {
            name: [
                aucs(run.test, classes, SeedResamples(run.test.height, seed=seed)) for run in by_seed.values()
            ]
            for name, by_seed in estimates.items()
        }
    localised = {
        name: _map_figures([run.boxes for run in by_seed.values()]) for name, by_seed in estimates.items()
    }
    return GridEstimates(
        classes=classes,
        auc={
            name: {group: over_seeds([by_group[group] for by_group in by_seed], (0, 1)) for group in groups}
            for name, by_seed in auc.items()
        },
        seeds={
            name: {s: run.figures(groups) for s, run in by_seed.items()}
            for name, by_seed in estimates.items()
        },
        agreement={
            name: _map_figures([run.gaze for run in by_seed.values()]) for name, by_seed in estimates.items()
        },
        localisation=localised if any(localised.values()) else {},
        differences={
            reference: _to_reference(plain, reference, groups)
            for reference in references
            if reference in plain
        },
        best=_best(plain, by_test=selected_on_test),
        repeated_patients=any(
            run.test["patient"].n_unique() < run.test.height
            for by_seed in estimates.values()
            for run in by_seed.values()
        ),
        controls=_differences(
            {
                name: _Changes.between(pairs, groups)
                for name, experiment in controls.items()
                if name in estimates and (pairs := _pairs(plain.get(experiment, {}), estimates[name]))
            },
            groups,
        ),
    )


def _best(estimates: Mapping[str, Mapping[int, RunEstimates]], *, by_test: bool) -> str | None:
    means = {
        name: float(
            np.mean([run.auc[MACRO].value if by_test else run.validation for run in by_seed.values()])
        )
        for name, by_seed in estimates.items()
    }
    defined = {name: mean for name, mean in means.items() if np.isfinite(mean)}
    return max(defined, key=lambda name: defined[name]) if defined else None


def _map_figures(runs: Sequence[MapMeans]) -> MapFigures:
    """For each map and metric the mean over cases, and over the seeds that have the map."""
    figures: MapFigures = {}
    for kind, metric in maps_and_metrics(runs):
        estimates = [run.means[kind, metric] for run in runs if (kind, metric) in run.means]
        figures.setdefault(kind, {})[metric] = over_seeds(estimates, _BOUNDS.get(metric, UNBOUNDED))
    return figures


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


def _to_reference(
    estimates: Mapping[str, Mapping[int, RunEstimates]], reference: str, groups: Sequence[str]
) -> Differences:
    """The paired differences of each experiment to the reference.

    Runs are paired by seed where they have the same test cases.
    """
    changes = {
        name: _Changes.between(pairs, groups)
        for name, by_seed in estimates.items()
        if name != reference and (pairs := _pairs(by_seed, estimates[reference]))
    }
    return _differences(changes, groups)


def _differences(changes: Mapping[str, _Changes], groups: Sequence[str]) -> Differences:
    """The paired differences of several experiments, with Holm's correction over them for each figure."""
    differences: Differences = {name: {} for name in changes}
    for figure in (*groups, *HEATMAP_METRICS):
        compared = {name: change for name, change in changes.items() if figure in change.estimates}
        bounds = (-1.0, 1.0) if figure in groups else UNBOUNDED
        largest = 1.0 if figure in groups else float(np.ptp(_BOUNDS[figure]))
        means = {name: over_seeds(change.estimates[figure], bounds) for name, change in compared.items()}
        pooled = [across(change.estimates[figure], bounds) for change in compared.values()]
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
                largest=largest,
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


Pair = tuple[RunEstimates, RunEstimates]


def _pairs(runs: Mapping[int, RunEstimates], references: Mapping[int, RunEstimates]) -> list[Pair]:
    pairs = [(run, references[s]) for s, run in runs.items() if s in references]
    return [(run, other) for run, other in pairs if run.test["case_id"].equals(other.test["case_id"])]


@dataclass(frozen=True)
class _Counts:
    """Numbers of patients of a difference, and of those on whom the two experiments differ for some seed."""

    patients: int
    discordant: int


@dataclass(frozen=True)
class _Changes:
    """The differences of one experiment to a reference, for each seed.

    Attributes:
        estimates: The difference of each figure, for each seed.
        counts: The patients of each figure.
        tested: Test cases of the seed with the fewest patients.
    """

    estimates: Mapping[str, list[Estimate]]
    counts: Mapping[str, _Counts]
    tested: pl.DataFrame

    @classmethod
    def between(cls, pairs: Sequence[Pair], groups: Sequence[str]) -> _Changes:
        """Compare the pairs of runs."""
        classes = [group for group in groups if group != MACRO]
        estimates = {group: [run.auc[group] - other.auc[group] for run, other in pairs] for group in groups}
        for metric in HEATMAP_METRICS:
            changes = [change for run, other in pairs if (change := run.minus(other, metric)) is not None]
            if changes:
                estimates[metric] = changes
        counts = {}
        for figure in estimates:
            cases = pl.concat([run.differing(other, figure, classes) for run, other in pairs])
            discordant = cases.filter(pl.col("differs"))["patient"].n_unique()
            counts[figure] = _Counts(cases["patient"].n_unique(), discordant)
        tested = min((run.test for run, _ in pairs), key=lambda test: test["patient"].n_unique())
        return cls(estimates, counts, tested)
