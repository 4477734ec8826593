"""Numbers as text, and differences as text that claims no more than the intervals support."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import SupportsFloat

from radgaze.evaluation import baselines
from radgaze.evaluation.metrics import agreement, localisation, reliance
from radgaze.evaluation.statistics.evidence import FEW_SEEDS, LEVEL, Evidence, too_few_seeds
from radgaze.records import plain_fields
from radgaze.reporting.statistics_words import marked
from radgaze.words import count as count
from radgaze.words import listed as listed

DASH = "–"
"""Text of an undefined figure."""

AGREEMENT: dict[str, tuple[str, bool, str]] = {
    name: (metric.title, metric.higher_is_better, metric.words) for name, metric in agreement.METRICS.items()
}
"""Title of each metric of agreement, whether higher is better, and its explanation."""
LOCALISATION: dict[str, tuple[str, str]] = {
    name: (metric.title[0].upper() + metric.title[1:], metric.words)
    for name, metric in localisation.METRICS.items()
}
"""Title and explanation of each metric of localisation."""
RELIANCE: dict[str, tuple[str, str]] = {
    name: (metric.title[0].upper() + metric.title[1:], metric.words)
    for name, metric in reliance.METRICS.items()
}
"""Title and explanation of each metric of reliance on a confounder."""
MAPS: dict[str, str] = {
    "heatmap": "Heatmap",
    "heatmap_raw": "Heatmap, not blurred",
    "grad_cam": "Grad-CAM",
    "mask": "Mask",
    **{name: kind.label[0].upper() + kind.label[1:] for name, kind in baselines.evaluated().items()},
}
"""Title of each map, the floors last."""
FLOORS = tuple(baselines.evaluated())
"""Names of the baseline maps."""


def number(value: object, digits: int = 3) -> str:
    """Format a number with a true minus sign; a dash where it is undefined (None or NaN)."""
    defined = finite(value)
    if defined is None:
        return DASH
    text = f"{defined:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def estimate(entry: object, digits: int = 3) -> str:
    """Format an entry as `0.872 [0.801, 0.931]`, without an interval where there is none; see `bounds`."""
    value = bounds(entry)[0]
    if value is None:
        return DASH
    around = interval(entry, digits)
    return number(value, digits) + (f" {around}" if around else "")


def interval(entry: object, digits: int = 3, form: str = "[{}, {}]") -> str:
    """Format an entry's interval as `[0.801, 0.931]`, with a mark where it has no width.

    Without an interval the text is `(too few runs)` where that is the reason, and otherwise empty.
    """
    value, low, high = bounds(entry)
    if value is None:
        return ""
    if of_few_seeds(entry):
        return f"({FEW_SEEDS})"
    if low is None or high is None:
        return ""
    return form.format(number(low, digits), number(high, digits)) + marked(low, high)


def of_few_seeds(entry: object) -> bool:
    """Return whether an entry is a mean over several seeds, but too few for an interval."""
    seeds = _part(entry, "seeds")
    return isinstance(seeds, int) and too_few_seeds(seeds or 1)


def lacking(entry: object) -> str:
    """Return the reason why no verdict on a difference is possible, from its entry; empty if one is."""
    if _part(entry, "patients") is None:
        return ""
    reason = _part(entry, "lacking")
    if isinstance(reason, str):
        return reason
    evidence = Evidence.of(plain_fields(entry))
    return evidence.lacking if evidence is not None else ""


def difference(entry: object, digits: int = 3) -> str:
    """Format a difference with its interpretation: `+0.051 [−0.012, 0.110], not distinguishable from 0`."""
    value, low, high = bounds(entry)
    if value is None:
        return "undefined"
    around = interval(entry, digits)
    text = signed(value, digits) + (f" {around}" if around else "")
    if reason := lacking(entry):
        return f"{text}, no verdict: {reason}"
    if low is None or high is None:
        return text
    if low <= 0 <= high:
        return f"{text}, not distinguishable from 0"
    p = finite(_part(entry, "p"))
    several = (_part(entry, "comparisons") or 1) != 1
    is_shown = p is None or p < LEVEL or not several
    return text if is_shown else f"{text}, not distinguishable from 0 after Holm's correction"


def signed(value: object, digits: int = 3) -> str:
    """Format a number with its sign, including a plus sign."""
    defined = finite(value)
    return DASH if defined is None else ("+" if defined > 0 else "") + number(defined, digits)


def bounds(entry: object) -> tuple[float | None, float | None, float | None]:
    """Return value, low and high of an entry, each None where it is undefined.

    Args:
        entry: An `IntervalEstimate`, or a mapping or another object with these names; a number; or None.
    """
    if entry is None or isinstance(entry, SupportsFloat):
        return finite(entry), None, None
    return finite(_part(entry, "value")), finite(_part(entry, "low")), finite(_part(entry, "high"))


def finite(value: object) -> float | None:
    """Convert a value to a float; None where it is None, NaN or infinite."""
    if value is None:
        return None
    if not isinstance(value, SupportsFloat):
        raise TypeError(f"a number is expected, not {type(value).__name__}")
    return float(value) if math.isfinite(float(value)) else None


def _part(entry: object, name: str) -> object:
    return entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)
