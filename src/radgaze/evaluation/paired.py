"""Estimates of several runs on the same cases, and their paired differences to the first run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.comparison_rows import EstimateRow, PairedRow, Rows
from radgaze.evaluation.metrics import classification, reliance
from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.metrics.multilabel import averaged
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.scoring import MAPS, OF_A_RUN
from radgaze.evaluation.statistics.case_means import means
from radgaze.evaluation.statistics.delong import delong_test, placements
from radgaze.evaluation.statistics.evidence import bounds_after
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.evaluation.statistics.power_analysis import PLANNED, of_difference
from radgaze.evaluation.statistics.resampling import Estimate, Resampling, number

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

CLASS_METRICS = ("auc", "average_precision", "brier")
"""Metrics of predictions in which runs are compared."""


@dataclass(frozen=True)
class Figure:
    """A figure in which runs are compared.

    Attributes:
        metric: Name of the metric.
        map: Name of the map; None for a metric of predictions.
        group: A class or `MACRO`, or a confounder; None for a metric of maps.
    """

    metric: str
    map: str | None = None
    group: str | None = None

    @property
    def bounds(self) -> tuple[float, float]:
        """Range of the figure."""
        return self._described.bounds

    @property
    def higher_is_better(self) -> bool | None:
        """Direction of the figure; None where neither is better."""
        return self._described.higher_is_better if self._described.directed else None

    @property
    def _described(self) -> Metric:
        metrics: dict[str, Metric] = {**METRICS, **classification.METRICS, **reliance.METRICS}
        return metrics[self.metric]

    def row(self, run: str, estimate: Estimate) -> EstimateRow:
        """Return the row of a run's estimate."""
        entry = estimate.summary(self.bounds)
        return EstimateRow(run, self.metric, self.map, self.group, entry.value, entry.low, entry.high)


@dataclass(frozen=True)
class Change:
    """Difference of a figure between a run and the reference.

    Attributes:
        run: Name of the run.
        estimate: The difference.
        patients: Number of patients on whose cases it is defined.
        discordant: Number of patients on whose cases the two runs differ.
        p_delong: P-value of DeLong's test; None for figures that are not AUCs.
    """

    run: str
    estimate: Estimate
    patients: int
    discordant: int
    p_delong: float | None = None


def compare_predictions(
    names: Sequence[str],
    tables: Sequence[pl.DataFrame],
    classes: Sequence[str],
    stratified: Resampling,
    resampling: Resampling,
    *,
    exclusive: bool | None = None,
) -> Rows:
    """Compare AUC, average precision and Brier score, for the macro mean and each class.

    Args:
        names: Names of the runs, the reference first.
        tables: Predictions of each run, of the same cases in the same order.
        classes: Names of the classes.
        stratified: Resampling of the cases within their classes, for metrics of their order.
        resampling: Resampling of the cases, for means over them.
        exclusive: Whether the classes are exclusive, see `averaged`.
    """
    of_order, of_means = (
        [name for name in CLASS_METRICS if name in kind]
        for kind in (classification.OF_ORDER, classification.OF_MEANS)
    )
    by_run = [
        class_estimates(table, classes, stratified, of_order, exclusive=exclusive)
        | class_estimates(table, classes, resampling, of_means, exclusive=exclusive)
        for table in tables
    ]
    rows, reference = Rows(), tables[0]
    alone: dict[str, tuple[str, ...]] = {name: (name,) for name in classes}
    members = alone | {MACRO: averaged(reference, classes, exclusive=exclusive)}
    for metric in CLASS_METRICS:
        for group in (MACRO, *classes):
            figure = Figure(metric, group=group)
            estimates = [of_run[metric, group] for of_run in by_run]
            changes = [
                Change(
                    name,
                    estimate - estimates[0],
                    reference["patient"].n_unique(),
                    patients_of(reference, differing(table, reference, metric, members[group])),
                    _delong(table, reference, members[group]) if metric == "auc" else None,
                )
                for name, table, estimate in zip(names[1:], tables[1:], estimates[1:], strict=True)
            ]
            rows += Rows(
                tuple(figure.row(name, each) for name, each in zip(names, estimates, strict=True)),
                _paired_rows(figure, names[0], changes, reference),
            )
    return rows


def compare_agreement(
    names: Sequence[str], tables: Sequence[pl.DataFrame], cases: pl.DataFrame, resampling: Resampling
) -> Rows:
    """Compare the agreement with gaze of each map of the runs.

    A difference is the mean of the differences over the cases on which both are defined.

    Args:
        names: Names of the runs, the reference first.
        tables: Agreement table of each run.
        cases: The cases with gaze.
        resampling: Resampling of these cases.
    """
    values = _agreement_values(names, tables, cases)
    patients = cases["patient"].to_numpy()
    estimates = tuple(
        Figure(metric, map=kind).row(name, estimate)
        for (name, kind, metric), estimate in means(values, patients, resampling).items()
    )
    differences: list[PairedRow] = []
    for kind in OF_A_RUN:
        if (names[0], kind, "nss") not in values:
            continue
        others = [name for name in names[1:] if (name, kind, "nss") in values]
        for metric in METRICS:
            reference = values[names[0], kind, metric]
            changed = {name: values[name, kind, metric] - reference for name in others}
            changes = []
            for name, estimate in means(changed, patients, resampling).items():
                is_defined = np.isfinite(changed[name])
                defined = cases.filter(pl.Series(is_defined))
                differ = patients_of(defined, changed[name][is_defined] != 0)
                changes.append(Change(name, estimate, defined["patient"].n_unique(), differ))
            differences += _paired_rows(Figure(metric, map=kind), names[0], changes, cases)
    return Rows(estimates, tuple(differences))


