"""Predictions and agreement of one split as the plain values of metrics.json, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation import baselines
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics import agreement, calibration, discrimination, localisation, multilabel
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.results import MACRO as MACRO
from radgaze.evaluation.results import Maps, SplitResults
from radgaze.evaluation.statistics.auc_interval import auc_interval, placed
from radgaze.evaluation.statistics.means import means
from radgaze.evaluation.statistics.resampling import (
    Estimate,
    Resampling,
    Statistic,
    estimates,
    of_patients,
)

SPECIFICITY = 0.9
OF_A_RUN = ("heatmap", "heatmap_raw", "grad_cam", "mask")
"""Maps of a run; the floors beside them are the same for every run."""
MAPS = (*OF_A_RUN, *baselines.evaluated())

_MAP_METRICS: dict[str, Metric] = {**agreement.METRICS, **localisation.METRICS}

_OF_A_CLASS: dict[str, Callable[..., NDArray[np.float64]]] = {
    "auc": discrimination.auc,
    "average_precision": discrimination.average_precision,
    "sensitivity_at_specificity": partial(discrimination.sensitivity_at_specificity, specificity=SPECIFICITY),
    "brier": calibration.brier,
    "calibration_error": calibration.calibration_error,
}


def score(
    predictions: pl.DataFrame,
    classes: Sequence[str],
    resampling: Resampling,
    metrics: Sequence[str] = tuple(_OF_A_CLASS),
    *,
    interval: str = "delong",
) -> dict[tuple[str, str], Estimate]:
    """Each metric of each class, one against the rest, and of the macro mean, by (metric, class or "macro").

    The macro mean is over `multilabel.averaged` classes, and undefined where one of these is: leaving a class
    out of some resamples would change what is averaged.

    Args:
        predictions: One row per case: `patient`, `probability_<class>` and `label_<class>`.
        classes: The classes.
        resampling: How the cases are drawn again.
        metrics: Which of the metrics of a class.
        interval: Of AUCs where patients are drawn: "delong" (`auc_interval`), or the percentiles of the
            "bootstrap". All else has percentiles.
    """
    statistics: dict[tuple[str, str], Statistic] = {}
    for name in classes:
        labels = predictions[f"label_{name}"].to_numpy()
        scores = predictions[f"probability_{name}"].to_numpy()
        for metric in metrics:
            statistics[metric, name] = partial(_OF_A_CLASS[metric], labels, scores)
    found = estimates(statistics, predictions.height, resampling)
    of_mean = multilabel.averaged(predictions, classes)
    for metric in metrics:
        of_classes = [found[metric, name] for name in of_mean]
        found[metric, MACRO] = Estimate(
            float(np.mean([e.value for e in of_classes])), np.mean([e.resampled for e in of_classes], axis=0)
        )
    if "auc" in metrics and interval == "delong" and of_patients(resampling):
        stated = auc_intervals(predictions, classes)
        found |= {("auc", g): replace(found["auc", g], stated=stated[g]) for g in (MACRO, *classes)}
    return found


def auc_intervals(predictions: pl.DataFrame, classes: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Of each class and of "macro", as `auc_interval` finds them; see `score`."""
    who = predictions["patient"].to_numpy()
    of = {c: placed(predictions[f"label_{c}"], predictions[f"probability_{c}"], who) for c in classes}
    found = {name: auc_interval([one]) for name, one in of.items()}
    return found | {MACRO: auc_interval([of[name] for name in multilabel.averaged(predictions, classes)])}


