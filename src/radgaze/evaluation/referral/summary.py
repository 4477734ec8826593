"""Figures of selective prediction on the test cases, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics import confidence, multilabel
from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.referral.results import OverallResults, ScoreResults
from radgaze.evaluation.referral.scores import Candidate
from radgaze.evaluation.referral.selective import Referral
from radgaze.evaluation.statistics.auc_intervals import auc_interval, placed
from radgaze.evaluation.statistics.resampling import Estimate, Resampling, Statistic, estimates, mean_of

Floats = NDArray[np.float64]

REJECTED = 0.95
"""True-rejection rate at which the false-rejection rate is measured."""


@dataclass(frozen=True)
class ScoredCases:
    """The test cases.

    Attributes:
        table: Predictions of the cases.
        classes: Names of the classes.
        errors: Whether a prediction is wrong, of shape (n,).
        resampling: Resamples of the cases.
        exclusive: Whether the classes are exclusive, see `multilabel.averaged`.
    """

    table: pl.DataFrame
    classes: Sequence[str]
    errors: NDArray[np.bool_]
    resampling: Resampling
    exclusive: bool | None = None

    def overall(self) -> OverallResults:
        """Return the results with every prediction accepted."""
        figures = estimates(self._overall(), self.table.height, self.resampling)
        return OverallResults(
            with_interval(figures["accuracy"]),
            with_interval(figures["auc"], self._auc_interval(self.table)),
        )

    def score(self, candidate: Candidate, rule: Referral, scores: Floats) -> ScoreResults:
        """Return the results of a score.

        Args:
            candidate: The score.
            rule: Rule of the candidate.
            scores: Scores of shape (n,).
        """
        accepted = scores <= rule.threshold
        figures = estimates(self._statistics(scores, accepted), self.table.height, self.resampling)
        detection = auc_interval([placed(self.errors, scores, self.table["patient"])])
        intervals = {
            "error_detection": detection,
            "auc_kept": self._auc_interval(self.table.filter(pl.Series(accepted))),
        }
        return ScoreResults(
            title=candidate.title,
            threshold=rule.threshold,
            temperature=rule.temperature,
            magnitude=rule.magnitude,
            validation=rule.validation,
            **{name: with_interval(figure, intervals.get(name)) for name, figure in figures.items()},
        )

    def curve(self, name: str, scores: Floats) -> pl.DataFrame:
        """Return the risk–coverage curve of a score: candidate, coverage, risk."""
        coverage, risk = confidence.risk_coverage(self.errors, scores)
        return pl.DataFrame({"coverage": coverage, "risk": risk}).with_columns(candidate=pl.lit(name))

    def _statistics(self, scores: Floats, accepted: NDArray[np.bool_]) -> Mapping[str, Statistic]:
        errors, overall = self.errors, self._overall()

        def on_accepted(statistic: Statistic) -> Statistic:
            return lambda weights: statistic(weights * accepted)

        return {
            "error_detection": lambda w: confidence.error_detection(errors, scores, w),
            "false_rejection": lambda w: confidence.false_rejection(errors, scores, w, rejected=REJECTED),
            "area_under_risk": lambda w: confidence.area_under_risk(errors, scores, w),
            "excess_area": lambda w: confidence.excess_area(errors, scores, w),
            "coverage": mean_of(accepted),
            "frr": mean_of(np.where(~errors, ~accepted, np.nan)),
            "accuracy_kept": on_accepted(overall["accuracy"]),
            "auc_kept": on_accepted(overall["auc"]),
        }

    def _overall(self) -> Mapping[str, Statistic]:
        averaged = self._averaged
        labels = {name: self.table[f"label_{name}"].to_numpy() for name in averaged}
        p = {name: self.table[f"probability_{name}"].to_numpy() for name in averaged}
        return {
            "accuracy": mean_of(~self.errors),
            "auc": lambda w: np.mean([auc(labels[name], p[name], w) for name in averaged], axis=0),
        }

    @property
    def _averaged(self) -> tuple[str, ...]:
        return multilabel.averaged(self.table, self.classes, exclusive=self.exclusive)

    def _auc_interval(self, cases: pl.DataFrame) -> tuple[float, float]:
        """Return the interval of the macro AUC of some of the cases."""
        patients = cases["patient"].to_numpy()
        return auc_interval(
            [
                placed(cases[f"label_{name}"], cases[f"probability_{name}"], patients)
                for name in self._averaged
            ]
        )


def with_interval(figure: Estimate, interval: tuple[float, float] | None = None) -> IntervalEstimate:
    """Return a figure with the given interval, or with that of its resamples if None."""
    return (figure if interval is None else replace(figure, stated=interval)).summary()
