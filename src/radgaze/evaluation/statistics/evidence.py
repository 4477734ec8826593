"""Minimum evidence for a verdict: numbers of patients, discordant pairs and seeds.

Resampling very few patients gives intervals that are too narrow and p-values that are too small: with five
patients p can be below .001 where that of an exact test is at least .06. Below these numbers no figure is
called better or worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""Level of significance."""

LEAST_PATIENTS = 20
"""Least number of patients for a verdict: with fewer, percentile intervals of a mean cover .80 to .91."""

LEAST_SEEDS = 3
"""Least number of seeds for an interval over seeds; with two, Student's t has one degree of freedom only."""

FEW_SEEDS = "too few runs"
"""Text in place of an interval over seeds."""


@dataclass(frozen=True)
class Evidence:
    """Evidence for a comparison.

    Attributes:
        patients: Number of patients.
        discordant: Number of patients on whose cases the two sides differ; None where they were not counted.
        comparisons: Number of comparisons in Holm's correction.
        seeds: Number of seeds that the difference is a mean over.
    """

    patients: int
    discordant: int | None = None
    comparisons: int = 1
    seeds: int = 1

    @classmethod
    def of(cls, entry: Mapping[str, object]) -> Evidence | None:
        """Create the evidence from an entry of a result file; None where it states no number of patients."""
        patients, discordant, comparisons, seeds = (
            value if isinstance(value := entry.get(name), int) else None
            for name in ("patients", "discordant", "comparisons", "seeds")
        )
        return None if patients is None else cls(patients, discordant, comparisons or 1, seeds or 1)

    @property
    def lacking(self) -> str:
        """Reason of no verdict, such as "too few patients (5; at least 20)"; empty where there can be one."""
        if too_few_seeds(self.seeds):
            return f"{FEW_SEEDS} ({self.seeds}; at least {LEAST_SEEDS})"
        if self.patients < LEAST_PATIENTS:
            return f"too few patients ({self.patients}; at least {LEAST_PATIENTS})"
        least = least_discordant(self.comparisons)
        if self.discordant is not None and self.discordant < least:
            return f"too few discordant pairs ({self.discordant}; at least {least})"
        return ""


def least_discordant(comparisons: int = 1) -> int:
    """Compute the least number of discordant pairs with which an exact sign-flip test can reach `LEVEL`.

    With n discordant pairs the least two-sided p is 2/2ⁿ, times the number of comparisons for Holm's
    correction: six pairs are needed for one comparison, nine for eleven.
    """
    n = 1
    while max(1, comparisons) * 2 / 2**n >= LEVEL:
        n += 1
    return n


def too_few_seeds(seeds: int) -> bool:
    """Return whether there are several seeds, but too few for an interval over them."""
    return 1 < seeds < LEAST_SEEDS


def least_p(resamples: int, comparisons: int = 1) -> float:
    """Compute the least p-value of R resamples, 2/(R + 1), times the number of comparisons, at most 1."""
    return min(1.0, comparisons * 2 / (resamples + 1))


def bounds_after(
    adjust: Callable[[Sequence[float | None]], Sequence[float | None]],
    p: Sequence[float | None],
    at_floor: Sequence[bool],
) -> list[bool]:
    """Find the p-values that are upper bounds after a correction for multiple testing.

    They are those that would be smaller if the p-values at the floor of their resampling were 0. A p-value of
    1 does not count as a bound.

    Args:
        adjust: The correction, such as `holm`.
        p: P-values before the correction.
        at_floor: Whether each p-value is at the floor of its resampling.
    """
    least = [0.0 if low and value is not None else value for value, low in zip(p, at_floor, strict=True)]
    pairs = zip(adjust(p), adjust(least), strict=True)
    return [a is not None and b is not None and b < a < 1 for a, b in pairs]