def discrimination_summary(
    predictions: pl.DataFrame,
    classes: Sequence[str],
    resampling: Resampling,
    seed_resamples: Resampling,
    *,
    exclusive: bool = True,
    interval: str = "delong",
) -> SplitResults:
    """The results of the predictions of some cases."""
    found = score(predictions, classes, resampling, interval=interval)
    of_paper = score(predictions, classes, seed_resamples, metrics=("auc",))
    groups = (MACRO, *classes)
    by_metric = {m: {g: _entry(found[m, g]) for g in groups} for m in _OF_A_CLASS}
    labels = predictions.select([f"label_{name}" for name in classes]).to_numpy()
    scores = predictions.select([f"probability_{name}" for name in classes]).to_numpy()
    patients = predictions["patient"].to_numpy()
    accuracy, exact_match, not_averaged = None, None, None
    if exclusive:
        right = labels.argmax(1) == scores.argmax(1) if len(labels) else np.empty(0)
        of_all: dict[str, Statistic] = {"multiclass": partial(calibration.brier, labels, scores)}
        whole = estimates(of_all, predictions.height, resampling)
        accuracy = _entry(means({"accuracy": right}, patients, resampling)["accuracy"], (0, 1))
        by_metric["brier"]["multiclass"] = _entry(whole["multiclass"])
    else:
        right = ((scores >= multilabel.THRESHOLD) == labels).all(1)
        exact_match = _entry(means({"exact_match": right}, patients, resampling)["exact_match"], (0, 1))
        averaged = multilabel.averaged(predictions, classes)
        not_averaged = tuple(name for name in classes if name not in averaged)
    return SplitResults(
        auc=by_metric["auc"],
        average_precision=by_metric["average_precision"],
        sensitivity_at_specificity={f"{SPECIFICITY}": by_metric["sensitivity_at_specificity"]},
        brier=by_metric["brier"],
        calibration_error=by_metric["calibration_error"],
        auc_seed={g: _entry(of_paper["auc", g]) for g in groups},
        accuracy=accuracy,
        exact_match=exact_match,
        not_averaged=not_averaged,
        cases=predictions.height,
        patients=predictions["patient"].n_unique(),
    )


def agreement_summary(
    table: pl.DataFrame, resampling: Resampling, metrics: Sequence[str] = tuple(agreement.METRICS)
) -> Maps:
    """Per map and metric the mean over cases with its interval; None for a map that no case has.

    Args:
        table: As `scoring.agreement_table` or `localisation_table` makes it; every map has the same cases in
            the same order.
        resampling: Of those cases.
        metrics: Its columns.
    """
    values: dict[tuple[str, str], NDArray[np.float64]] = {}
    patients = table.unique("case_id", keep="first", maintain_order=True)["patient"].to_numpy()
    for kind in MAPS:
        own = table.filter(pl.col("map") == kind)
        if own.height:
            values |= {(kind, metric): own[metric].cast(pl.Float64).to_numpy() for metric in metrics}
    found = means(values, patients, resampling)
    return {
        kind: {metric: _entry(found[kind, metric], _MAP_METRICS[metric].bounds) for metric in metrics}
        if (kind, metrics[0]) in found
        else None
        for kind in MAPS
    }


def _entry(estimate: Estimate, bounds: tuple[float, float] = (-np.inf, np.inf)) -> IntervalEstimate:
    return IntervalEstimate(**estimate.entry(bounds))


def curves(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """ROC, precision–recall and reliability curves as one long table: curve, class, x, y, threshold, cases.

    x and y are: `roc` 1 − specificity and sensitivity; `precision_recall` recall and precision; `reliability`
    mean probability and share of the class, with the number of cases of the bin.
    """
    parts = []
    for name in classes:
        labels = predictions[f"label_{name}"].to_numpy()
        scores = predictions[f"probability_{name}"].to_numpy()
        bins = calibration.reliability(labels, scores)
        columns = {
            "roc": (*discrimination.roc(labels, scores), None),
            "precision_recall": (*discrimination.precision_recall(labels, scores), None),
            "reliability": (bins.probability, bins.share, None, bins.cases),
        }
        for curve, (x, y, threshold, cases) in columns.items():
            nothing = [None] * len(x)
            parts.append(
                pl.DataFrame(
                    {
                        "curve": [curve] * len(x),
                        "class": [name] * len(x),
                        "x": x,
                        "y": y,
                        "threshold": nothing if threshold is None else threshold,
                        "cases": nothing if cases is None else cases,
                    },
                    schema=_CURVES,
                )
            )
    return pl.concat([pl.DataFrame(schema=_CURVES), *parts])


_CURVES = {
    "curve": pl.String,
    "class": pl.String,
    "x": pl.Float64,
    "y": pl.Float64,
    "threshold": pl.Float64,
    "cases": pl.Int64,
}
