"""Wilson's interval of a share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wilson_interval(
    share: NDArray[np.float64], n: NDArray[np.int64], z: float = 1.959964
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the lower and upper ends of Wilson's (1927) 95% interval.

    Args:
        share: Shares in [0, 1].
        n: Number of cases of each share.
        z: Quantile of the normal distribution.
    """
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return middle - half, middle + half
