"""How much is needed before a verdict is given: least numbers of patients, discordant pairs and seeds.

An interval or a p-value from very few patients is no more than a number: resampling five patients can give
p < .001 where an exact test cannot go below .06. Below these numbers nothing is called better or worse.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

LEVEL = 0.05
LEAST_PATIENTS = 20
"""Below, percentile intervals of a mean cover .80 to .91 instead of .95."""

LEAST_SEEDS = 3
"""Student's t of one degree of freedom makes an interval of two seeds say nothing."""


@dataclass(frozen=True)
class Evidence:
    """What a comparison rests on.

    Attributes:
        patients: How many were tested.
        discordant: Patients on whom the two sides differ at all; None where that was not counted.
        comparisons: How many comparisons Holm's correction goes over.
    """

    patients: int
    discordant: int | None = None
    comparisons: int = 1

    @property
    def lacking(self) -> str:
        """Why no verdict can be given, such as "too few patients (5; at least 20)"; empty if one can."""
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
