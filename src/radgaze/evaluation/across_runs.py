"""Estimates over a grid of runs, experiments by seeds, with paired differences between experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError
from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.map_scores import BOXES, GAZE, MapMeans, MapScores, maps_and_metrics
from radgaze.evaluation.metrics import agreement, localisation
from radgaze.evaluation.paired import differing
from radgaze.evaluation.results import MACRO, read_results
from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.evidence import Evidence, bounds_after, too_few_seeds
from radgaze.evaluation.statistics.holm import holm
from radgaze.evaluation.statistics.policy import bootstraps
from radgaze.evaluation.statistics.power import PLANNED, of_difference
from radgaze.evaluation.statistics.resampling import Estimate, Resampling, SeedResamples, number

if TYPE_CHECKING:
    from radgaze.runs.run import Run

HEATMAP_METRICS = ("nss", *localisation.METRICS)
"""Metrics of the heatmap in which experiments are compared."""

UNBOUNDED = (-np.inf, np.inf)

_SETTINGS = ("generator", "target", "heatmap_smoothing", "gaze", "size", "fit", "tolerance")
"""Settings of `evaluate` that the scores of maps depend on."""

_BOUNDS = {name: metric.bounds for name, metric in {**agreement.METRICS, **localisation.METRICS}.items()}

Grid = Mapping[str, Mapping[int, "Run"]]
"""A run for each experiment and seed."""


@dataclass(frozen=True)
class SeedMean(IntervalEstimate):
    """A mean over seeds; without an interval where there are several seeds, but too few for one.

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
        detectable: Least true difference that is found with 80% power; None where there is none.
        detectable_at: Two-sided level of `detectable`; None where the power was not computed.
        detectable_note: Why there is no `detectable` difference.
        needed: What a difference of `PLANNED` would need, as a sentence.
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
        """Why there can be no verdict, whatever the figures; empty where there can be one."""
        if self.patients is None:
            return ""
        return Evidence(self.patients, self.discordant, self.comparisons, self.seeds).lacking


Figures = dict[str, SeedMean]
"""By group (`MACRO` or a class) or metric."""
MapFigures = dict[str, Figures]
"""By map and metric."""
Differences = dict[str, dict[str, Difference]]
"""By experiment and figure: a group (`MACRO` or a class) for the AUC, or one of `HEATMAP_METRICS`."""


@dataclass(frozen=True)
class GridEstimates:
    """Estimates for every experiment that has a finished run.

    Attributes:
        classes: Names of the classes.
        auc: Test AUC of each experiment and group (`MACRO` or a class). The interval covers the drawing of
            cases and, for several seeds, of seeds; or it is the paper's, see `estimate_grid`.
        seeds: For each experiment and seed the test AUC of each group, the macro AUC on the validation cases
            under "validation", and the heatmap's NSS under "nss".
        agreement: For each experiment, map and metric the mean over the cases with gaze.
        localisation: For each experiment, map and metric the mean over the cases with boxes; empty where no
            case has boxes.
        differences: For each reference experiment the paired differences of the others to it. A metric of
            the heatmap is left out where the two did not measure it with the same settings and cases.
        best: The experiment with the highest mean validation AUC; by test AUC where that selected the
            checkpoints; None where none is defined.
        repeated_patients: Whether a patient has more than one test case.
    """

    classes: tuple[str, ...]
    auc: Mapping[str, Figures]
    seeds: Mapping[str, Mapping[int, Mapping[str, float | None]]]
    agreement: Mapping[str, MapFigures]
    localisation: Mapping[str, MapFigures]
    differences: Mapping[str, Differences]
    best: str | None
    repeated_patients: bool = False

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
    resamples: int,
    seed: int,
) -> GridEstimates:
    """Estimate the figures of every experiment, see `GridEstimates`.

    Args:
        runs: The finished runs.
        classes: Their classes.
        references: Experiments that the others are compared with, where they have runs.
        paper_intervals: Use the intervals of the paper for AUCs, see `SeedResamples`.
        selected_on_test: Whether the test AUC selected the checkpoints.
        resamples: Number of resamples of the patient bootstrap.
        seed: Seed of the resamples.
    """
    groups = (MACRO, *classes)
    estimates = _run_estimates(runs, classes, resamples=resamples, seed=seed)
    auc = {name: [run.auc for run in by_seed.values()] for name, by_seed in estimates.items()}
    if paper_intervals:
        auc = {
            name: [
                _aucs(run.test, classes, SeedResamples(run.test.height, seed=seed))
                for run in by_seed.values()
            ]
            for name, by_seed in estimates.items()
        }
    localised = {name: _map_figures([run.boxes for run in of.values()]) for name, of in estimates.items()}
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
            reference: _differences(estimates, reference, groups)
            for reference in references
            if reference in estimates
        },
        best=_best(estimates, by_test=selected_on_test),
        repeated_patients=any(
            run.test["patient"].n_unique() < run.test.height
            for by_seed in estimates.values()
            for run in by_seed.values()
        ),
    )


