"""Intervals by resampling patients with replacement, within strata if any, as vectors of multiplicities.

`scipy.stats.bootstrap` is not used: it resamples cases rather than patients, does not stratify, and passes
resampled values to the statistic, so that each resample of an AUC would be sorted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.options import RESAMPLES as RESAMPLES
from radgaze.evaluation.statistics.evidence import least_p

Floats = NDArray[np.float64]
Key = TypeVar("Key")
Statistic = Callable[[Floats], Floats]
"""Function of case weights (R, n) that returns a figure for each row, (R,)."""

LEVEL = 0.95
_CHUNK = 1_000_000  # weights held at once: 8 MB


class Resampling(Protocol):
    """A method of resampling cases."""

    def chunks(self) -> Iterator[Floats]:
        """Yield the weights of all resamples, as arrays (r, n) of some rows each; the same at every call."""
        ...


@dataclass(frozen=True)
class PatientBootstrap:
    """Resampling of patients with replacement, each with all their cases, within strata.

    Attributes:
        patients: Patient of each case, an array of shape (n,).
        classes: Class of each case, an array of shape (n,). The class of a patient's first case is their
            stratum.
        count: Number of resamples.
        seed: Random seed; the resamples do not depend on how many are drawn at a time.
    """

    patients: NDArray[np.int64]
    classes: NDArray[np.int64]
    count: int = RESAMPLES
    seed: int = 0

    def chunks(self) -> Iterator[Floats]:
        """See `Resampling`."""
        _, first, patient = np.unique(self.patients, return_index=True, return_inverse=True)
        stratum = np.asarray(self.classes)[first]
        strata = [np.flatnonzero(stratum == c) for c in np.unique(stratum)]
        # A stream for each stratum: rows do not depend on how many are drawn at a time.
        streams = np.random.default_rng(self.seed).spawn(len(strata))
        rows = max(1, _CHUNK // max(1, patient.size))
        for start in range(0, self.count, rows):
            r = min(rows, self.count - start)
            drawn = np.zeros((r, first.size))
            for members, stream in zip(strata, streams, strict=True):
                drawn[:, members] = stream.multinomial(
                    members.size, np.full(members.size, 1 / members.size), size=r
                )
            yield drawn[:, patient]


@dataclass(frozen=True)
class PaperResamples:
    """Resampling as in Watanabe et al. (2022): few resamples of 55 to 60 test cases, with replacement.

    It ignores patients and classes; its intervals serve only for comparison with the paper's.

    Attributes:
        cases: Number of cases n.
        count: Number of resamples.
        size: Least and largest number of cases of a resample, drawn uniformly between them.
        seed: Random seed.
    """

    cases: int
    count: int = 30
    size: tuple[int, int] = (55, 60)
    seed: int = 0

    def chunks(self) -> Iterator[Floats]:
        """See `Resampling`."""
        rng = np.random.default_rng(self.seed)
        sizes = rng.integers(self.size[0], self.size[1], size=self.count, endpoint=True)
        if self.cases:
            yield rng.multinomial(sizes, np.full(self.cases, 1 / self.cases)).astype(np.float64)


@dataclass(frozen=True)
class Part:
    """Resampling of some of the cases of another resampling.

    Their number differs between resamples, unlike that of all cases.

    Attributes:
        whole: Resampling of all cases.
        places: Indices of these cases among all, an array of shape (n,).
    """

    whole: Resampling
    places: NDArray[np.int64]

    def chunks(self) -> Iterator[Floats]:
        """See `Resampling`."""
        for weights in self.whole.chunks():
            yield weights[:, self.places]


def of_patients(resampling: Resampling) -> bool:
    """Return whether a resampling is of patients, unlike `PaperResamples`."""
    while isinstance(resampling, Part):
        resampling = resampling.whole
    return isinstance(resampling, PatientBootstrap)


@dataclass(frozen=True)
class Estimate:
    """A figure on all cases, and on each resample; NaN where undefined.

    Attributes:
        value: The figure.
        resampled: The figure on each resample, an array of shape (R,).
        stated: Interval by a formula, which replaces that of the resamples; None for none.
        centred: Whether the resamples, whose mean is another than the figure since cases repeat in them, are
            moved by the difference before their percentiles are taken.
    """

    value: float
    resampled: Floats = field(repr=False)
    stated: tuple[float, float] | None = None
    centred: bool = field(default=False, kw_only=True)

    @property
    def interval(self) -> tuple[float, float]:
        """The `stated` interval, else percentiles of the resamples on which the figure is defined."""
        if self.stated is not None:
            return self.stated
        return percentile_interval(self._defined)

    @property
    def _defined(self) -> Floats:
        """The resamples on which the figure is defined, moved where they are `centred`."""
        defined = self.resampled[np.isfinite(self.resampled)]
        return defined + (self.value - defined.mean()) if self.centred and defined.size else defined

    @property
    def p(self) -> float:
        """Two-sided p-value of "the figure is 0": twice the smaller share of resamples on either side of 0.

        It inverts the percentile interval: p < 0.05 where the 95% interval excludes 0. Its least value is
        2/(R + 1).
        """
        defined = self._defined
        if not np.isfinite(self.value) or defined.size == 0:
            return float("nan")
        sides = (1 + (defined <= 0).sum(), 1 + (defined >= 0).sum())
        return float(min(1.0, 2 * min(sides) / (1 + defined.size)))

    @property
    def p_is_bound(self) -> bool:
        """Whether `p` is at the floor of the resampling, and so only an upper bound."""
        defined = int(np.isfinite(self.resampled).sum())
        return defined > 0 and self.p <= least_p(defined)

    def __sub__(self, other: Estimate) -> Estimate:
        """Compute the paired difference; both estimates must come from the same resamples."""
        centred = self.centred or other.centred
        return Estimate(self.value - other.value, self.resampled - other.resampled, centred=centred)

    def summary(self, bounds: tuple[float, float] = (-np.inf, np.inf)) -> IntervalEstimate:
        """Summarise the figure and its interval for a result file; values that are not finite become None.

        Args:
            bounds: Range of the figure, to which the interval is clipped.
        """
        if not np.isfinite(self.value):
            return IntervalEstimate(None)
        low, high = np.clip(self.interval, *bounds)
        undefined = 0 if self.stated is not None else int((~np.isfinite(self.resampled)).sum())
        return IntervalEstimate(number(self.value), number(low), number(high), undefined or None)


def estimates(statistics: Mapping[Key, Statistic], cases: int, resampling: Resampling) -> dict[Key, Estimate]:
    """Compute statistics on all cases and on each resample; all statistics share the resamples.

    Args:
        statistics: Functions of case weights, by key.
        cases: Number of cases n.
        resampling: Resampling of these cases.
    """
    return joint_estimates(
        lambda weights: {key: statistic(weights) for key, statistic in statistics.items()}, cases, resampling
    )


def joint_estimates(
    statistics: Callable[[Floats], Mapping[Key, Floats]], cases: int, resampling: Resampling
) -> dict[Key, Estimate]:
    """Compute statistics that share a part of their computation on all cases and on each resample.

    Args:
        statistics: Function of case weights (R, n) that returns figures (R,) by key.
        cases: Number of cases n.
        resampling: Resampling of these cases.
    """
    whole = statistics(np.ones((1, cases)))
    resampled: dict[Key, list[Floats]] = {key: [] for key in whole}
    for weights in resampling.chunks():
        for key, figures in statistics(weights).items():
            resampled[key].append(figures)
    return {
        key: Estimate(float(figure[0]), np.concatenate([np.empty(0), *resampled[key]]))
        for key, figure in whole.items()
    }


def mean_of(values: ArrayLike) -> Statistic:
    """Return the mean of values (n,) as a function of case weights; NaN values are left out."""
    x = np.asarray(values, dtype=np.float64)
    is_defined = np.isfinite(x)
    filled = np.where(is_defined, x, 0.0)

    def statistic(weights: Floats) -> Floats:
        total = weights @ is_defined.astype(np.float64)
        means: Floats = np.divide(weights @ filled, total, out=np.full(len(weights), np.nan), where=total > 0)
        return means

    return statistic


def percentile_interval(resampled: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Compute the interval that contains the central `level` of the resampled figures.

    NaN is left out; (NaN, NaN) where no figure is defined.
    """
    defined = resampled[np.isfinite(resampled)]
    if defined.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def number(value: float) -> float | None:
    """Convert a value for JSON: None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
