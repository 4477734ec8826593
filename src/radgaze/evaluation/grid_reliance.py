"""Reliance on confounders over a grid of runs, with paired differences between experiments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from radgaze.evaluation.metrics.reliance import METRICS
from radgaze.evaluation.per_run import Pair, RunEstimates
from radgaze.evaluation.seed_differences import (
    Changes,
    Counts,
    Differences,
    Scale,
    SeedMean,
    over_seeds,
    paired_differences,
)

_SCALES = {
    name: Scale((metric.bounds[0] - metric.bounds[1], metric.bounds[1] - metric.bounds[0]), largest)
    for name, metric in METRICS.items()
    for largest in [float(np.ptp(metric.bounds))]
}


@dataclass(frozen=True)
class GridReliance:
    """Reliance of every experiment, by confounder.

    Attributes:
        means: For each confounder, experiment and metric the mean over test cases and seeds.
        differences: For each confounder and reference experiment the paired differences of the other
            experiments to it.
        controls: For each confounder and experiment with a control of gaze, the paired difference of the
            experiment with the gaze of each case to it.
    """

    means: Mapping[str, Mapping[str, Mapping[str, SeedMean]]] = field(default_factory=dict)
    differences: Mapping[str, Mapping[str, Differences]] = field(default_factory=dict)
    controls: Mapping[str, Differences] = field(default_factory=dict)


def reliance_of_grid(
    estimates: Mapping[str, Mapping[int, RunEstimates]],
    to_references: Mapping[str, Mapping[str, Sequence[Pair]]],
    controlled: Mapping[str, Sequence[Pair]],
) -> GridReliance:
    """Estimate the reliance of every experiment, with intervals for the sampling of cases and of seeds.

    Args:
        estimates: Estimates of the runs of each experiment.
        to_references: For each reference the pairs of runs of each other experiment.
        controlled: For each control the pairs of runs with the gaze of each case, and with the control.
    """
    runs = [run for by_seed in estimates.values() for run in by_seed.values()]
    confounders = sorted({confounder for run in runs for confounder, _ in run.reliance.means})
    return GridReliance(
        means={
            confounder: {
                name: figures
                for name, by_seed in estimates.items()
                if (figures := _over_seeds([*by_seed.values()], confounder))
            }
            for confounder in confounders
        },
        differences={
            confounder: {
                reference: _compared(pairs, confounder) for reference, pairs in to_references.items()
            }
            for confounder in confounders
        },
        controls={confounder: _compared(controlled, confounder) for confounder in confounders},
    )


def _over_seeds(runs: Sequence[RunEstimates], confounder: str) -> dict[str, SeedMean]:
    measured = [run.reliance.means for run in runs if (confounder, "reliance") in run.reliance.means]
    if not measured:
        return {}
    return {
        name: over_seeds([means[confounder, name] for means in measured], metric.bounds)
        for name, metric in METRICS.items()
    }


def _compared(pairs: Mapping[str, Sequence[Pair]], confounder: str) -> Differences:
    changes = {name: _changes(each, confounder) for name, each in pairs.items()}
    return paired_differences({name: each for name, each in changes.items() if each.estimates}, _SCALES)


def _changes(pairs: Sequence[Pair], confounder: str) -> Changes:
    """The differences of pairs of runs, one pair for each seed, where both have the same twins."""
    measured = [
        (run.reliance, other.reliance)
        for run, other in pairs
        if run.reliance.gains(other.reliance, "reliance", confounder) is not None
    ]
    estimates, counts = {}, {}
    for metric in METRICS if measured else ():
        differences = [run.minus(other, metric, confounder) for run, other in measured]
        estimates[metric] = [each for each in differences if each is not None]
        differs = [
            run.cases.select("patient", gain=pl.Series(run.gains(other, metric, confounder)))
            .filter(pl.col("gain").is_not_nan())
            .select("patient", differs=pl.col("gain") != 0)
            for run, other in measured
        ]
        counts[metric] = Counts.of(differs)
    cases = [run.cases for run, _ in measured] or [pl.DataFrame({"patient": []})]
    return Changes(estimates, counts, min(cases, key=lambda each: each["patient"].n_unique()))
