"""The rule by which reports, comparisons, audits and claims decide whether a difference is an improvement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol

import numpy as np

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.statistics.evidence import LEVEL, Evidence
from radgaze.records import optional

Verdict = Literal["better", "even", "worse", "few"]
"""Result of a comparison; "few" where there is less evidence than a verdict needs, see `Evidence`."""


class Judged(Protocol):
    """Interface of a difference on which `verdict` can decide."""

    @property
    def value(self) -> float | None:
        """The difference; None where it is undefined."""
        ...

    @property
    def low(self) -> float | None:
        """Lower end of its 95% interval."""
        ...

    @property
    def high(self) -> float | None:
        """Upper end of its 95% interval."""
        ...

    @property
    def p(self) -> float | None:
        """P-value after the correction for multiple testing."""
        ...

    @property
    def lacking(self) -> str:
        """Reason why no verdict can be given; empty if one can."""
        ...


@dataclass(frozen=True)
class Difference(IntervalEstimate):
    """A paired difference, its 95% interval, and the evidence for a verdict on it.

    Attributes:
        patients: Number of patients; None where they were not counted.
        discordant: Number of patients on whose cases the two sides differ; None where they were not counted.
        comparisons: Number of comparisons in Holm's correction; None for one.
        seeds: Number of seeds that the difference is a mean over; None for one.
        p: P-value after the correction for multiple testing.
        p_is_bound: Whether `p` is an upper bound, at the floor of the resampling.
    """

    patients: int | None = None
    discordant: int | None = None
    comparisons: int | None = optional()
    seeds: int | None = optional()
    p: float | None = optional()
    p_is_bound: bool | None = optional()

    @classmethod
    def of(cls, entry: Mapping[str, object]) -> Difference:
        """Create the difference from an entry of a result file; further keys are ignored."""
        values = {each.name: entry.get(each.name) for each in fields(cls)}
        return cls(**values)  # type: ignore[arg-type]  # entries are validated where files are read

    @property
    def evidence(self) -> Evidence | None:
        """Evidence for a verdict; None where patients were not counted."""
        if self.patients is None:
            return None
        return Evidence(self.patients, self.discordant, self.comparisons or 1, self.seeds or 1)

    @property
    def lacking(self) -> str:
        """Reason why no verdict can be given, see `Evidence.lacking`; empty if one can."""
        return "" if self.evidence is None else self.evidence.lacking


def verdict(
    difference: Judged | Mapping[str, object], *, higher_is_better: bool = True, tested: bool = False
) -> Verdict | None:
    """Decide whether a difference is an improvement.

    It is "better" or "worse" where its interval excludes 0, and "even" where it does not. "even" means that
    no difference is shown on these cases, not that there is none.

    Args:
        difference: The difference; a mapping is read by `Difference.of`.
        higher_is_better: Direction of the figure.
        tested: Whether the p-value must be below `LEVEL` as well.

    Returns:
        The verdict, "few" where there is too little evidence for one; None where the difference is undefined
        or has no interval, and with `tested` where it has no p-value.
    """
    if isinstance(difference, Mapping):
        difference = Difference.of(difference)
    if not _is_finite(difference.value):
        return None
    if difference.lacking:
        return "few"
    low, high = difference.low, difference.high
    if low is None or high is None or not (_is_finite(low) and _is_finite(high)):
        return None
    if tested:
        if difference.p is None or not _is_finite(difference.p):
            return None
        if difference.p >= LEVEL:
            return "even"
    if low <= 0 <= high:
        return "even"
    return "better" if (low > 0) == higher_is_better else "worse"


def against_all(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """Combine the verdicts against several references.

    Returns:
        "few" if any verdict is "few"; else "worse" if any is "worse", "better" if all are "better", and
        "even" otherwise. Verdicts that are None are left out; None where all are.
    """
    defined = [each for each in verdicts if each is not None]
    if not defined:
        return None
    if "few" in defined:
        return "few"
    if "worse" in defined:
        return "worse"
    return "better" if set(defined) == {"better"} else "even"


def _is_finite(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))
