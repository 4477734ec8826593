"""Metrics of the predictions of one class against the rest."""

from __future__ import annotations

from collections.abc import Callable
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
        centred: Whether it is higher on resamples, in which cases repeat, see `Estimate.centred`.
    """

    function: Callable[[ArrayLike, ArrayLike, ArrayLike | None], NDArray[np.float64]]
    centred: bool = False


METRICS: dict[str, ClassMetric] = {
    "auc": ClassMetric(
        title="AUC",
        words="Area under the ROC curve of the class against the rest. 0.5 is chance.",
        function=discrimination.auc,
        chance=0.5,
        bounds=(0.0, 1.0),
    ),
    "average_precision": ClassMetric(
        title="average precision",
        words="Mean precision over the recall. The share of the class is chance.",
        function=discrimination.average_precision,
        bounds=(0.0, 1.0),
    ),
    "sensitivity_at_specificity": ClassMetric(
        title=f"sensitivity at {SPECIFICITY:.0%} specificity",
        words="Highest sensitivity of a threshold with this specificity or more.",
        function=partial(discrimination.sensitivity_at_specificity, specificity=SPECIFICITY),
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
