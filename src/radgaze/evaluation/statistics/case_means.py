"""Means over cases, with intervals that are also valid for few patients, as in an audit.

The percentile interval of a bootstrap of few patients is too narrow: in effect it uses normal quantiles and
the variance with divisor n, and ignores skewness. On 10 patients its coverage is .84 to .90 instead of
.95, on 20 it is .87 to .93. Below `FEW` patients the interval is therefore Student's t with Hall's (1992)
correction for skewness: .91 to .96 from 10 patients on, for normal, beta, exponential and log-normal figures,
with one image or several of each patient (tests/evaluation/test_means.py simulates it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from radgaze.evaluation.statistics.decision import Difference
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
"""Number of patients below which the interval of a mean is the t-interval."""
LEAST = 6
"""Number of patients below which a mean has no interval, since none has the stated coverage."""
UNKNOWN = (float("nan"), float("nan"))


@dataclass(frozen=True)
class Mean(Estimate):
    """The mean of a figure over cases.

    Attributes:
        patients: Number of patients for whom the figure is defined. Below `FEW`, the stated interval is
            `mean_interval`.
        discordant: Number of patients for whom the figure is not 0; for a difference, the patients on whom
            the two sides differ.
        stated_p: P-value that belongs to the stated interval.
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
        """Whether `p` is an upper bound, at the floor of the resampling; false for a p-value by formula."""
        return self.stated is None and super().p_is_bound

    def paired_difference(self, bounds: tuple[float, float]) -> Difference:
        """The mean of a difference, with the evidence for a verdict on it.

        Args:
            bounds: Range of the two figures, which limits the interval of their difference.
        """
        largest = bounds[1] - bounds[0]
        entry = self.summary((-largest, largest))
        return Difference(**asdict(entry), patients=self.patients, discordant=self.discordant)


def means(values: Mapping[Key, ArrayLike], patients: ArrayLike, resampling: Resampling) -> dict[Key, Mean]:
    """Average each figure over the cases on which it is defined.

    Args:
        values: Figures of the same cases, each an array of shape (n,), NaN where undefined.
        patients: Patient of each case, an array of shape (n,).
        resampling: Resampling of these cases. With `PaperResamples` the interval is always percentiles.
    """
    ids = np.asarray(patients)
    statistics = {key: mean_of(x) for key, x in values.items()}
    by_key = {}
    for key, estimate in estimates(statistics, len(ids), resampling).items():
        x = np.asarray(values[key], dtype=np.float64)
        count = len(np.unique(ids[np.isfinite(x)]))
        discordant = len(np.unique(ids[np.isfinite(x) & (x != 0)]))
        few = of_patients(resampling) and count < FEW
        stated, p = (mean_interval(x, ids), mean_p(x, ids)) if few else (None, float("nan"))
        by_key[key] = Mean(estimate.value, estimate.resampled, stated, count, discordant, p)
    return by_key


def mean_interval(values: ArrayLike, patients: ArrayLike, level: float = LEVEL) -> tuple[float, float]:
    """Compute Hall's (1992) transformed t-interval of a mean over cases, which are clustered by patient.

    With s the patients' sums and n their numbers of cases, the mean is Σs/Σn, its standard error is the
    jackknife's over patients, the skewness is that of s − mean · n, and t has P − 1 degrees of freedom for P
    patients.

    Args:
        values: Figures, an array of shape (n,); NaN is left out.
        patients: Patient of each case, an array of shape (n,).
        level: Level of the interval.

    Returns:
        The interval; (NaN, NaN) below `LEAST` patients, and where all patients have the same mean, so that
        the variation between patients is unknown.
    """
    moments = _moments(values, patients)
    if moments is None:
        return UNKNOWN
    mean, error, skewness, P = moments
    t = float(stats.t.ppf((1 + level) / 2, P - 1))
    high, low = (mean - error * _untransformed(z, skewness, P) for z in (-t, t))
    return float(low), float(high)


def mean_p(values: ArrayLike, patients: ArrayLike) -> float:
    """Compute the two-sided p-value of "the mean is 0".

    It is below 1 − level exactly where the `mean_interval` of this level excludes 0; NaN where there is no
    interval, but 1 where every figure is 0.

    Args:
        values, patients: Arguments of `mean_interval`.
    """
    moments = _moments(values, patients)
    if moments is None:
        x = np.asarray(values, dtype=np.float64)
        x = x[np.isfinite(x)]
        return 1.0 if x.size and not x.any() else float("nan")
    mean, error, skewness, P = moments
    T, a = mean / error, skewness / 3
    z = T + a * T**2 / np.sqrt(P) + a**2 * T**3 / (3 * P) + skewness / (6 * np.sqrt(P))
    return float(2 * stats.t.sf(abs(z), P - 1))


def _moments(values: ArrayLike, patients: ArrayLike) -> tuple[float, float, float, int] | None:
    """Mean, standard error, skewness and number of patients; None where these give no interval."""
    x, ids = np.asarray(values, dtype=np.float64), np.asarray(patients)
    is_defined = np.isfinite(x)
    _, place = np.unique(ids[is_defined], return_inverse=True)
    n = np.bincount(place).astype(np.float64)
    P = len(n)
    if P < LEAST:
        return None
    s = np.bincount(place, x[is_defined])
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
