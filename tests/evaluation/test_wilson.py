import numpy as np
import pytest
from scipy.stats import binomtest

from radgaze.evaluation.statistics.wilson import wilson_interval


def test_the_interval_is_that_of_scipy() -> None:
    share, n = np.array([0.0, 0.3, 1.0]), np.array([10, 20, 7])
    low, high = wilson_interval(share, n)
    for place in range(3):
        expected = binomtest(round(share[place] * n[place]), int(n[place])).proportion_ci(method="wilson")
        assert (low[place], high[place]) == pytest.approx((expected.low, expected.high), abs=1e-6)
