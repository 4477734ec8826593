"""What a difference could have been found, as tables and pages say it; see `power`."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from radgaze.evaluation.statistics.evidence import LEVEL

HEADING = "detectable, 80% power"


def in_words(entry: Mapping[str, Any], digits: int = 3) -> str:
    """`0.034`; where there is no such number, why: `not stated: too few seeds (2; at least 3)`."""
    value, note = entry.get("detectable"), entry.get("detectable_note")
    if value is not None and isfinite(value):
        return f"{value:.{digits}f}"
    return f"not stated: {note}" if note else "–"


def level_in_words(entry: Mapping[str, Any]) -> str:
    """`two-sided 0.05`, or `two-sided 0.05/11` and that this is Holm's strictest step over 11 comparisons."""
    at = entry.get("detectable_at")
    m = round(LEVEL / at) if at else 1
    strictest = f"/{m}, the strictest step of Holm's correction over {m} comparisons" if m > 1 else ""
    return f"two-sided {LEVEL:g}{strictest}"


def statement(entry: Mapping[str, Any], given: str, figure: str) -> str:
    """What could have been found with what was given, and what a difference would need.

    Args:
        entry: As of `Power.entry`.
        given: Such as "these 84 cases".
        figure: Such as "macro AUC".
    """
    needed = f" {entry['needed']}." if entry.get("needed") else ""
    if entry.get("detectable") is None:
        note = entry.get("detectable_note") or "undefined"
        return f"it is not stated what true difference in {figure} {given} could have shown: {note}.{needed}"
    return (
        f"with {given} a true difference in {figure} of about ±{in_words(entry)} would have been found in "
        f"four of five studies ({level_in_words(entry)}).{needed}"
    )


def legend(entry: Mapping[str, Any]) -> str:
    """What the column means."""
    return (
        f"Detectable: the true difference that such a study finds with 80% power, {level_in_words(entry)}. "
        "It comes from the measured variances, not from the measured difference."
    )
