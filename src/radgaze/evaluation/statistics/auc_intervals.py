"""Interval of an AUC or of a mean over classes, valid also near 1, on few cases, and for clustered cases.

Bootstrap percentiles have a coverage of .88 for an AUC of .95 on 84 cases, and less with fewer cases of the
class: near 1 the distribution of an AUC is skewed, and no resample contains a worse case than the observed
ones. Here the standard error is DeLong's, summed over patients (Obuchowski 1997), on the logit scale, with
the quantile of Student's t. `python -m benchmarks auc_intervals` measures the alternatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from radgaze.evaluation.statistics.delong import influence_of_patients
from radgaze.evaluation.statistics.resampling import LEVEL

Floats = NDArray[np.float64]

FEW = 6
"""Number of patients with, or without, the class below which the variance is that of a model."""
_NONE = 1e-12


@dataclass(frozen=True)
class Placed:
    """The AUC of a class, and the influence of each patient on its error.

    Attributes:
        value: The AUC.
        positive: Influence of each patient by their cases of the class, an array of shape (P,).
        negative: Influence of each patient by their other cases, an array of shape (P,). The variance of the
            AUC is the sum of squares of `positive + negative`.
        patients: Numbers of patients with cases of the class, and with other cases.
    """

    value: float
    positive: Floats
    negative: Floats
    patients: tuple[int, int]

    @property
    def error(self) -> float:
        """Standard error; NaN where only one patient has the class, or only one has other cases."""
        return float(np.sqrt(((self.positive + self.negative) ** 2).sum()))

    @property
    def measured(self) -> bool:
        """Whether the cases determine the error: false for too few patients and for an AUC of 0 or 1."""
        return min(self.patients) >= FEW and 0 < self.value < 1 and self.error > _NONE


def placed(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike) -> Placed:
    """Compute the AUC of a class, and the influence of each patient on its error.

    With one case per patient the standard error is DeLong's; with several it is Obuchowski's (1997) for
    clustered data, which assumes nothing about the correlation of a patient's cases.

    Args:
        labels: Array of shape (n,): 1 for the class, 0 for the rest.
        scores: Array of shape (n,).
        patients: Patient of each case, an array of shape (n,).
    """
    value, sides, counts = influence_of_patients(labels, scores, patients)
    return Placed(float(value[0]), sides[0, 0], sides[1, 0], counts)


def auc_interval(classes: Sequence[Placed], level: float = LEVEL) -> tuple[float, float]:
    """Compute the interval of the AUC of a class, or of the mean over several classes.

    Classes whose cases determine the error (`Placed.measured`) have one joint interval, symmetric on the
    logit scale about their mean. Each other class, with too few patients or an AUC of 0 or 1, has its
    `score_interval`. The intervals are combined by adding the squared distances to their ends (Zou and
    Donner 2008).

    Args:
        classes: The classes, on the same cases.
        level: Level of the interval.

    Returns:
        The interval; (NaN, NaN) where an AUC is undefined.
    """
    if not classes or not all(np.isfinite(each.value) for each in classes):
        return float("nan"), float("nan")
    measured, others = [c for c in classes if c.measured], [c for c in classes if not c.measured]
    parts = [(1.0, each.value, *score_interval(each.value, *each.patients, level)) for each in others]
    if measured:
        mean = float(np.mean([each.value for each in measured]))
        parts.append((len(measured), mean, *_logit_interval(measured, mean, level)))
    weight, value, low, high = np.array(parts).T
    weight = weight / len(classes)
    centre = float(weight @ value)
    below, above = (float(np.sqrt(((weight * end) ** 2).sum())) for end in (value - low, high - value))
    return max(0.0, centre - below), min(1.0, centre + above)


def score_interval(value: float, m: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Compute the interval of an AUC from its value alone, by method 5 of Newcombe (2006).

    It contains all θ for which |value − θ| ≤ z · SE(θ), like Wilson's interval of a proportion. The variance
    at θ is Hanley and McNeil's (1982), with (m + n)/2 in place of both numbers in its sums. The interval has
    a width even at an AUC of 1.

    Args:
        value: The AUC.
        m: Number of patients with cases of the class. A patient counts once, as if several cases carried no
            more information than one.
        n: Number of patients with other cases.
        level: Level of the interval.
    """
    z, more = float(stats.norm.ppf((1 + level) / 2)), (m + n) / 2 - 1

    def error(t: float) -> float:
        inner = 1 + more * ((1 - t) / (2 - t) + t / (1 + t))
        return float(np.sqrt(max(0.0, t * (1 - t) * inner / (m * n))))

    def lowest(v: float) -> float:
        return float(brentq(lambda t: v - t - z * error(t), 0.0, v - _NONE)) if v > _NONE else 0.0

    return lowest(value), 1 - lowest(1 - value)  # the variance is the same at θ and 1 − θ


def _logit_interval(classes: Sequence[Placed], mean: float, level: float) -> tuple[float, float]:
    phi = np.mean([each.positive + each.negative for each in classes], axis=0)
    error = float(np.sqrt((phi**2).sum()))
    if error <= _NONE:  # the errors of the classes cancel
        return mean, mean
    half = float(stats.t.ppf((1 + level) / 2, _freedom(classes, phi))) * error / (mean * (1 - mean))
    low, high = 1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + np.array([-half, half]))))
    return float(low), float(high)


def _freedom(classes: Sequence[Placed], phi: Floats) -> float:
    """Degrees of freedom of the variance Σφ²: the smaller of two numbers.

    The first is Satterthwaite's, for the cases with and without each class. The second is twice the inverse
    of the relative variance of the variance, Σφ⁴/(Σφ²)² − 1/P. Near an AUC of 1 nearly all of the error comes
    from the few cases out of order, which only the second accounts for: for k such cases, and no error from
    the others, it is about 2k; for normal φ it is P.
    """
    sides = [
        (float((side**2).sum()), count)
        for each in classes
        for side, count in zip((each.positive, each.negative), each.patients, strict=True)
    ]
    of_sides = sum(v for v, _ in sides) ** 2 / sum(v**2 / (count - 1) for v, count in sides)
    excess = float((phi**4).sum() / (phi**2).sum() ** 2) - 1 / len(phi)
    return min(of_sides, 2 / excess) if excess > _NONE else of_sides
