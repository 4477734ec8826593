"""Estimates of each run on its test cases; all runs share the resamples of the patients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.errors import UserError
from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.map_scores import BOXES, GAZE, MapMeans, MapScores
from radgaze.evaluation.metrics import localisation
from radgaze.evaluation.metrics.multilabel import averaged
from radgaze.evaluation.paired import differing
from radgaze.evaluation.reliance_scores import reliance_scores
from radgaze.evaluation.results import MACRO, read_results
from radgaze.evaluation.statistics.policy import bootstraps
from radgaze.evaluation.statistics.resampling import Estimate, PaperResamples, Resampling, number
from radgaze.runs.origin import read as read_origin

if TYPE_CHECKING:
    from radgaze.runs.run import Run

HEATMAP_METRICS = ("nss", *localisation.METRICS)
"""Metrics of the heatmap in which experiments are compared."""

_CASES = ("cases", "patients", "labels")
"""Parts of `origin.PARTS` that say which cases a store has."""

_SETTINGS = ("generator", "target", "heatmap_smoothing", "case_gaze", "size", "fit", "tolerance")
"""Settings of an evaluation that the scores of maps depend on."""

Grid = Mapping[str, Mapping[int, "Run"]]
"""A run for each experiment and seed."""


@dataclass(frozen=True)
class RunEstimates:
    """Estimates of one run on its test cases; all runs share the resamples of the patients.

    Attributes:
        test: The test predictions.
        auc: AUC of each group, with resamples of the cases.
        validation: Macro AUC on the validation cases.
        gaze: Scores of the maps against gaze.
        boxes: Scores of the maps against boxes.
        reliance: Reliance on each confounder, which stands in place of a map.
        settings: Settings that these scores depend on; None where the run was not evaluated.
        exclusive: Whether the run's classes are exclusive, see `averaged`.
    """

    test: pl.DataFrame
    auc: Mapping[str, Estimate]
    validation: float
    gaze: MapMeans
    boxes: MapMeans
    reliance: MapMeans
    settings: tuple[object, ...] | None
    exclusive: bool | None = None

    def figures(self, groups: Sequence[str]) -> dict[str, float | None]:
        """Return the values of one seed, see `GridEstimates.seeds`."""
        nss = self.gaze.means.get(("heatmap", "nss"))
        values = {group: number(self.auc[group].value) for group in groups}
        return values | {"validation": number(self.validation), "nss": number(nss.value) if nss else None}

    def auc_of_paper(self, classes: Sequence[str], seed: int) -> dict[str, Estimate]:
        """Estimate the AUC of each group on the resamples of the paper, see `PaperResamples`."""
        draws = PaperResamples(self.test.height, seed=seed)
        return aucs(self.test, classes, draws, exclusive=self.exclusive)

    def minus(self, other: RunEstimates, metric: str) -> Estimate | None:
        """Estimate the difference of the two heatmaps in a metric; None where settings or cases differ."""
        if self.settings != other.settings:
            return None
        return self._maps(metric).minus(other._maps(metric), metric)

    def differing(self, other: RunEstimates, figure: str, classes: Sequence[str]) -> pl.DataFrame:
        """Return the cases on which the difference of a figure is defined.

        Args:
            other: Estimates of the other run.
            figure: A group (`MACRO` or a class) for the AUC, or one of `HEATMAP_METRICS`.
            classes: Names of the classes.

        Returns:
            A row for each case: its `patient`, and `differs`, whether the two runs differ on it.
        """
        if figure not in HEATMAP_METRICS:
            is_macro = figure == MACRO
            members = averaged(self.test, classes, exclusive=self.exclusive) if is_macro else (figure,)
            differs = differing(self.test, other.test, "auc", members)
            return self.test.select("patient", differs=pl.Series(differs, dtype=pl.Boolean))
        maps = self._maps(figure)
        gains = maps.gains(other._maps(figure), figure)
        if gains is None:
            return pl.DataFrame(schema={"patient": self.test.schema["patient"], "differs": pl.Boolean})
        cases = maps.cases.select("patient", differs=pl.Series(gains != 0, dtype=pl.Boolean))
        return cases.filter(pl.Series(np.isfinite(gains), dtype=pl.Boolean))

    def has_cases_of(self, other: RunEstimates) -> bool:
        """Return whether both runs were tested on the same cases."""
        return self.test["case_id"].equals(other.test["case_id"])

    def _maps(self, metric: str) -> MapMeans:
        return self.boxes if metric in BOXES.metrics else self.gaze


Pair = tuple[RunEstimates, RunEstimates]
"""Two runs with the same seed and test cases."""


def pairs_to(estimates: Mapping[str, Mapping[int, RunEstimates]], reference: str) -> dict[str, list[Pair]]:
    """Pair the runs of each other experiment with those of a reference, where there are such pairs."""
    return {
        name: pairs
        for name, by_seed in estimates.items()
        if name != reference and (pairs := _pairs(by_seed, estimates[reference]))
    }


def pairs_of_controls(
    estimates: Mapping[str, Mapping[int, RunEstimates]], controls: Mapping[str, str]
) -> dict[str, list[Pair]]:
    """Pair the runs with the gaze of each case with those of each control, where there are such pairs.

    Args:
        estimates: Estimates of the runs.
        controls: The experiment of each one that has a control.
    """
    return {
        name: pairs
        for name, experiment in controls.items()
        if name in estimates and (pairs := _pairs(estimates.get(experiment, {}), estimates[name]))
    }


def _pairs(runs: Mapping[int, RunEstimates], references: Mapping[int, RunEstimates]) -> list[Pair]:
    pairs = [(run, references[s]) for s, run in runs.items() if s in references]
    return [(run, other) for run, other in pairs if run.has_cases_of(other)]


@dataclass(frozen=True)
class _NoResamples:
    """A resampling without resamples, for the value alone."""

    def chunks(self) -> Iterator[NDArray[np.float64]]:
        yield from ()


def run_estimates(
    runs: Grid, classes: Sequence[str], *, resamples: int, seed: int
) -> dict[str, dict[int, RunEstimates]]:
    """Estimate the figures of each experiment and seed, on resamples of the patients that all runs share.

    Args:
        runs: The finished runs.
        classes: Names of their classes.
        resamples: Number of resamples of the patient bootstrap.
        seed: Seed of the resamples.
    """
    keys = [(name, s) for name, by_seed in runs.items() for s in sorted(by_seed)]
    predictions = with_own_patients([runs[name][s] for name, s in keys])
    tests = [table.filter(pl.col("split") == "test") for table in predictions]
    paths = [runs[name][s].path for name, s in keys]
    gaze, boxes = (
        [MapScores.read(reference, path, test) for path, test in zip(paths, tests, strict=True)]
        for reference in (GAZE, BOXES)
    )
    twins = [reliance_scores(path, test) for path, test in zip(paths, tests, strict=True)]
    test_draws, gaze_draws, box_draws, twin_draws = (
        bootstraps([distinct(table) for table in tables], strata, resamples=resamples, seed=seed)
        for tables, strata in (
            (tests, classes),
            *(([each.cases for each in scores], ()) for scores in (gaze, boxes, twins)),
        )
    )
    estimates: dict[str, dict[int, RunEstimates]] = {name: {} for name in runs}
    for place, (name, s) in enumerate(keys):
        validation = predictions[place].filter(pl.col("split") == "validate")
        exclusive = runs[name][s].exclusive
        estimates[name][s] = RunEstimates(
            test=tests[place],
            auc=aucs(tests[place], classes, test_draws[place], exclusive=exclusive),
            validation=aucs(validation, classes, _NoResamples(), exclusive=exclusive)[MACRO].value,
            gaze=gaze[place].resampled(gaze_draws[place]),
            boxes=boxes[place].resampled(box_draws[place]),
            reliance=twins[place].resampled(twin_draws[place]),
            settings=_settings(runs[name][s]),
            exclusive=exclusive,
        )
    return estimates


def with_own_patients(runs: Sequence[Run]) -> list[pl.DataFrame]:
    """Read the predictions of runs, with patients numbered apart where runs are of different stores.

    Each store numbers its patients from 0. Two runs are of one store where they recorded the same cases,
    patients and labels, whatever its images, or where neither recorded them.
    """
    first: dict[tuple[str, ...], int] = {}
    tables, free = [], 0
    for run in runs:
        table, origin = run.predictions(), read_origin(run.path)
        key = () if origin is None else tuple(origin.contents[part] for part in _CASES)
        start = first.setdefault(key, free)
        free = max(free, start + int(table["patient"].max() or 0) + 1)  # type: ignore[arg-type]  # integers
        tables.append(table.with_columns(pl.col("patient") + start) if start else table)
    return tables


def distinct(cases: pl.DataFrame) -> pl.DataFrame:
    """Put the patient before the id of each case, since two stores may give the same id to two cases."""
    return cases.with_columns(case_id=pl.format("{} {}", "patient", "case_id"))


def aucs(
    cases: pl.DataFrame, classes: Sequence[str], draws: Resampling, *, exclusive: bool | None = None
) -> dict[str, Estimate]:
    """Estimate the AUC of each class and of the macro mean (`MACRO`), by group, on resamples of the cases."""
    estimates = class_estimates(cases, classes, draws, ("auc",), exclusive=exclusive)
    return {group: estimate for (_, group), estimate in estimates.items()}


def _settings(run: Run) -> tuple[object, ...] | None:
    try:
        settings = read_results(run.path).settings
    except UserError:
        return None
    return tuple(getattr(settings, name) for name in _SETTINGS)
