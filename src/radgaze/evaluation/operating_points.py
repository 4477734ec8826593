"""Decisions of a run at a threshold of each class: sensitivity, specificity and predictive values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.statistics.policy import ResamplingSettings, resampling_of
from radgaze.evaluation.statistics.resampling import Floats, Resampling, Statistic, estimates
from radgaze.runs.vote import best_threshold


@dataclass(frozen=True)
class OperatingPoint:
    """Decisions for a class on the test cases, at a threshold that was chosen on the validation cases.

    Attributes:
        name: The class.
        threshold: The class is predicted where its probability exceeds this.
        chosen: Whether the validation cases chose it; they cannot where all or none of them has the class.
        true_positive: Number of cases with the class for which it is predicted.
        false_negative: Number of cases with the class for which it is not.
        false_positive: Number of cases without the class for which it is predicted.
        true_negative: Number of cases without the class for which it is not.
        sensitivity: Share of the cases with the class for which it is predicted.
        specificity: Share of the cases without the class for which it is not.
        ppv: Positive predictive value: share of the cases for which it is predicted that have it.
        npv: Negative predictive value: share of the cases for which it is not predicted that lack it.
    """

    name: str
    threshold: float
    chosen: bool
    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int
    sensitivity: IntervalEstimate
    specificity: IntervalEstimate
    ppv: IntervalEstimate
    npv: IntervalEstimate

    @property
    def cases(self) -> int:
        """Number of test cases."""
        return self.true_positive + self.false_negative + self.false_positive + self.true_negative

    @property
    def with_class(self) -> int:
        """Number of test cases that have the class."""
        return self.true_positive + self.false_negative


def points_of_run(
    predictions: pl.DataFrame, shown: Sequence[str], settings: ResamplingSettings
) -> list[OperatingPoint]:
    """Measure the decisions of a run, with the resampling that its evaluation had.

    Args:
        predictions: As for `operating_points`.
        shown: The classes to measure.
        settings: Settings of the evaluation.
    """
    test = predictions.filter(pl.col("split") == "test")
    return operating_points(predictions, shown, resampling_of(test, settings))


def operating_points(
    predictions: pl.DataFrame, classes: Sequence[str], resampling: Resampling
) -> list[OperatingPoint]:
    """Measure the decisions for each class.

    The threshold is the one of highest sensitivity plus specificity on the validation cases, and is taken as
    it is in the intervals.

    Args:
        predictions: One row per case: `split`, `probability_<class>` and `label_<class>`.
        classes: The classes.
        resampling: Resampling of the test cases.
    """
    validate, test = (predictions.filter(pl.col("split") == split) for split in ("validate", "test"))
    decided = {name: _decide(name, validate, test) for name in classes}
    statistics = {
        (name, key): _share(part, whole)
        for name, decisions in decided.items()
        for key, (part, whole) in decisions.shares().items()
    }
    measured = estimates(statistics, test.height, resampling)  # at once: the resamples are drawn once
    return [
        decisions.point(
            name, {key: each.summary((0, 1)) for (owner, key), each in measured.items() if owner == name}
        )
        for name, decisions in decided.items()
    ]


@dataclass(frozen=True)
class _Decisions:
    """Test cases that have a class, (n,), and those for which it is predicted, (n,)."""

    threshold: float
    chosen: bool
    has: NDArray[np.bool_]
    predicted: NDArray[np.bool_]

    def shares(self) -> dict[str, tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Each figure as a part of some cases, and these cases."""
        has, predicted = self.has, self.predicted
        return {
            "sensitivity": (has & predicted, has),
            "specificity": (~has & ~predicted, ~has),
            "ppv": (has & predicted, predicted),
            "npv": (~has & ~predicted, ~predicted),
        }

    def point(self, name: str, measured: Mapping[str, IntervalEstimate]) -> OperatingPoint:
        has, predicted = self.has, self.predicted
        return OperatingPoint(
            name=name,
            threshold=self.threshold,
            chosen=self.chosen,
            true_positive=int((has & predicted).sum()),
            false_negative=int((has & ~predicted).sum()),
            false_positive=int((~has & predicted).sum()),
            true_negative=int((~has & ~predicted).sum()),
            **measured,
        )


def _decide(name: str, validate: pl.DataFrame, test: pl.DataFrame) -> _Decisions:
    labels = validate[f"label_{name}"].to_numpy() > 0
    scores = validate[f"probability_{name}"]
    threshold = best_threshold(labels, scores.to_numpy())
    return _Decisions(
        threshold,
        chosen=bool(labels.any() and not labels.all() and scores.n_unique() > 1),
        has=test[f"label_{name}"].to_numpy() > 0,
        predicted=test[f"probability_{name}"].to_numpy() > threshold,
    )


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> Statistic:
    """The share of some cases that are `part` of them, as a function of case weights; NaN of none."""
    numerator, denominator = part.astype(np.float64), whole.astype(np.float64)

    def statistic(weights: Floats) -> Floats:
        total = weights @ denominator
        shares: Floats = np.divide(
            weights @ numerator, total, out=np.full(len(weights), np.nan), where=total > 0
        )
        return shares

    return statistic