def compare_reliance(
    names: Sequence[str], tables: Sequence[pl.DataFrame], resampling: Callable[[pl.DataFrame], Resampling]
) -> Rows:
    """Compare the reliance of the runs on each confounder.

    Args:
        names: Names of the runs, the reference first.
        tables: Table of the reliance of each run, with the same rows.
        resampling: Function that makes the resampling of some cases.
    """
    rows = Rows()
    for (confounder,), cases in tables[0].group_by("confounder", maintain_order=True):
        of_runs = [table.filter(confounder=confounder) for table in tables]
        patients, drawn = cases["patient"].to_numpy(), resampling(cases)
        for metric in reliance.METRICS:
            figure = Figure(metric, group=str(confounder))
            values = [table[metric].cast(pl.Float64).to_numpy() for table in of_runs]
            estimates = means(dict(zip(names, values, strict=True)), patients, drawn)
            changed = {name: each - values[0] for name, each in zip(names[1:], values[1:], strict=True)}
            changes = [
                Change(name, estimate, estimate.patients, estimate.discordant)
                for name, estimate in means(changed, patients, drawn).items()
            ]
            rows += Rows(
                tuple(figure.row(name, estimate) for name, estimate in estimates.items()),
                _paired_rows(figure, names[0], changes, cases),
            )
    return rows


def differing(table: pl.DataFrame, reference: pl.DataFrame, metric: str, classes: Sequence[str]) -> Booleans:
    """Find the cases on which two runs differ in a metric of predictions.

    For the Brier score these are the cases whose probability differs. AUC and average precision depend only
    on how the cases with and without a class are ordered relative to each other: there, a case's rank among
    the cases of the other group must differ as well.

    Args:
        table: Predictions of one run.
        reference: Predictions of the other run, of the same cases in the same order.
        metric: One of `CLASS_METRICS`.
        classes: A class, or those that a macro mean is over.

    Returns:
        Whether the runs differ on a case, of shape (n,).
    """
    is_different = np.zeros(table.height, dtype=bool)
    for name in classes:
        scores = np.stack([t[f"probability_{name}"].cast(pl.Float64).to_numpy() for t in (table, reference)])
        of_class = scores[0] != scores[1]
        if metric != "brier":
            first, second = placements(reference[f"label_{name}"].to_numpy(), scores)
            of_class &= ~np.isclose(first, second, rtol=0, atol=1e-9)
        is_different |= of_class
    return is_different


def patients_of(cases: pl.DataFrame, chosen: Booleans) -> int:
    """Count the patients who have at least one of the chosen cases.

    Args:
        cases: Cases with a column `patient`.
        chosen: Whether a case is chosen, of shape (n,).
    """
    return cases.filter(pl.Series(chosen, dtype=pl.Boolean))["patient"].n_unique()


def _agreement_values(
    names: Sequence[str], tables: Sequence[pl.DataFrame], cases: pl.DataFrame
) -> Mapping[tuple[str, str, str], Floats]:
    """Figures of shape (n,) by run, map and metric, in the order of the cases."""
    values: dict[tuple[str, str, str], Floats] = {}
    for name, table in zip(names, tables, strict=True):
        for kind in MAPS:
            rows = table.filter(pl.col("map") == kind)
            if rows.height:
                rows = cases.select("case_id").join(rows, on="case_id", how="left", maintain_order="left")
                values |= {(name, kind, m): rows[m].to_numpy().astype(np.float64) for m in METRICS}
    return values


def _delong(table: pl.DataFrame, reference: pl.DataFrame, classes: Sequence[str]) -> float | None:
    labels = reference.select([f"label_{c}" for c in classes]).to_numpy().T
    a, b = (t.select([f"probability_{c}" for c in classes]).to_numpy().T for t in (table, reference))
    return number(delong_test(labels, a, b, reference["patient"]).p)


def _paired_rows(
    figure: Figure, reference: str, changes: Sequence[Change], cases: pl.DataFrame
) -> tuple[PairedRow, ...]:
    """Rows of one figure, with Holm's correction over the runs."""
    p_bootstrap = [number(change.estimate.p) for change in changes]
    p_delong = [change.p_delong for change in changes]
    at_floor = [change.estimate.p_is_bound for change in changes]
    comparisons = sum(value is not None for value in p_bootstrap)
    largest = float(np.ptp(figure.bounds))
    corrected = zip(holm(p_bootstrap), holm(p_delong), bounds_after(holm, p_bootstrap, at_floor), strict=True)
    rows = []
    for change, p, adjusted in zip(changes, p_bootstrap, corrected, strict=True):
        entry = change.estimate.summary((-largest, largest))
        power = of_difference(
            [change.estimate],
            patients=cases["patient"].n_unique(),
            cases=cases.height,
            comparisons=comparisons,
            largest=largest,
        ).summary(PLANNED if (figure.metric, figure.group) == ("auc", MACRO) else None)
        rows.append(
            PairedRow(
                run=change.run,
                reference=reference,
                metric=figure.metric,
                map=figure.map,
                group=figure.group,
                difference=entry.value,
                low=entry.low,
                high=entry.high,
                p_bootstrap=p,
                p_delong=change.p_delong,
                p_bootstrap_holm=adjusted[0],
                p_delong_holm=adjusted[1],
                higher_is_better=figure.higher_is_better,
                detectable=power.detectable,
                detectable_at=power.detectable_at,
                detectable_note=power.detectable_note,
                needed=power.needed,
                patients=change.patients,
                discordant=change.discordant,
                comparisons=comparisons,
                p_bootstrap_is_bound=change.estimate.p_is_bound,
                p_bootstrap_holm_is_bound=adjusted[2],
            )
        )
    return tuple(rows)