@dataclass(frozen=True)
class _RunEstimates:
    """Estimates of one run on its test cases; all runs share the resamples of the patients.

    Attributes:
        test: The test predictions.
        auc: AUC of each group, with resamples of the cases.
        validation: Macro AUC on the validation cases.
        gaze: Scores of the maps against gaze.
        boxes: Scores of the maps against boxes.
        settings: Settings that these scores depend on; None where the run was not evaluated.
    """

    test: pl.DataFrame
    auc: Mapping[str, Estimate]
    validation: float
    gaze: MapMeans
    boxes: MapMeans
    settings: tuple[object, ...] | None

    def figures(self, groups: Sequence[str]) -> dict[str, float | None]:
        """The values of one seed, see `GridEstimates.seeds`."""
        nss = self.gaze.means.get(("heatmap", "nss"))
        values = {group: number(self.auc[group].value) for group in groups}
        return values | {"validation": number(self.validation), "nss": number(nss.value) if nss else None}

    def minus(self, other: _RunEstimates, metric: str) -> Estimate | None:
        """The difference of the two heatmaps in a metric; None where their settings or cases differ."""
        if self.settings != other.settings:
            return None
        return self._maps(metric).minus(other._maps(metric), metric)

    def differing(self, other: _RunEstimates, figure: str, classes: Sequence[str]) -> pl.DataFrame:
        """The cases on which the difference of a figure is defined: `patient`, and whether it `differs`."""
        if figure not in HEATMAP_METRICS:
            differs = differing(self.test, other.test, "auc", figure, classes)
            return self.test.select("patient", differs=pl.Series(differs, dtype=pl.Boolean))
        maps = self._maps(figure)
        gains = maps.gains(other._maps(figure), figure)
        if gains is None:
            return pl.DataFrame(schema={"patient": self.test.schema["patient"], "differs": pl.Boolean})
        cases = maps.cases.select("patient", differs=pl.Series(gains != 0, dtype=pl.Boolean))
        return cases.filter(pl.Series(np.isfinite(gains), dtype=pl.Boolean))

    def _maps(self, metric: str) -> MapMeans:
        return self.boxes if metric in BOXES.metrics else self.gaze


@dataclass(frozen=True)
class _NoResamples:
    """A resampling without resamples, for the value alone."""

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        yield from ()


def _run_estimates(
    runs: Grid, classes: Sequence[str], *, resamples: int, seed: int
) -> dict[str, dict[int, _RunEstimates]]:
    """Estimates of each experiment and seed, on resamples of the patients that all runs share."""
    keys = [(name, s) for name, by_seed in runs.items() for s in sorted(by_seed)]
    predictions = [runs[name][s].predictions() for name, s in keys]
    tests = [table.filter(pl.col("split") == "test") for table in predictions]
    paths = [runs[name][s].path for name, s in keys]
    gaze, boxes = (
        [MapScores.read(reference, path, test) for path, test in zip(paths, tests, strict=True)]
        for reference in (GAZE, BOXES)
    )
    test_draws, gaze_draws, box_draws = (
        bootstraps(tables, classes, resamples=resamples, seed=seed)
        for tables in (tests, [scores.cases for scores in gaze], [scores.cases for scores in boxes])
    )
    estimates: dict[str, dict[int, _RunEstimates]] = {name: {} for name in runs}
    for place, (name, s) in enumerate(keys):
        validation = predictions[place].filter(pl.col("split") == "validate")
        estimates[name][s] = _RunEstimates(
            test=tests[place],
            auc=_aucs(tests[place], classes, test_draws[place]),
            validation=_aucs(validation, classes, _NoResamples())[MACRO].value,
            gaze=gaze[place].resampled(gaze_draws[place]),
            boxes=boxes[place].resampled(box_draws[place]),
            settings=_settings(runs[name][s]),
        )
    return estimates


def _aucs(cases: pl.DataFrame, classes: Sequence[str], draws: Resampling) -> dict[str, Estimate]:
    estimates = class_estimates(cases, classes, draws, ("auc",))
    return {group: estimate for (_, group), estimate in estimates.items()}


def _settings(run: Run) -> tuple[object, ...] | None:
    try:
        settings = read_results(run.path).settings
    except UserError:
        return None
    return tuple(getattr(settings, name) for name in _SETTINGS)


def _best(estimates: Mapping[str, Mapping[int, _RunEstimates]], *, by_test: bool) -> str | None:
    means = {
        name: float(np.mean([run.auc[MACRO].value if by_test else run.validation for run in of.values()]))
        for name, of in estimates.items()
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
    """The mean over seeds, see `across`.

    Args:
        estimates: An estimate for each seed.
        bounds: Least and largest value of the figure; the interval is cut there.
    """
    seeds = sum(bool(np.isfinite(estimate.value)) for estimate in estimates)
    mean = across(estimates, bounds)
    value = number(mean.value)
    if value is None or too_few_seeds(seeds):
        return SeedMean(value, seeds=seeds)
    low, high = np.clip(mean.interval, *bounds)
    return SeedMean(value, number(low), number(high), seeds=seeds)


def _differences(
    estimates: Mapping[str, Mapping[int, _RunEstimates]], reference: str, groups: Sequence[str]
) -> Differences:
    """The paired differences of each experiment to the reference.

    Runs are paired by seed, where they have the same test cases. Holm's correction is over the experiments,
    for each figure by itself.
    """
    changes = {
        name: _Changes.between(pairs, groups)
        for name, by_seed in estimates.items()
        if name != reference and (pairs := _pairs(by_seed, estimates[reference]))
    }
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


Pair = tuple[_RunEstimates, _RunEstimates]


def _pairs(runs: Mapping[int, _RunEstimates], references: Mapping[int, _RunEstimates]) -> list[Pair]:
    pairs = [(run, references[s]) for s, run in runs.items() if s in references]
    return [(run, other) for run, other in pairs if run.test["case_id"].equals(other.test["case_id"])]


@dataclass(frozen=True)
class _Counts:
    """The patients of a difference, and those of them on whom the two experiments differ in some seed."""

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
