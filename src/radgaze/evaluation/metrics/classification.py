"""Metrics of the predictions of one class against the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.evaluation.metrics import calibration, discrimination
from radgaze.evaluation.metrics.metric import Metric

SPECIFICITY = 0.9
"""Specificity at which the sensitivity is measured."""


@dataclass(frozen=True, kw_only=True)
class ClassMetric(Metric):
    """A metric of one class against the rest.

    Attributes:
        function: Function of labels (n,), probabilities (n,) and case weights (R, n) that returns the metric
            for each row of weights, (R,).
        of_counts: The same function of `discrimination.counts_above`, which metrics share; None for none.
        centred: Whether it is higher on resamples, in which cases repeat, see `Estimate.centred`.
    """

    function: Callable[[ArrayLike, ArrayLike, ArrayLike | None], NDArray[np.float64]]
    of_counts: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]] | None = None
    centred: bool = False


METRICS: dict[str, ClassMetric] = {
    "auc": ClassMetric(
        title="AUC",
        words="Area under the ROC curve of the class against the rest. 0.5 is chance.",
        function=discrimination.auc,
        of_counts=discrimination.auc_of_counts,
        chance=0.5,
        bounds=(0.0, 1.0),
    ),
    "average_precision": ClassMetric(
        title="average precision",
        words="Mean precision over the recall. The share of the class is chance.",
        function=discrimination.average_precision,
        of_counts=discrimination.average_precision_of_counts,
        bounds=(0.0, 1.0),
    ),
    "sensitivity_at_specificity": ClassMetric(
        title=f"sensitivity at {SPECIFICITY:.0%} specificity",
        words="Highest sensitivity of a threshold with this specificity or more.",
        function=partial(discrimination.sensitivity_at_specificity, specificity=SPECIFICITY),
        of_counts=partial(discrimination.sensitivity_of_counts, specificity=SPECIFICITY),
        bounds=(0.0, 1.0),
    ),
    "brier": ClassMetric(
        title="Brier score",
        words="Mean squared difference of probability and label.",
        function=calibration.brier,
        higher_is_better=False,
        bounds=(0.0, 1.0),
    ),
    "calibration_error": ClassMetric(
        title="calibration error",
        words="Mean difference of predicted and observed frequency over bins; on few cases it is too high.",
        function=calibration.calibration_error,
        centred=True,
        higher_is_better=False,
        bounds=(0.0, 1.0),
    ),
}
"""Metrics of each class and of their macro mean; `SplitResults` has a field for each, in the same order."""

OF_ORDER = tuple(name for name, metric in METRICS.items() if metric.of_counts is not None)
"""Metrics of how the cases of a class and the others are ordered."""

OF_MEANS = tuple(name for name in METRICS if name not in OF_ORDER)
"""Metrics that are means over cases, whichever class they have."""


def measure(
    names: Sequence[str], labels: ArrayLike, scores: ArrayLike, weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Compute metrics by name; those that are functions of the same counts share them.

    Args:
        names: Names of `METRICS`.
        labels: Labels of shape (n,), 1 for the class and 0 for the rest.
        scores: Probabilities of shape (n,).
        weights: Number of times that each case counts, of shape (R, n).
    """
    counts, figures = None, {}
    for name in names:
        metric = METRICS[name]
        if metric.of_counts is None:
            figures[name] = metric.function(labels, scores, weights)
            continue
        counts = discrimination.counts_above(labels, scores, weights) if counts is None else counts
        figures[name] = metric.of_counts(*counts)
    return figures
