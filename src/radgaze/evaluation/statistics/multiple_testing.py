"""Holm's correction of p-values for multiple testing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values by Holm's (1979) step-down method; None and NaN are not counted, and become None."""
    in_order = sorted(
        (value, place) for place, value in enumerate(p) if value is not None and np.isfinite(value)
    )
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(in_order):
        largest = max(largest, min(1.0, (len(in_order) - rank) * value))
        adjusted[place] = largest
    return adjusted
