"""Intervals by drawing again: patients with replacement, stratified by class, as vectors of multiplicities.

`scipy.stats.bootstrap` cannot serve here: it draws cases, not patients, within one sample, not strata, and
calls the statistic on index arrays, so that every resample of an AUC would be sorted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from radgaze.evaluation.options import RESAMPLES as RESAMPLES
from radgaze.evaluation.statistics.evidence import least_p

Floats = NDArray[np.float64]
Key = TypeVar("Key")
Statistic = Callable[[Floats], Floats]
"""From case weights (R, n) to one figure for each of the R rows."""

LEVEL = 0.95
_CHUNK = 4_000_000  # weights held at once: 32 MB


class Resampling(Protocol):
    """A way to draw the cases again."""

    def chunks(self) -> Iterator[Floats]:
        """Weights (r, n) of all resamples, some rows at a time; the same ones at every call."""
        ...


@dataclass(frozen=True)
class PatientBootstrap:
    """Draw patients with replacement, as many of each class as there are; each brings all their cases.

    Attributes:
        patients: (n,) the patient of each case.
        classes: (n,) the class of each case. A patient belongs to the class of their first case.
        count: Number of resamples.
        seed: One seed gives one set of resamples, whatever the memory.
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
        # A stream for each stratum: rows come out the same however many are drawn at a time.
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
class SeedResamples:
    """The seed paper's way: few resamples of about half a test set's cases, drawn with replacement.

    It ignores patients and classes; its intervals are there to be laid beside the paper's, not to be trusted.

    Attributes:
        cases: Number of cases n.
        count: Number of resamples.
        size: Fewest and most cases of a resample, drawn evenly between.
        seed: Of the draws.
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
    """Some of the cases that a resampling draws, as often as it draws them.

    Their number differs from resample to resample, unlike that of all.

    Attributes:
        of: Draws all of the cases.
        places: (n,) where these cases stand among all.
    """

    of: Resampling
    places: NDArray[np.int64]

    def chunks(self) -> Iterator[Floats]:
        """See `Resampling`."""
        for weights in self.of.chunks():
            yield weights[:, self.places]


def of_patients(resampling: Resampling) -> bool:
    """Whether patients are drawn, and intervals are meant to hold; not so of the seed paper's way."""
    of = resampling
    while isinstance(of, Part):
        of = of.of
    return isinstance(of, PatientBootstrap)


@dataclass(frozen=True)
class Estimate:
    """A figure on the cases as they are, and on each resample; NaN where undefined.

    Attributes:
        value: The figure.
        resampled: (R,) the figure on each resample.
        stated: The interval, where a formula gives a better one than the resamples do.
    """

    value: float
    resampled: Floats = field(repr=False)
    stated: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float]:
        """What is `stated`, else the percentile interval over the resamples where the figure is defined."""
        return percentile_interval(self.resampled) if self.stated is None else self.stated

    @property
    def p(self) -> float:
        """Two-sided p-value of "the figure is 0": twice the smaller share of resamples on either side of 0.

        It inverts the percentile interval: p < 0.05 where the 95% interval leaves 0 out. No smaller than 2/(R
            + 1).
        """
        known = self.resampled[np.isfinite(self.resampled)]
        if not np.isfinite(self.value) or known.size == 0:
            return float("nan")
        sides = (1 + (known <= 0).sum(), 1 + (known >= 0).sum())
        return float(min(1.0, 2 * min(sides) / (1 + known.size)))

    @property
    def p_is_bound(self) -> bool:
        """Whether `p` is at the floor of the resampling: it says "at most", not how small it is."""
        known = int(np.isfinite(self.resampled).sum())
        return known > 0 and self.p <= least_p(known)

    def __sub__(self, other: Estimate) -> Estimate:
        """The paired difference; both must come from the same resamples."""
        return Estimate(self.value - other.value, self.resampled - other.resampled)

    def entry(self, bounds: tuple[float, float] = (-np.inf, np.inf)) -> dict[str, Any]:
        """`{"value", "low", "high"}` for JSON, None where undefined; and how many resamples were, if some.

        Args:
            bounds: Of the figure itself: its interval goes no further.
        """
        if not np.isfinite(self.value):
            return {"value": None, "low": None, "high": None}
        low, high = np.clip(self.interval, *bounds)
        undefined = 0 if self.stated is not None else int((~np.isfinite(self.resampled)).sum())
        entry = {"value": number(self.value), "low": number(low), "high": number(high)}
        return entry | ({"undefined_resamples": undefined} if undefined else {})


def estimates(statistics: Mapping[Key, Statistic], cases: int, resampling: Resampling) -> dict[Key, Estimate]:
    """Each statistic on the n cases as they are and on every resample; all see the same resamples."""
    whole = np.ones((1, cases))
    resampled: dict[Key, list[Floats]] = {name: [] for name in statistics}
    for weights in resampling.chunks():
        for name, statistic in statistics.items():
            resampled[name].append(statistic(weights))
    return {
        name: Estimate(float(statistic(whole)[0]), np.concatenate([np.empty(0), *resampled[name]]))
        for name, statistic in statistics.items()
    }


def mean_of(values: ArrayLike) -> Statistic:
    """The mean of (n,) values as a statistic; NaN values are left out of it."""
    x = np.asarray(values, dtype=np.float64)
    known = np.isfinite(x)
    filled = np.where(known, x, 0.0)

    def statistic(weights: Floats) -> Floats:
        total = weights @ known.astype(np.float64)
        means: Floats = np.divide(weights @ filled, total, out=np.full(len(weights), np.nan), where=total > 0)
        return means

    return statistic


def percentile_interval(resampled: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The middle `level` of the resampled figures, NaN left out; (NaN, NaN) where none is defined."""
    known = resampled[np.isfinite(resampled)]
    if known.size == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def number(value: float) -> float | None:
    """A float that JSON can hold: None for NaN and infinity."""
    return float(value) if np.isfinite(value) else None
