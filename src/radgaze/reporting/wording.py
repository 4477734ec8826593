"""Numbers as a person reads them, and sentences that claim no more than the numbers do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

DASH = "–"  # where a metric is undefined

# Name shown, whether higher is better, what it says.
AGREEMENT: dict[str, tuple[str, bool, str]] = {
    "nss": ("NSS", True, "mean z-score of the map at the fixations; 0 is chance"),
    "cc": ("CC", True, "Pearson correlation of map and gaze map; 0 is chance"),
    "kl": ("KL", False, "divergence of the map from the gaze distribution, in nats; 0 is equal"),
    "sim": ("SIM", True, "shared mass of map and gaze distribution; 1 is equal"),
    "auc_judd": ("AUC-Judd", True, "fixated pixels against all pixels; 0.5 is chance"),
    "shuffled_auc": (
        "shuffled AUC",
        True,
        "this case's fixations against other cases'; 0.5 is chance, and a map that only knows where people "
        "look in general stays there",
    ),
}
MAPS: dict[str, str] = {
    "heatmap": "Heatmap",
    "mask": "Mask",
    "mean_gaze": "Mean gaze (floor)",
    "lung_shape": "Lung shape (floor)",
}
FLOORS = ("mean_gaze", "lung_shape")

INTERVALS = {
    "auc": (
        "95% bootstrap",
        "Patients are drawn again with replacement, stratified by class, and the middle 95% of the results kept: "
        "how much the figure would move with another sample of patients of this size.",
    ),
    "auc_seed": (
        "95% as in the seed paper",
        "The 2.5th and 97.5th percentile over 30 draws of 55–60 test cases, as Watanabe et al. (2022) did: "
        "comparable with their table, and wider or narrower than a proper interval for the whole test set.",
    ),
}


def number(value: Any, digits: int = 3) -> str:
    """A number with a true minus sign; a dash where it is undefined (None or NaN)."""
    if not _defined(value):
        return DASH
    text = f"{float(value):.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def estimate(entry: Any, digits: int = 3) -> str:
    """`0.872 [0.801, 0.931]`; without an interval where there is none; a dash where it is undefined."""
    value, low, high = bounds(entry)
    if value is None:
        return DASH
    if low is None or high is None:
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def bounds(entry: Any) -> tuple[float | None, float | None, float | None]:
    """Value, low and high of a metric's entry: `{"value", "low", "high"}`, a plain number, or None."""
    if isinstance(entry, Mapping):
        value, low, high = entry.get("value"), entry.get("low"), entry.get("high")
    else:
        value, low, high = entry, None, None
    return tuple(float(x) if _defined(x) else None for x in (value, low, high))  # type: ignore[return-value]


def count(n: int, thing: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{n:,} {thing}" + ("" if n == 1 else "s")


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1] if words else ""


def against_chance(auc: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Which classes' AUC cannot be told from 0.5, in one sentence; empty if all can."""
    lost = [name for name in classes if (low := bounds(auc.get(name))[1]) is not None and low <= 0.5]
    if not lost:
        return ""
    verb = "is" if len(lost) == 1 else "are"
    return f"{listed(lost)} {verb} not distinguishable from chance: the interval reaches 0.5."


def difference(entry: Any, digits: int = 3) -> str:
    """A difference and whether it can be told from zero, by its interval."""
    value, low, high = bounds(entry)
    if value is None:
        return "undefined"
    sign = "+" if value > 0 else ""
    text = f"{sign}{number(value, digits)}"
    if low is None or high is None:
        return text
    text += f" [{number(low, digits)}, {number(high, digits)}]"
    return text + (", not distinguishable from 0" if low <= 0 <= high else "")


def _defined(value: Any) -> bool:
    return value is not None and not isinstance(value, bool) and math.isfinite(float(value))
