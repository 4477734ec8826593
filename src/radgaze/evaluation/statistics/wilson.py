"""Wilson's interval of a proportion."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wilson_interval(
    share: NDArray[np.float64], n: NDArray[np.int64], z: float = 1.959964
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the lower and upper ends of Wilson's (1927) interval of proportions.

    Args:
        share: Proportions in [0, 1].
        n: Number of cases of each proportion, of the same shape.
        z: Quantile of the normal distribution, by default that of a 95% interval.
    """
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half
