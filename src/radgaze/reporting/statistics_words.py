"""Statistics as text: p-values, verdicts, detectable differences, and intervals without width."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, isfinite

from radgaze.evaluation.statistics.decision import Difference, verdict
from radgaze.evaluation.statistics.evidence import LEVEL

NO_WIDTH = "†"
"""Mark of an interval without width."""

CAUTION = (
    "†: the interval has no width, since every resample gives the same figure, as where it lies at its "
    "bound. Resampling cannot show how uncertain such a figure is. Of an AUC of 1 a sound one-sided 95% "
    "lower limit is 0.05^(1/k), with k the smaller of the numbers of patients with and without the class: "
    "0.55 for 5 patients, 0.74 for 10, 0.90 for 30."
)
"""Explanation of `NO_WIDTH`.

Take k pairs of a patient with the class and a patient without it, no patient in two pairs. Each pair is
ordered correctly with probability AUC. If the observed AUC is 1, all pairs are, which has a probability of at
most AUC^k; this is below .05 for any AUC below 0.05^(1/k) ≈ 1 − 3/k (the rule of three, Hanley and
Lippman-Hand 1983). Where patients have cases both with and without the class, there may be fewer such
pairs."""

POWER_HEADING = "detectable, 80% power"
"""Heading of the column of detectable differences."""


def marked(low: float, high: float) -> str:
    """Return the mark ` †` for an interval without width, see `CAUTION`, and an empty text for others."""
    return f" {NO_WIDTH}" if abs(high - low) < 1e-9 else ""


def cautions(text: str) -> list[str]:
    """Return the notes that explain the marks in a text."""
    return [CAUTION] if NO_WIDTH in text else []


def bounded_p(p: float) -> str:
    """Format a p-value at the floor of its resampling as `≤ 0.011`, rounded up so that it remains a bound."""
    return f"≤ {ceil(p * 1000 - 1e-9) / 1000:.3f}"


def p_words(p: float | None, bound: bool | None = False) -> str:
    """Format a p-value: `0.031`, `< 0.001`, `≤ 0.011` for a bound, or a dash where there is none."""
    if p is None or not isfinite(p):
        return "–"
    if bound and p < 1:
        return bounded_p(p)
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_equals(p: float | None, bound: bool | None = False) -> str:
    """Format a p-value after the letter p in a sentence: `= 0.031`, `< 0.001`, `≤ 0.011`."""
    words = p_words(p, bound)
    return words if words[0] in "<≤" else f"= {words}"


def verdict_words(difference: Difference, *, higher_is_better: bool | None = True) -> str:
    """Format a verdict for a table, or the reason why there is none; a p-value must be below 0.05 as well.

    Args:
        difference: The difference.
        higher_is_better: Direction of the figure; None where neither is better.
    """
    decision = verdict(
        difference, higher_is_better=higher_is_better is not False, tested=difference.p is not None
    )
    if decision == "few":
        return difference.lacking
    sides = ("better", "worse") if higher_is_better is not None else ("higher", "lower")
    return {"better": sides[0], "worse": sides[1], "even": "not distinguishable"}.get(
        decision or "", "undefined"
    )


def in_words(power: object, digits: int = 3) -> str:
    """Format a detectable difference: `0.034`, or `not stated: too few runs (2; at least 3)`.

    Args:
        power: A `PowerSummary`, or a mapping or another object with its names.
        digits: Number of decimals.
    """
    detectable = _number(power, "detectable")
    if detectable is not None and isfinite(detectable):
        return f"{detectable:.{digits}f}"
    reason = _part(power, "detectable_note")
    return f"not stated: {reason}" if reason else "–"


def level_in_words(power: object) -> str:
    """Format the level of a detectable difference: `two-sided 0.05`, or `two-sided 0.05/11` and why."""
    level = _number(power, "detectable_at")
    m = round(LEVEL / level) if level else 1
    strictest = f"/{m}, the strictest step of Holm's correction over {m} comparisons" if m > 1 else ""
    return f"two-sided {LEVEL:g}{strictest}"


def statement(power: object, given: str, figure: str) -> str:
    """State which difference could have been detected, and the numbers that `PLANNED` would need.

    Args:
        power: Argument of `in_words`.
        given: The data, such as "these 84 cases".
        figure: The figure, such as "macro AUC".
    """
    needed = f" {needs}." if (needs := _part(power, "needed")) else ""
    if _part(power, "detectable") is None:
        reason = _part(power, "detectable_note") or "undefined"
        return (
            f"it is not stated what true difference in {figure} {given} could have shown: {reason}.{needed}"
        )
    return (
        f"with {given} a true difference in {figure} of about ±{in_words(power)} would have been found in "
        f"four of five studies ({level_in_words(power)}).{needed}"
    )


def legend(power: object) -> str:
    """Explain the column of detectable differences."""
    return (
        f"Detectable: the true difference that such a study finds with 80% power, {level_in_words(power)}. "
        "It comes from the measured variances, not from the measured difference."
    )


def _part(power: object, name: str) -> object:
    return power.get(name) if isinstance(power, Mapping) else getattr(power, name, None)


def _number(power: object, name: str) -> float | None:
    value = _part(power, name)
    return float(value) if isinstance(value, (int, float)) else None
