"""Predictions and agreement of one split as the plain values of metrics.json, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation import baselines
from radgaze.evaluation.metrics import agreement, calibration, discrimination, localisation, multilabel
from radgaze.evaluation.metrics.metric import Metric
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
MACRO = "macro"
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
) -> dict[str, Any]:
    """The part of metrics.json about predictions; see `evaluate`."""
    found = score(predictions, classes, resampling, interval=interval)
    of_paper = score(predictions, classes, seed_resamples, metrics=("auc",))
    groups = (MACRO, *classes)
    summary: dict[str, Any] = {m: {g: found[m, g].entry() for g in groups} for m in _OF_A_CLASS}
    summary["auc_seed"] = {g: of_paper["auc", g].entry() for g in groups}
    summary["sensitivity_at_specificity"] = {f"{SPECIFICITY}": summary["sensitivity_at_specificity"]}
    labels = predictions.select([f"label_{name}" for name in classes]).to_numpy()
    scores = predictions.select([f"probability_{name}" for name in classes]).to_numpy()
    patients = predictions["patient"].to_numpy()
    if exclusive:
        right = labels.argmax(1) == scores.argmax(1) if len(labels) else np.empty(0)
        of_all: dict[str, Statistic] = {"multiclass": partial(calibration.brier, labels, scores)}
        whole = estimates(of_all, predictions.height, resampling)
        summary["accuracy"] = means({"accuracy": right}, patients, resampling)["accuracy"].entry((0, 1))
        summary["brier"]["multiclass"] = whole["multiclass"].entry()
    else:
        right = ((scores >= multilabel.THRESHOLD) == labels).all(1)
        match = means({"exact_match": right}, patients, resampling)["exact_match"]
        summary["exact_match"] = match.entry((0, 1))
        summary["not_averaged"] = [c for c in classes if c not in multilabel.averaged(predictions, classes)]
    summary["cases"], summary["patients"] = predictions.height, predictions["patient"].n_unique()
    return summary


def agreement_summary(
    table: pl.DataFrame, resampling: Resampling, metrics: Sequence[str] = tuple(agreement.METRICS)
) -> dict[str, Any]:
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
        kind: {metric: found[kind, metric].entry(_MAP_METRICS[metric].bounds) for metric in metrics}
        if (kind, metrics[0]) in found
        else None
        for kind in MAPS
    }


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
