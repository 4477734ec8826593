"""Estimates of classification metrics for each class, and of their mean over classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from radgaze.evaluation.metrics import multilabel
from radgaze.evaluation.metrics.classification import METRICS, measure
from radgaze.evaluation.options import Interval
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.auc_intervals import auc_interval, placed
from radgaze.evaluation.statistics.resampling import (
    Estimate,
    Floats,
    Resampling,
    joint_estimates,
    of_patients,
)


def class_estimates(
    predictions: pl.DataFrame,
    classes: Sequence[str],
    resampling: Resampling,
    metrics: Sequence[str] = tuple(METRICS),
    *,
    interval: Interval = "delong",
    exclusive: bool | None = None,
) -> dict[tuple[str, str], Estimate]:
    """Estimate metrics of each class against the rest, and of the macro mean.

    The macro mean is over the classes of `multilabel.averaged`. It is undefined in a resample in which one of
    them is, since leaving the class out there would change what is averaged.

    Args:
        predictions: One row per case: `patient`, `probability_<class>` and `label_<class>`.
        classes: The classes.
        resampling: Resampling of the cases.
        metrics: Names of the metrics.
        interval: Kind of the intervals of AUCs where patients are resampled: "delong" (`auc_interval`) or
            "bootstrap" (percentiles). All other intervals are percentiles.
        exclusive: Whether the classes are exclusive, see `multilabel.averaged`.

    Returns:
        The estimates by metric and class, or metric and `MACRO`.
    """
    columns = {
        name: (predictions[f"label_{name}"].to_numpy(), predictions[f"probability_{name}"].to_numpy())
        for name in classes
    }

    def figures(weights: Floats) -> dict[tuple[str, str], Floats]:
        return {
            (metric, name): figure
            for name, (labels, scores) in columns.items()
            for metric, figure in measure(metrics, labels, scores, weights).items()
        }

    by_class = {
        (metric, name): replace(estimate, centred=METRICS[metric].centred)
        for (metric, name), estimate in joint_estimates(figures, predictions.height, resampling).items()
    }
    averaged = multilabel.averaged(predictions, classes, exclusive=exclusive)
    for metric in metrics:
        parts = [by_class[metric, name] for name in averaged]
        by_class[metric, MACRO] = Estimate(
            float(np.mean([part.value for part in parts])),
            np.mean([part.resampled for part in parts], axis=0),
            centred=METRICS[metric].centred,
        )
    if "auc" in metrics and interval == "delong" and of_patients(resampling):
        for group, stated in _auc_intervals(predictions, classes, averaged).items():
            by_class["auc", group] = replace(by_class["auc", group], stated=stated)
    return by_class


def _auc_intervals(
    predictions: pl.DataFrame, classes: Sequence[str], averaged: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """The interval of the AUC of each class, and of their macro mean, by `auc_interval`."""
    patients = predictions["patient"].to_numpy()
    by_class = {
        name: placed(predictions[f"label_{name}"], predictions[f"probability_{name}"], patients)
        for name in classes
    }
    groups = {name: [by_class[name]] for name in classes} | {MACRO: [by_class[name] for name in averaged]}
    return {group: auc_interval(members) for group, members in groups.items()}
