"""The power of a comparison as text."""

from __future__ import annotations

from radgaze.evaluation.across_runs import Difference
from radgaze.records import plain_fields
from radgaze.reporting.statistics_words import in_words, legend


def has_power(difference: Difference) -> bool:
    """Return whether the power of a comparison was computed."""
    return difference.detectable_at is not None


def detectable_words(difference: Difference | None) -> str:
    """Format the smallest detectable difference, such as `0.034`; or the reason of its absence; or a dash."""
    return in_words({} if difference is None else plain_fields(difference))


def power_legend(difference: Difference) -> str:
    """Explain the column of detectable differences."""
    return legend(plain_fields(difference))
