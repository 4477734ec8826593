"""Power of a paired comparison: the difference that it could have detected.

A non-significant difference is hard to interpret without the smallest difference that the test would have
detected: with few cases and few seeds, large differences are missed as well. `Power` computes, from the
measured variances, the smallest true difference that the same test finds in four of five studies, and the
numbers of cases or seeds that a given difference needs.

This is not the power at the measured difference ("observed power"), which is a transformation of the p-value
and adds nothing to it: for a non-significant difference it is always low (Hoenig & Heisey 2001, "The abuse of
power", The American Statistician 55:19-24). Here the measured difference is not used at all.

The variances are estimates. With three seeds, the 95% interval of the true s is from half to six times the
measured one, and the detectable difference is as uncertain; `python -m benchmarks power` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from math import ceil, inf, isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi, norm, t

from radgaze.evaluation.statistics.across_seeds import Spread, spread
from radgaze.evaluation.statistics.case_means import FEW, Mean
from radgaze.evaluation.statistics.evidence import FEW_SEEDS, LEAST_SEEDS, LEVEL, Evidence, too_few_seeds
from radgaze.evaluation.statistics.resampling import RESAMPLES, Estimate

Floats = NDArray[np.float64]

POWER = 0.8
PLANNED = 0.05
"""Difference of macro AUCs for which tables and pages state the needed numbers of cases or seeds."""
MOST_SEEDS = 100
"""Largest number of seeds that is considered."""
_NONE = 1e-12


@dataclass(frozen=True)
class PowerSummary:
    """Detectable difference of a comparison, as stored in tables.

    Attributes:
        detectable: Smallest true difference that is found with 80% power; None where there is none.
        detectable_at: Two-sided level of `detectable`.
        detectable_note: Reason why there is no `detectable` difference; None where there is one.
        needed: Numbers of cases or seeds that a given difference needs, in words; None if no difference is
            given.
    """

    detectable: float | None
    detectable_at: float | None
    detectable_note: str | None
    needed: str | None


@dataclass(frozen=True)
class Power:
    """Power of one paired comparison of a figure.

    Attributes:
        spread: Variation of the difference. For one seed, `cases` is its standard error; for a mean over few
            patients, which is tested by Student's t, `seeds` is their standard deviation and `count` their
            number.
        cases: Number of cases.
        runs: Number of seeds.
        case_share: Share of s² that is due to the cases of a single seed; more cases reduce it as well.
        comparisons: Number of comparisons in Holm's correction.
        reached: Highest two-sided level below `level` that p-values of the resamples can have.
        largest: Largest possible difference of the figure.
        lacking: Reason why there is no power analysis, such as "too few runs (2; at least 3)"; empty if
            there is.
    """

    spread: Spread
    cases: int
    runs: int = 1
    case_share: float = 0.0
    comparisons: int = 1
    reached: float = LEVEL
    largest: float = inf
    lacking: str = ""

    @property
    def level(self) -> float:
        """Two-sided level of the test: 0.05, or 0.05/m for m comparisons.

        This is the first step of Holm's method, with which the smallest of m p-values is compared. It is the
        worst case: the other p-values are compared with larger levels.
        """
        return LEVEL / max(1, self.comparisons)

    @cached_property
    def detectable(self) -> float | None:
        """Smallest true difference that is found with 80% power; None for the reason in `why_not`."""
        if self.lacking:
            return None
        least = detectable(self.spread, self.reached)
        return least if least <= self.largest else None

    def summary(self, difference: float | None = None) -> PowerSummary:
        """Summarise the power for a table.

        Args:
            difference: A difference for which the needed numbers are stated; None for none.
        """
        needed = None if difference is None else self.plan(difference) or None
        return PowerSummary(self.detectable, self.level, self.why_not or None, needed)

    def entry(self, difference: float | None = None) -> dict[str, float | str | None]:
        """Return the `summary` as a dictionary."""
        return dict(asdict(self.summary(difference)))

    @property
    def why_not(self) -> str:
        """Reason why there is no `detectable` difference; empty if there is one."""
        return self.lacking or ("" if self.detectable is not None else "none, however large")

    def seeds_for(self, difference: float) -> float:
        """Compute the number of seeds that, with these cases, finds a true difference with 80% power.

        Infinite where no number does, since the cases affect all seeds alike. Meaningful for several seeds
        only: one seed does not show the variation between seeds.
        """
        if power(Spread(self.spread.cases, 0.0, 1), difference, self.reached) < POWER:
            return inf
        return _least(
            lambda k: power(replace(self.spread, count=k), difference, self.reached), LEAST_SEEDS, MOST_SEEDS
        )

    def cases_for(self, difference: float) -> float:
        """Compute the number of cases that, with as many seeds, finds a true difference with 80% power.

        Infinite where no number does: the variance caused by cases decreases with their number, the other
        variance between seeds does not.
        """

        def with_times(times: float) -> float:
            left = self.spread.seeds * np.sqrt(1 - self.case_share + self.case_share / times)
            moved = replace(self.spread, cases=self.spread.cases / np.sqrt(times), seeds=float(left))
            return power(moved, difference, self.reached)

        if with_times(1e9) < POWER:
            return inf
        if with_times(1 / self.cases) >= POWER:
            return 1
        times = brentq(lambda x: with_times(float(np.exp(x))) - POWER, -np.log(self.cases), np.log(1e9))
        needed: float = ceil(self.cases * np.exp(times))
        return needed

    def plan(self, difference: float = PLANNED) -> str:
        """State the numbers that a difference needs, as in "For ±0.05: 5 seeds with these cases".

        Args:
            difference: True difference to be found.

        Returns:
            The text; empty where there is no power analysis (`lacking`).
        """
        if self.lacking:
            return ""
        start, cases = f"For ±{difference:g}: ", self.cases_for(difference)
        if self.detectable is not None and self.detectable <= difference:
            return start + "these cases do" + (" with these seeds" if self.runs > 1 else "")
        more = f"about {_rounded(cases):,} cases" if cases < 1e6 else ""
        if self.runs == 1:
            return start + (more or "more than a million cases")
        seeds = self.seeds_for(difference)
        with_seeds = f" with {self.runs} seeds"
        if seeds <= MOST_SEEDS:
            return (
                start + f"{seeds:.0f} seeds with these cases" + (f", or {more}{with_seeds}" if more else "")
            )
        many = "any number of" if seeds == inf else f"up to {MOST_SEEDS}"
        first = f"not reached with {many} seeds with these cases"
        return start + first + (f"; {more}{with_seeds} do" if more else f", nor{with_seeds} with any number")


def of_difference(
    estimates: Sequence[Estimate],
    *,
    patients: int,
    cases: int,
    comparisons: int = 1,
    largest: float = inf,
) -> Power:
    """Compute the power of a test of one difference, between two networks or over seeds.

    Args:
        estimates: The paired difference of each seed, on the same resamples; undefined ones are left out.
        patients: Number of patients; for several seeds, the smallest.
        cases: Number of cases.
        comparisons: Number of comparisons in Holm's correction.
        largest: Largest possible difference of the figure.
    """
    defined = [each for each in estimates if isfinite(each.value) and np.isfinite(each.resampled).sum() > 1]
    nothing = Power(Spread(0.0, 0.0, 1), cases, len(defined), comparisons=comparisons)
    if not defined:
        return replace(nothing, lacking="undefined")
    patients = min([patients, *(each.patients for each in defined if isinstance(each, Mean))])
    if lacking := Evidence(patients).lacking:
        return replace(nothing, lacking=lacking)
    if too_few_seeds(len(defined)):
        return replace(nothing, lacking=f"{FEW_SEEDS} ({len(defined)}; at least {LEAST_SEEDS})")
    variation, case_share = _variation(defined)
    if max(variation.cases, variation.seeds) < _NONE:
        return replace(nothing, lacking="the two do not differ on these cases")
    resamples = int(np.isfinite(defined[0].resampled).sum())
    if len(defined) > 1:
        resamples = max(RESAMPLES, len(defined[0].resampled))
    reached = reached_level(resamples, comparisons)
    if not reached:
        return replace(nothing, lacking=f"too few resamples ({resamples:,}) for {comparisons} comparisons")
    return Power(variation, cases, len(defined), case_share, comparisons, reached, largest)


def _variation(estimates: Sequence[Estimate]) -> tuple[Spread, float]:
    """Variation of a difference, and the share of s² that is due to the cases of a single seed."""
    first = estimates[0]
    if len(estimates) > 1:
        over_seeds = spread(estimates)
        if not over_seeds.seeds > 0:
            return over_seeds, 0.0
        of_one = float(np.mean([np.nanvar(each.resampled, ddof=1) for each in estimates]))
        return over_seeds, min(1.0, max(0.0, of_one - over_seeds.cases**2) / over_seeds.seeds**2)
    error = float(np.nanstd(first.resampled, ddof=1))
    if isinstance(first, Mean) and first.patients < FEW:
        return Spread(0.0, error * float(np.sqrt(first.patients)), first.patients), 1.0
    return Spread(error, 0.0, 1), 0.0


def reached_level(resamples: int, comparisons: int = 1) -> float:
    """Compute the largest p-value below 0.05/m that R resamples can give, for m comparisons.

    A p-value is 2 (1 + N)/(R + 1), with N of the R resamples on the other side of 0. With 2,000 resamples the
    largest below 0.05/11 is 0.0040. The result is 0 where even N = 0 gives too large a p-value.
    """
    steps = ceil(LEVEL / max(1, comparisons) * (resamples + 1) / 2) - 1
    return 2 * steps / (resamples + 1)


def detectable(variation: Spread, level: float = LEVEL, target: float = POWER) -> float:
    """Compute the smallest true difference δ at which P(reject | δ) equals the target power."""
    scale = float(np.hypot(variation.cases, variation.seeds / np.sqrt(variation.count)))
    if scale < _NONE:
        return 0.0
    rejects = _test(variation, level)
    high = 4 * scale
    while rejects(high) < target:
        high *= 2
    return float(brentq(lambda delta: rejects(delta) - target, 0.0, high, xtol=1e-9 * scale))


def power(variation: Spread, difference: float, level: float = LEVEL) -> float:
    """Compute the probability that the interval of `across` excludes 0 if the true difference is δ.

    The mean over k seeds is N(δ, c + σ²/k), and s² is σ²χ²/(k − 1), independent of the mean. The test rejects
    beyond q(√c, s), the quantile of N(0, c) + s/√k·t; the power is the mean of P(reject | δ, s) over the
    distribution of s. c is taken as known.

    Args:
        variation: Variation of the difference.
        difference: True difference δ.
        level: Two-sided level of the test.
    """
    return _test(variation, level)(difference)


def critical(cases: ArrayLike, seeds: ArrayLike, freedom: int, level: float = LEVEL) -> Floats:
    """Compute the q for which P(|a N(0, 1) + b t| > q) = level, t being Student's.

    Args:
        cases: a, an array of any shape.
        seeds: b, an array of the same shape; not both are 0.
        freedom: Degrees of freedom of t.
        level: Two-sided level.
    """
    a, b = np.asarray(cases, dtype=np.float64), np.asarray(seeds, dtype=np.float64)
    return np.asarray(np.hypot(a, b) * _critical(freedom, level)(np.arctan2(b, a)))


def _test(variation: Spread, level: float) -> Callable[[float], float]:
    """The function δ → P(reject | δ)."""
    count = variation.count
    error = float(np.hypot(variation.cases, variation.seeds / np.sqrt(count)))
    if error < _NONE:
        return lambda delta: float(abs(delta) > 0)
    if count > 1 and variation.seeds > 0:
        ratio, weight = _chi(count - 1)
        b = ratio * variation.seeds / np.sqrt(count)
        q = critical(np.full_like(b, variation.cases), b, count - 1, level)
    else:
        q, weight = np.array([variation.cases * norm.isf(level / 2)]), np.ones(1)
    return lambda delta: float(weight @ (ndtr((delta - q) / error) + ndtr((-delta - q) / error)))


@lru_cache(maxsize=256)
def _critical(freedom: int, level: float) -> CubicSpline:
    """Critical value q of cos θ N + sin θ t as a function of θ.

    t is a normal variable divided by χ/√ν, so the tail of the sum is a mean of normal tails.
    """
    theta = np.linspace(0, np.pi / 2, 65)
    ratio, weight = _chi(freedom)
    deviation = np.hypot(np.cos(theta)[:, None], np.sin(theta)[:, None] / ratio)
    low = np.zeros_like(theta)
    # If the sum exceeds x + y, one of the summands exceeds x or y: an upper bound, with half the level each.
    high = np.cos(theta) * norm.isf(level / 4) + np.sin(theta) * t.isf(level / 4, freedom)
    for _ in range(45):
        middle = (low + high) / 2
        above = ndtr(-middle[:, None] / deviation) @ weight > level / 2
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return CubicSpline(theta, (low + high) / 2)


@lru_cache(maxsize=256)
def _chi(freedom: int) -> tuple[Floats, Floats]:
    """Nodes and weights of a Gauss–Legendre quadrature over s/σ = χ/√ν."""
    places, weight = np.polynomial.legendre.leggauss(200)
    lowest, highest = chi.ppf(1e-14, freedom), chi.isf(1e-14, freedom)
    x = lowest + (highest - lowest) * (places + 1) / 2
    w = weight * chi.pdf(x, freedom)
    return x / np.sqrt(freedom), w / w.sum()


def _least(power_of: Callable[[int], float], low: int, most: int) -> float:
    """The least number from low to most with sufficient power, else most + 1; power increases with it."""
    if power_of(most) < POWER:
        return most + 1
    high = most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= POWER else (middle + 1, high)
    return low


def _rounded(cases: float) -> int:
    """Round up to two significant digits: the variances are not more precise."""
    unit = 10 ** max(0, len(str(int(cases))) - 2)
    return int(ceil(cases / unit) * unit)
