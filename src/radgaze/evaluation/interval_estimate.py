"""A figure with its interval, as it is stored in result files."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.records import optional


@dataclass(frozen=True)
class IntervalEstimate:
    """A figure and its 95% interval.

    Attributes:
        value: The figure; None where it is undefined.
        low: Lower end of the interval; None where there is no interval.
        high: Upper end of the interval; None where there is no interval.
        undefined_resamples: Number of resamples on which the figure is undefined, where there are some.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    undefined_resamples: int | None = optional()
