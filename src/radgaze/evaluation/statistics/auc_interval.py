"""The interval of an AUC, or of a mean of classes' AUCs: near 1, on few cases, and for patients of several.

The percentiles of a bootstrap cover .88 of what they say for an AUC of .95 on 84 cases, and less with fewer
cases of the class: near 1 an AUC is skewed, and resamples hold no worse case than those that were seen. Here
the error is DeLong's, summed over patients (Obuchowski 1997), on the scale of the logit, with the quantile of
Student's t. `python -m benchmarks auc_intervals` measures the alternatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import brentq

from radgaze.evaluation.statistics.delong import influence
from radgaze.evaluation.statistics.resampling import LEVEL

Floats = NDArray[np.float64]

FEW = 6
"""Under this many patients on a side their spread is not known, and its model is taken for it."""
_NONE = 1e-12


@dataclass(frozen=True)
class Placed:
    """A class's AUC and what each patient adds to its error.

    Attributes:
        value: The AUC.
        positive, negative: (P,) of each patient, by their cases of the class and by their others. The sum of
            the squares of both together is the AUC's variance.
        patients: How many have cases of the class, and how many have others.
    """

    value: float
    positive: Floats
    negative: Floats
    patients: tuple[int, int]

    @property
    def error(self) -> float:
        """The standard error, NaN where a side is one case."""
        return float(np.sqrt(((self.positive + self.negative) ** 2).sum()))

    @property
    def measured(self) -> bool:
        """Whether the cases tell the error: not of too few patients, nor where all are in order."""
        return min(self.patients) >= FEW and 0 < self.value < 1 and self.error > _NONE


def placed(labels: ArrayLike, scores: ArrayLike, patients: ArrayLike) -> Placed:
    """The AUC of a class, and what each patient adds to its error.

    With one case of each patient the error is DeLong's; with several it is Obuchowski's (1997) for clustered
    data, which needs no assumption on how alike a patient's cases are, of the class or not.

    Args:
        labels: (n,) 1 of the class, 0 of the rest.
        scores: (n,).
        patients: (n,) whose the cases are.
    """
    y = np.asarray(labels, dtype=bool)
    who, place = np.unique(np.asarray(patients), return_inverse=True)
    value, phi = influence(y, scores)
    sides, counts = list[Floats](), list[int]()
    for side in (y, ~y):
        cases, own = int(side.sum()), len(np.unique(place[side]))
        # DeLong's √(m(m − 1)) counts cases; what varies freely is one less than the patients.
        factor = np.sqrt((cases - 1) / cases * own / (own - 1)) if own > 1 else np.nan
        sides.append(np.bincount(place[side], phi[0, side] * factor, minlength=len(who)).astype(np.float64))
        counts.append(own)
    return Placed(float(value[0]), sides[0], sides[1], (counts[0], counts[1]))


def auc_interval(of: Sequence[Placed], level: float = LEVEL) -> tuple[float, float]:
    """The interval of a class's AUC, or of the mean of several classes'.

    Classes whose error the cases tell have one interval together, symmetric about the logit of their mean. Of
    the others (too few patients, or an AUC of 1) each has the `score_interval`. The two are combined by the
    distances to their ends, squared and added (Zou and Donner 2008).

    Args:
        of: The classes, on the same cases.
        level: Of the interval.

    Returns:
        (NaN, NaN) where an AUC is undefined.
    """
    if not of or not all(np.isfinite(one.value) for one in of):
        return float("nan"), float("nan")
    told, others = [one for one in of if one.measured], [one for one in of if not one.measured]
    parts = [(1.0, one.value, *score_interval(one.value, *one.patients, level)) for one in others]
    if told:
        mean = float(np.mean([one.value for one in told]))
        parts.append((len(told), mean, *_logit_interval(told, mean, level)))
    weight, value, low, high = np.array(parts).T
    weight = weight / len(of)
    centre = float(weight @ value)
    below, above = (float(np.sqrt(((weight * end) ** 2).sum())) for end in (value - low, high - value))
    return max(0.0, centre - below), min(1.0, centre + above)


def score_interval(value: float, m: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Newcombe's (2006) interval of an AUC from its value alone, his method 5.

    It holds all θ whose own error |value − θ| is within, as Wilson's does of a share. The variance at θ is
    Hanley and McNeil's (1982), with (m + n)/2 in place of both numbers in its sums. It is not empty at 1.

    Args:
        value: The AUC.
        m, n: How many there are on each side. Patients, where these have several cases: as if their cases
            told no more than one of them.
        level: Of the interval.
    """
    z, more = float(stats.norm.ppf((1 + level) / 2)), (m + n) / 2 - 1

    def error(t: float) -> float:
        inner = 1 + more * ((1 - t) / (2 - t) + t / (1 + t))
        return float(np.sqrt(max(0.0, t * (1 - t) * inner / (m * n))))

    def lowest(v: float) -> float:
        return float(brentq(lambda t: v - t - z * error(t), 0.0, v - _NONE)) if v > _NONE else 0.0

    return lowest(value), 1 - lowest(1 - value)  # the variance is the same at θ and 1 − θ


def _logit_interval(of: Sequence[Placed], mean: float, level: float) -> tuple[float, float]:
    phi = np.mean([one.positive + one.negative for one in of], axis=0)
    error = float(np.sqrt((phi**2).sum()))
    if error <= _NONE:  # the classes' errors make up for each other
        return mean, mean
    half = float(stats.t.ppf((1 + level) / 2, _freedom(of, phi))) * error / (mean * (1 - mean))
    low, high = 1 / (1 + np.exp(-(np.log(mean / (1 - mean)) + np.array([-half, half]))))
    return float(low), float(high)


def _freedom(of: Sequence[Placed], phi: Floats) -> float:
    """How many degrees of freedom the variance Σφ² has: the fewer of two counts.

    Satterthwaite's, of the classes' sides; and twice the inverse of the variance's own relative variance,
    Σφ⁴/(Σφ²)² − 1/P. Near an AUC of 1 nearly all of the error comes from the few cases out of order, which
    only the latter counts: of k such, and nothing from the others, it is about 2k; of normal φ it is P.
    """
    sides = [
        (float((side**2).sum()), count)
        for one in of
        for side, count in zip((one.positive, one.negative), one.patients, strict=True)
    ]
    of_sides = sum(v for v, _ in sides) ** 2 / sum(v**2 / (count - 1) for v, count in sides)
    excess = float((phi**4).sum() / (phi**2).sum() ** 2) - 1 / len(phi)
    return min(of_sides, 2 / excess) if excess > _NONE else of_sides
