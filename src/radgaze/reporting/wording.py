"""Numbers as a person reads them, and sentences that claim no more than the numbers do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from radgaze.evaluation import baselines
from radgaze.evaluation.metrics import agreement, localisation
from radgaze.evaluation.statistics.evidence import FEW_SEEDS, Evidence, too_few_seeds
from radgaze.evaluation.statistics.verdict import Difference
from radgaze.reporting.statistics_words import marked
from radgaze.words import count as count
from radgaze.words import listed as listed

DASH = "–"  # where a metric is undefined

# Name shown, whether higher is better, what it says.
AGREEMENT: dict[str, tuple[str, bool, str]] = {
    name: (metric.title, metric.higher_is_better, metric.words) for name, metric in agreement.METRICS.items()
}
LOCALISATION: dict[str, tuple[str, str]] = {
    name: (metric.title[0].upper() + metric.title[1:], metric.words)
    for name, metric in localisation.METRICS.items()
}
MAPS: dict[str, str] = {
    "heatmap": "Heatmap",
    "heatmap_raw": "Heatmap, not blurred",
    "grad_cam": "Grad-CAM",
    "mask": "Mask",
    **{name: kind.label[0].upper() + kind.label[1:] for name, kind in baselines.evaluated().items()},
}
FLOORS = tuple(baselines.evaluated())


def number(value: Any, digits: int = 3) -> str:
    """A number with a true minus sign; a dash where it is undefined (None or NaN)."""
    known = finite(value)
    if known is None:
        return DASH
    text = f"{known:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def estimate(entry: Any, digits: int = 3) -> str:
    """`0.872 [0.801, 0.931]`; without an interval where there is none; a dash where it is undefined."""
    value = bounds(entry)[0]
    if value is None:
        return DASH
    of = interval(entry, digits)
    return number(value, digits) + (f" {of}" if of else "")


def interval(entry: Any, digits: int = 3, form: str = "[{}, {}]") -> str:
    """`[0.801, 0.931]`, with a mark where it has no width; `(too few seeds)`; nothing without one."""
    value, low, high = bounds(entry)
    if value is None:
        return ""
    if of_few_seeds(entry):
        return f"({FEW_SEEDS})"
    if low is None or high is None:
        return ""
    return form.format(number(low, digits), number(high, digits)) + marked(low, high)


def of_few_seeds(entry: Any) -> bool:
    """Whether an entry is a mean over several seeds, but too few for an interval."""
    seeds = _part(entry, "seeds")
    return isinstance(seeds, int) and too_few_seeds(seeds or 1)


def lacking(entry: Any) -> str:
    """Why no verdict can be given on a difference, by what its entry rests on; empty if one can."""
    if isinstance(entry, Difference):
        return entry.lacking
    evidence = Evidence.of(entry) if isinstance(entry, Mapping) else None
    return evidence.lacking if evidence is not None else ""


def difference(entry: Any, digits: int = 3) -> str:
    """`+0.051 [−0.012, 0.110], not distinguishable from 0`: a difference, and what may be said of it."""
    value, low, high = bounds(entry)
    if value is None:
        return "undefined"
    of = interval(entry, digits)
    text = signed(value, digits) + (f" {of}" if of else "")
    if why := lacking(entry):
        return f"{text}, no verdict: {why}"
    if low is None or high is None:
        return text
    return text + (", not distinguishable from 0" if low <= 0 <= high else "")


def signed(value: Any, digits: int = 3) -> str:
    """A number with its sign, also if that is plus."""
    known = finite(value)
    return DASH if known is None else ("+" if known > 0 else "") + number(known, digits)


def bounds(entry: Any) -> tuple[float | None, float | None, float | None]:
    """Value, low and high of a metric's entry: `{"value", "low", "high"}`, a plain number, or None."""
    if entry is None or isinstance(entry, int | float):
        return finite(entry), None, None
    return finite(_part(entry, "value")), finite(_part(entry, "low")), finite(_part(entry, "high"))


def _part(entry: object, name: str) -> object:
    return entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)


def finite(value: Any) -> float | None:
    """The value as a float; None where it is None, NaN or infinite."""
    return None if value is None or not math.isfinite(float(value)) else float(value)
