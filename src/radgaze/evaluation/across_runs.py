"""Estimates over a grid of runs, experiments by seeds, with paired differences between experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from radgaze.evaluation.grid_reliance import GridReliance, reliance_of_grid
from radgaze.evaluation.map_scores import MapMeans, maps_and_metrics
from radgaze.evaluation.metrics import agreement, localisation
from radgaze.evaluation.metrics.binary import positive_class
from radgaze.evaluation.per_run import (
    HEATMAP_METRICS,
    Grid,
    Pair,
    RunEstimates,
    pairs_of_controls,
    pairs_to,
    run_estimates,
)
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.seed_differences import UNBOUNDED as UNBOUNDED
from radgaze.evaluation.seed_differences import (
    Changes,
    Counts,
    Scale,
    over_seeds,
    paired_differences,
)
from radgaze.evaluation.seed_differences import Difference as Difference
from radgaze.evaluation.seed_differences import Differences as Differences
from radgaze.evaluation.seed_differences import SeedMean as SeedMean

_BOUNDS = {name: metric.bounds for name, metric in {**agreement.METRICS, **localisation.METRICS}.items()}

Figures = dict[str, SeedMean]
"""Means by group (`MACRO` or a class) or metric."""
MapFigures = dict[str, Figures]
"""Means by map and metric."""


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
        reliance: Reliance on the confounders of the twins of test cases; without any where there are no
            twins.
        positive: The positive one of two classes that exclude each other, whose AUC, the other's and the
            macro mean are equal; None for other classes.
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
    reliance: GridReliance = field(default_factory=GridReliance)
    positive: str | None = None

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups whose figures are shown: the macro mean, and the classes unless the mean is theirs."""
        return (MACRO, *self.classes) if self.positive is None else (MACRO,)

    @property
    def shown_classes(self) -> tuple[str, ...]:
        """Classes of which there is a curve: of two that exclude each other, the positive one."""
        return self.classes if self.positive is None else (self.positive,)


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
        paper_intervals: Use the intervals of the paper for AUCs, see `PaperResamples`.
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
            name: [run.auc_of_paper(classes, seed) for run in by_seed.values()]
            for name, by_seed in estimates.items()
        }
    controlled = pairs_of_controls(estimates, controls)
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
            reference: _compared(pairs_to(plain, reference), groups)
            for reference in references
            if reference in plain
        },
        best=_best(plain, by_test=selected_on_test),
        repeated_patients=any(
            run.test["patient"].n_unique() < run.test.height
            for by_seed in estimates.values()
            for run in by_seed.values()
        ),
        controls=_compared(controlled, groups),
        reliance=reliance_of_grid(
            estimates,
            {reference: pairs_to(plain, reference) for reference in references if reference in plain},
            controlled,
        ),
        positive=_positive(estimates, classes),
    )


def _positive(estimates: Mapping[str, Mapping[int, RunEstimates]], classes: Sequence[str]) -> str | None:
    """The positive one of two classes; None where some run's probabilities do not add up to 1."""
    positives = {
        positive_class(run.test, classes) for by_seed in estimates.values() for run in by_seed.values()
    }
    return positives.pop() if len(positives) == 1 else None


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


def _compared(pairs: Mapping[str, Sequence[Pair]], groups: Sequence[str]) -> Differences:
    """The paired differences of AUCs and heatmaps, with Holm's correction over the experiments."""
    scales = {group: Scale((-1.0, 1.0), 1.0) for group in groups}
    scales |= {metric: Scale(UNBOUNDED, float(np.ptp(_BOUNDS[metric]))) for metric in HEATMAP_METRICS}
    return paired_differences({name: _changes(each, groups) for name, each in pairs.items()}, scales)


def _changes(pairs: Sequence[Pair], groups: Sequence[str]) -> Changes:
    """The differences of pairs of runs, one pair for each seed."""
    classes = [group for group in groups if group != MACRO]
    estimates = {group: [run.auc[group] - other.auc[group] for run, other in pairs] for group in groups}
    for metric in HEATMAP_METRICS:
        changes = [change for run, other in pairs if (change := run.minus(other, metric)) is not None]
        if changes:
            estimates[metric] = changes
    counts = {
        figure: Counts.of([run.differing(other, figure, classes) for run, other in pairs])
        for figure in estimates
    }
    tested = min((run.test for run, _ in pairs), key=lambda test: test["patient"].n_unique())
    return Changes(estimates, counts, tested)
