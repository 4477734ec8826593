"""The power of a comparison in words."""

from __future__ import annotations

from radgaze.evaluation.across_runs import Difference
from radgaze.records import plain_fields
from radgaze.reporting.statistics_words import in_words, legend


def has_power(difference: Difference) -> bool:
    """Whether the power of a comparison was computed."""
    return difference.detectable_at is not None


def detectable_words(difference: Difference | None) -> str:
    """The least difference that would have been found, such as `0.034`; or why there is none; or a dash."""
    return in_words({} if difference is None else plain_fields(difference))


def power_legend(difference: Difference) -> str:
    """The meaning of a detectable difference."""
    return legend(plain_fields(difference))
