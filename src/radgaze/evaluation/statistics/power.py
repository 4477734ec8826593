"""What difference a paired comparison could have shown, whatever it did show.

A difference that is not significant says little without the difference that would have been: with few cases
and few seeds, large ones are missed as well. `Power` computes, from the variances that were measured, the
least true difference that the same test would find in four of five studies, and what would be needed for a
given one.

This is not the power at the difference that was measured ("observed power"). That is the p-value in another
scale and tells nothing that the p-value does not: a difference that is not significant always has a low one
(Hoenig & Heisey 2001, "The abuse of power", The American Statistician 55:19-24). Here the measured difference
is not used at all.

The variances are estimates. With three seeds, the true s lies anywhere from half to six times the measured
one (its 95% interval), and the difference is as rough; `python -m benchmarks power` measures it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import ceil, inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import chi, norm, t

from radgaze.evaluation.statistics.across_seeds import Spread, spread
from radgaze.evaluation.statistics.evidence import LEAST_SEEDS, LEVEL, Evidence, too_few_seeds
from radgaze.evaluation.statistics.means import FEW, Mean
from radgaze.evaluation.statistics.resampling import RESAMPLES, Estimate

Floats = NDArray[np.float64]

POWER = 0.8
PLANNED = 0.05
"""The difference of macro AUCs for which pages and tables say what would be needed."""
MOST_SEEDS = 100
"""More than these nobody trains."""
_NONE = 1e-12


@dataclass(frozen=True)
class Power:
    """What one paired comparison of a figure could have shown.

    Attributes:
        spread: What moves the difference. Of one seed, `cases` is its standard error; of a mean over few
            patients, whose test is Student's, `seeds` is their deviation and `count` their number.
        cases: How many were tested.
        runs: How many seeds.
        own: Share of s² that cases make in one seed alone; more cases reduce it, too.
        comparisons: How many Holm's correction goes over.
        reached: The two-sided level that p-values of the resamples can tell from `level`, a little below it.
        largest: No difference is larger than this.
        lacking: Why nothing can be said, such as "too few seeds (2; at least 3)"; empty if something can.
    """

    spread: Spread
    cases: int
    runs: int = 1
    own: float = 0.0
    comparisons: int = 1
    reached: float = LEVEL
    largest: float = inf
    lacking: str = ""

    @property
    def level(self) -> float:
        """0.05, or 0.05/m: Holm's first step, which the smallest of m p-values must pass. The worst case:
        the others are held against larger levels once it has."""
        return LEVEL / max(1, self.comparisons)

    @cached_property
    def detectable(self) -> float | None:
        """The least true difference that is found with 80% power; None for the reason in `why_not`."""
        if self.lacking:
            return None
        found = detectable(self.spread, self.reached)
        return found if found <= self.largest else None

    def entry(self, difference: float | None = None) -> dict[str, Any]:
        """For tables: `detectable`, at the level `detectable_at`; where there is none, why, as
        `detectable_note`; and what is `needed` for a difference, if one is given."""
        return {
            "detectable": self.detectable,
            "detectable_at": self.level,
            "detectable_note": self.why_not or None,
            "needed": (self.plan(difference) or None) if difference is not None else None,
        }

    @property
    def why_not(self) -> str:
        """Why there is no `detectable` difference; empty if there is one."""
        return self.lacking or ("" if self.detectable is not None else "none, however large")

    def seeds_for(self, difference: float) -> float:
        """How many seeds with these cases find a true difference with 80% power.

        Infinite where no number does, as cases move all seeds alike. For several seeds only: one tells
        nothing of others.
        """
        if power(Spread(self.spread.cases, 0.0, 1), difference, self.reached) < POWER:
            return inf
        return _least(
            lambda k: power(replace(self.spread, count=k), difference, self.reached), LEAST_SEEDS, MOST_SEEDS
        )

    def cases_for(self, difference: float) -> float:
        """How many cases like these find it with as many seeds; infinite where no number does.

        Variances by cases shrink with their number. What seeds differ by beyond that does not.
        """

        def with_times(times: float) -> float:
            left = self.spread.seeds * np.sqrt(1 - self.own + self.own / times)
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
        """What would be needed for a difference, such as "For ±0.05: 5 seeds with these cases"."""
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
    """The power of a test of one difference, of one network each or over seeds.

    Args:
        estimates: The paired difference of each seed, on the same resamples; undefined ones are left out.
        patients: How many were tested, at least.
        cases: How many.
        comparisons: How many Holm's correction goes over.
        largest: No difference of this figure is larger.
    """
    known = [one for one in estimates if isfinite(one.value) and np.isfinite(one.resampled).sum() > 1]
    nothing = Power(Spread(0.0, 0.0, 1), cases, len(known), comparisons=comparisons)
    if not known:
        return replace(nothing, lacking="undefined")
    patients = min([patients, *(one.patients for one in known if isinstance(one, Mean))])
    if lacking := Evidence(patients).lacking:
        return replace(nothing, lacking=lacking)
    if too_few_seeds(len(known)):
        return replace(nothing, lacking=f"too few seeds ({len(known)}; at least {LEAST_SEEDS})")
    own, resamples = 0.0, int(np.isfinite(known[0].resampled).sum())
    if len(known) > 1:
        found, resamples = spread(known), max(RESAMPLES, len(known[0].resampled))
        of_one = float(np.mean([np.nanvar(one.resampled, ddof=1) for one in known]))
        if found.seeds > 0:
            own = min(1.0, max(0.0, of_one - found.cases**2) / found.seeds**2)
    else:
        found = Spread(float(np.nanstd(known[0].resampled, ddof=1)), 0.0, 1)
        if isinstance(known[0], Mean) and known[0].patients < FEW:
            count = known[0].patients
            found, own = Spread(0.0, found.cases * float(np.sqrt(count)), count), 1.0
    if max(found.cases, found.seeds) < _NONE:
        return replace(nothing, lacking="the two do not differ on these cases")
    reached = reached_level(resamples, comparisons)
    if not reached:
        return replace(nothing, lacking=f"too few resamples ({resamples:,}) for {comparisons} comparisons")
    return Power(found, cases, len(known), own, comparisons, reached, largest)


def reached_level(resamples: int, comparisons: int = 1) -> float:
    """The level that p-values of so many resamples have where p < 0.05 over the comparisons is asked.

    p is 2 (1 + N)/(R + 1), N of R resamples on the other side of 0: the level is the largest such number
    below 0.05/m. Of 2,000 resamples it is 0.0040 for 0.05/11. 0 where even N = 0 is too many.
    """
    steps = ceil(LEVEL / max(1, comparisons) * (resamples + 1) / 2) - 1
    return 2 * steps / (resamples + 1)


def detectable(of: Spread, level: float = LEVEL, wanted: float = POWER) -> float:
    """The least true difference δ with P(reject | δ) of what is wanted."""
    scale = float(np.hypot(of.cases, of.seeds / np.sqrt(of.count)))
    if scale < _NONE:
        return 0.0
    rejects = _test(of, level)
    high = 4 * scale
    while rejects(high) < wanted:
        high *= 2
    return float(brentq(lambda delta: rejects(delta) - wanted, 0.0, high, xtol=1e-9 * scale))


def power(of: Spread, difference: float, level: float = LEVEL) -> float:
    """P(reject | δ): how often the interval of `seeds.across` leaves 0 out, at a level, if δ is the truth.

    The mean of k seeds is N(δ, c + σ²/k), and s² is σ²χ²/(k − 1), apart from it. The test rejects beyond
    q(√c, s), the quantile of N(0, c) + s/√k·t; the power is its mean over what s may come out as. c is taken
    as known.
    """
    return _test(of, level)(difference)


def critical(cases: ArrayLike, seeds: ArrayLike, freedom: int, level: float = LEVEL) -> Floats:
    """q with P(|a N(0, 1) + b t| > q) = level, t Student's of so many degrees of freedom.

    Args:
        cases, seeds: a and b, of one shape; not both 0.
        freedom: Degrees of freedom.
        level: Two-sided.
    """
    a, b = np.asarray(cases, dtype=np.float64), np.asarray(seeds, dtype=np.float64)
    return np.asarray(np.hypot(a, b) * _critical(freedom, level)(np.arctan2(b, a)))


def _test(of: Spread, level: float) -> Callable[[float], float]:
    """δ → P(reject | δ)."""
    error = float(np.hypot(of.cases, of.seeds / np.sqrt(of.count)))
    if error < _NONE:
        return lambda delta: float(abs(delta) > 0)
    if of.count > 1 and of.seeds > 0:
        ratio, weight = _chi(of.count - 1)
        b = ratio * of.seeds / np.sqrt(of.count)
        q = critical(np.full_like(b, of.cases), b, of.count - 1, level)
    else:
        q, weight = np.array([of.cases * norm.isf(level / 2)]), np.ones(1)
    return lambda delta: float(weight @ (ndtr((delta - q) / error) + ndtr((-delta - q) / error)))


@lru_cache(maxsize=256)
def _critical(freedom: int, level: float) -> CubicSpline:
    """q of cos θ N + sin θ t by θ. A t is a normal over χ/√ν: the sum's tail is a mean of normal tails."""
    theta = np.linspace(0, np.pi / 2, 65)
    ratio, weight = _chi(freedom)
    deviation = np.hypot(np.cos(theta)[:, None], np.sin(theta)[:, None] / ratio)
    low = np.zeros_like(theta)
    # Where the sum is beyond x + y, one of the two is beyond its part: a bound, at half the level each.
    high = np.cos(theta) * norm.isf(level / 4) + np.sin(theta) * t.isf(level / 4, freedom)
    for _ in range(45):
        middle = (low + high) / 2
        above = ndtr(-middle[:, None] / deviation) @ weight > level / 2
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return CubicSpline(theta, (low + high) / 2)


@lru_cache(maxsize=256)
def _chi(freedom: int) -> tuple[Floats, Floats]:
    """Values of s/σ, which is χ/√ν, and their weights: Gauss and Legendre's, times the density."""
    places, weight = np.polynomial.legendre.leggauss(200)
    lowest, highest = chi.ppf(1e-14, freedom), chi.isf(1e-14, freedom)
    x = lowest + (highest - lowest) * (places + 1) / 2
    w = weight * chi.pdf(x, freedom)
    return x / np.sqrt(freedom), w / w.sum()


def _least(rises: Callable[[int], float], low: int, most: int) -> float:
    """The least number from low to most from which power is enough; one more than most where none is."""
    if rises(most) < POWER:
        return most + 1
    high = most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rises(middle) >= POWER else (middle + 1, high)
    return low


def _rounded(cases: float) -> int:
    """Up to two digits: variances are not known better."""
    unit = 10 ** max(0, len(str(int(cases))) - 2)
    return int(ceil(cases / unit) * unit)
