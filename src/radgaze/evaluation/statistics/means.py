"""Means over cases, and their intervals, which also hold on the few cases that an audit probes.

The percentile interval of a bootstrap of few patients is too narrow: it uses the normal's quantiles and the
standard deviation divided by n, and knows nothing of skewness. On 10 patients it covers .84 to .90 where .95
is meant, on 20 .87 to .93. Below `FEW` patients the interval is Student's t with Hall's (1992) correction for
skewness in its place: .91 to .96 from 10 patients on, for normal, beta, exponential and log-normal figures,
with one image of a patient and with several (tests/evaluation/test_means.py simulates it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from radgaze.evaluation.statistics.resampling import (
    LEVEL,
    Estimate,
    Key,
    Resampling,
    estimates,
    mean_of,
    of_patients,
)

Floats = NDArray[np.float64]

FEW = 50
"""Under this many patients the interval of a mean is the t-interval."""
LEAST = 6
"""Under this many patients a mean has no interval: none that is tried here covers what it says."""
UNKNOWN = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Mean(Estimate):
    """The mean of a figure over cases.

    Attributes:
        patients: Of how many patients the figure is known. Of few the stated interval is `mean_interval`.
        discordant: Of how many of them it is not 0: of a difference, on whom the two sides differ.
        stated_p: The p-value that belongs to the stated interval.
    """

    patients: int = 0
    discordant: int = 0
    stated_p: float = float("nan")

    @property
    def p(self) -> float:
        """Two-sided p-value of "the mean is 0", of the same kind as the interval."""
        return super().p if self.stated is None else self.stated_p

    @property
    def p_is_bound(self) -> bool:
        """As of any `Estimate`; a formula has no floor."""
        return self.stated is None and super().p_is_bound

    def difference(self) -> dict[str, Any]:
        """The entry, with what a verdict on it rests on: `patients` and `discordant`."""
        return self.entry() | {"patients": self.patients, "discordant": self.discordant}


def means(values: Mapping[Key, ArrayLike], patients: ArrayLike, resampling: Resampling) -> dict[Key, Mean]:
    """The mean of each figure over the cases on which it is defined.

    Args:
        values: (n,) figures of the same cases, NaN where undefined.
        patients: (n,) the patient of each case.
        resampling: Of these cases. The seed paper's way is left as it is, whatever the number of patients.
    """
    who = np.asarray(patients)
    found = {}
    for key, estimate in estimates({k: mean_of(x) for k, x in values.items()}, len(who), resampling).items():
        x = np.asarray(values[key], dtype=np.float64)
        known = len(np.unique(who[np.isfinite(x)]))
        differ = len(np.unique(who[np.isfinite(x) & (x != 0)]))
        few = of_patients(resampling) and known < FEW
        stated, p = (mean_interval(x, who), mean_p(x, who)) if few else (None, float("nan"))
        found[key] = Mean(estimate.value, estimate.resampled, stated, known, differ, p)
    return found


def mean_interval(values: ArrayLike, patients: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """Hall's transformed t-interval of a mean over cases of few patients, each of whom may have several.

    With s the patients' sums and n their numbers of cases, the mean is Σs/Σn, its standard error the
    jackknife's over patients, the skewness that of s − mean · n, and t has one degree of freedom less than
    there are patients. (NaN, NaN) under `LEAST` patients, and where all have the same mean: that tells
    nothing of how much others would differ.

    Args:
        values: (n,) figures; NaN is left out.
        patients: (n,) whose they are.
        level: Of the interval.
    """
    found = _moments(values, patients)
    if found is None:
        return UNKNOWN
    mean, error, skewness, P = found
    t = float(stats.t.ppf((1 + level) / 2, P - 1))
    high, low = (mean - error * _untransformed(z, skewness, P) for z in (-t, t))
    return float(low), float(high)


def mean_p(values: ArrayLike, patients: ArrayLike) -> float:
    """Two-sided p-value of "the mean is 0": below 1 − level where `mean_interval` of that level leaves 0 out.

    NaN where there is no interval, but 1 where every figure is 0.
    """
    found = _moments(values, patients)
    if found is None:
        x = np.asarray(values, dtype=np.float64)
        x = x[np.isfinite(x)]
        return 1.0 if x.size and not x.any() else float("nan")
    mean, error, skewness, P = found
    T, a = mean / error, skewness / 3
    z = T + a * T**2 / np.sqrt(P) + a**2 * T**3 / (3 * P) + skewness / (6 * np.sqrt(P))
    return float(2 * stats.t.sf(abs(z), P - 1))


def _moments(values: ArrayLike, patients: ArrayLike) -> tuple[float, float, float, int] | None:
    """The mean, its standard error, the skewness, and how many patients; None where that is no interval."""
    x, who = np.asarray(values, dtype=np.float64), np.asarray(patients)
    known = np.isfinite(x)
    _, place = np.unique(who[known], return_inverse=True)
    n = np.bincount(place).astype(np.float64)
    P = len(n)
    if P < LEAST:
        return None
    s = np.bincount(place, x[known])
    mean = float(s.sum() / n.sum())
    left_out = (s.sum() - s) / (n.sum() - n)
    error = float(np.sqrt((P - 1) / P * ((left_out - mean) ** 2).sum()))
    if not error > 1e-12 * max(1.0, abs(mean)):
        return None
    return mean, error, float(stats.skew(s - mean * n, bias=False)), P


def _untransformed(z: float, skewness: float, P: int) -> float:
    """The T for which T + aT²/√P + a²T³/(3P) + skewness/(6√P) is z, with a = skewness/3 (Hall 1992)."""
    shifted, a = z - skewness / (6 * np.sqrt(P)), skewness / 3
    if abs(a) < 1e-9:
        return float(shifted)
    return float(np.sqrt(P) / a * (np.cbrt(1 + 3 * a * shifted / np.sqrt(P)) - 1))
