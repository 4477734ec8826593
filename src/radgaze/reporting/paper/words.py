"""The power of a comparison as text."""

from __future__ import annotations

from radgaze.evaluation.across_runs import Difference
from radgaze.records import plain_fields
from radgaze.reporting.statistics_words import in_words, legend, p_words
from radgaze.reporting.wording import DASH, bounds, interval, number, signed


def has_power(difference: Difference) -> bool:
    """Return whether the power of a comparison was computed."""
    return difference.detectable_at is not None


def detectable_words(difference: Difference | None) -> str:
    """Format the smallest detectable difference, such as `0.034`; or the reason of its absence; or a dash."""
    return in_words({} if difference is None else plain_fields(difference))


def power_legend(difference: Difference) -> str:
    """Explain the column of detectable differences."""
    return legend(plain_fields(difference))


def paired_words(difference: Difference | None) -> str:
    """Text such as `+0.041 (−0.012 to 0.094), Holm p 0.210; detectable with 80% power: 0.080`."""
    if difference is None or difference.value is None:
        return DASH
    around = interval(difference, form="({} to {})")
    text = f"{signed(difference.value)}{' ' if around else ''}{around}"
    if difference.lacking:
        return f"{text}, no verdict: {difference.lacking}"
    power = f"; detectable with 80% power: {detectable_words(difference)}" if has_power(difference) else ""
    return f"{text}, Holm p {p_words(difference.p, difference.p_is_bound)}{power}"


def short_words(difference: Difference) -> str:
    """Text of a paired difference without its power, such as `+0.041 (−0.012 to 0.094), Holm p 0.210`."""
    return paired_words(difference).split("; detectable", 1)[0]


def mean_words(mean: object) -> str:
    """Text of an estimate, such as `0.723 (0.658 to 0.786)`; a dash where it is undefined."""
    value, around = bounds(mean)[0], interval(mean, form="({} to {})")
    return f"{number(value)} {around}" if around else number(value)
