"""Holm's correction of p-values for how many are tested together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's (1979) step-down adjusted p-values; None and NaN are not counted and stay None."""
    known = sorted(
        (value, place) for place, value in enumerate(p) if value is not None and np.isfinite(value)
    )
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * value))
        adjusted[place] = largest
    return adjusted
