"""How much is needed before a verdict is given: least numbers of patients, discordant pairs and seeds.

An interval or a p-value from very few patients is no more than a number: resampling five patients can give
p < .001 where an exact test cannot go below .06. Below these numbers nothing is called better or worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

LEVEL = 0.05
LEAST_PATIENTS = 20
"""Below, percentile intervals of a mean cover .80 to .91 instead of .95."""

LEAST_SEEDS = 3
"""Student's t of one degree of freedom makes an interval of two seeds say nothing."""

FEW_SEEDS = "too few seeds"
"""Stands where an interval over seeds would."""

NO_WIDTH = "†"
"""Marks an interval without any width."""

CAUTION = (
    "†: the interval has no width, since every resample gives the same figure, as where it lies at its "
    "bound. Resampling cannot show how uncertain such a figure is. Of an AUC of 1 a sound one-sided 95% "
    "lower limit is 0.05^(1/k), with k the smaller of the numbers of patients with and without the class: "
    "0.55 for 5 patients, 0.74 for 10, 0.90 for 30."
)
"""Of k pairs of a patient with the class and one without, no patient in two of them, each is in order with
probability AUC, and where the observed AUC is 1 all of them are: its probability is at most AUC^k, which is
under .05 for any AUC under 0.05^(1/k) ≈ 1 − 3/k (the rule of three, Hanley and Lippman-Hand 1983).
Patients with cases of both sides may leave fewer such pairs."""


@dataclass(frozen=True)
class Evidence:
    """What a comparison rests on.

    Attributes:
        patients: How many were tested.
        discordant: Patients on whom the two sides differ at all; None where that was not counted.
        comparisons: How many comparisons Holm's correction goes over.
        seeds: Over how many seeds it is a mean.
    """

    patients: int
    discordant: int | None = None
    comparisons: int = 1
    seeds: int = 1

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Evidence | None:
        """What a difference's entry says that it rests on; None where it does not say how many patients."""
        if entry.get("patients") is None:
            return None
        return cls(
            entry["patients"], entry.get("discordant"), entry.get("comparisons") or 1, entry.get("seeds") or 1
        )

    @property
    def lacking(self) -> str:
        """Why no verdict can be given, such as "too few patients (5; at least 20)"; empty if one can."""
        if too_few_seeds(self.seeds):
            return f"{FEW_SEEDS} ({self.seeds}; at least {LEAST_SEEDS})"
        if self.patients < LEAST_PATIENTS:
            return f"too few patients ({self.patients}; at least {LEAST_PATIENTS})"
        least = least_discordant(self.comparisons)
        if self.discordant is not None and self.discordant < least:
            return f"too few discordant pairs ({self.discordant}; at least {least})"
        return ""


def least_discordant(comparisons: int = 1) -> int:
    """How many pairs must differ before an exact sign-flip test can reach 0.05 after Holm's correction.

    Of n pairs that differ, the least two-sided p is 2/2ⁿ: six pairs for one comparison, nine for eleven.
    """
    n = 1
    while max(1, comparisons) * 2 / 2**n >= LEVEL:
        n += 1
    return n


def too_few_seeds(seeds: int) -> bool:
    """Whether these are several seeds, but too few for an interval over them."""
    return 1 < seeds < LEAST_SEEDS


def least_p(resamples: int, comparisons: int = 1) -> float:
    """The least p-value that so many resamples can give, 2/(R + 1), times Holm's factor."""
    return min(1.0, comparisons * 2 / (resamples + 1))


def bounded_p(p: float) -> str:
    """A p-value at the floor of its resampling as `≤ 0.011`, rounded up so that it stays a bound."""
    return f"≤ {ceil(p * 1000 - 1e-9) / 1000:.3f}"


def p_words(p: float | None, bound: bool | None = False) -> str:
    """The one form of a p-value: `0.031`, `< 0.001`, `≤ 0.011` of a bound, or a dash where there is none."""
    if p is None or not isfinite(p):
        return "–"
    if bound and p < 1:
        return bounded_p(p)
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float | None, bound: bool | None = False) -> str:
    """The same after "p" in a sentence: `= 0.031`, `< 0.001`, `≤ 0.011`."""
    words = p_words(p, bound)
    return words if words[0] in "<≤" else f"= {words}"


def bounds_after(
    adjust: Callable[[Sequence[float | None]], Sequence[float | None]],
    p: Sequence[float | None],
    at_floor: Sequence[bool],
) -> list[bool]:
    """Which p-values are bounds after a correction for many, such as Holm's.

    Those that would be less if the ones at the floor of their resampling were 0. 1 is no bound.

    Args:
        adjust: The correction.
        p: Before it.
        at_floor: Which of these are at their floor.
    """
    least = [0.0 if low and value is not None else value for value, low in zip(p, at_floor, strict=True)]
    pairs = zip(adjust(p), adjust(least), strict=True)
    return [a is not None and b is not None and b < a < 1 for a, b in pairs]


def marked(low: float, high: float) -> str:
    """` †` after an interval that has no width, see `CAUTION`; else nothing."""
    return f" {NO_WIDTH}" if abs(high - low) < 1e-9 else ""


def cautions(text: str) -> list[str]:
    """The notes that a text with its marks needs."""
    return [CAUTION] if NO_WIDTH in text else []
