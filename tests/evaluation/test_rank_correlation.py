from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from radgaze.evaluation.statistics.rank_correlation import midranks, rank_correlation_of
from radgaze.evaluation.statistics.resampling import percentile_interval


@pytest.mark.parametrize("values", [4, 1000])
def test_a_weighted_rank_correlation_is_that_of_cases_repeated_by_their_weights(values: int) -> None:
    """With four different values nearly all cases are tied."""
    rng = np.random.default_rng(values)
    x, y = rng.integers(values, size=(2, 30)).astype(float)
    y += x
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=20).astype(float)
    found = rank_correlation_of(x, y)(weights)
    for row, rho in zip(weights.astype(int), found, strict=True):
        assert rho == pytest.approx(spearmanr(np.repeat(x, row), np.repeat(y, row)).statistic, abs=1e-12)


def test_midranks_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(5, size=20).astype(float)
    (ranks,) = midranks(x, np.ones((1, 20)))
    np.testing.assert_allclose(ranks, rankdata(x))


def test_a_constant_has_no_rank_correlation_also_in_a_single_resample() -> None:
    x, y = np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])
    found = rank_correlation_of(x, y)(np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 0.0]]))
    assert found[0] == pytest.approx(spearmanr(x, y).statistic)
    assert np.isnan(found[1])


def test_nan_has_no_rank_and_matters_only_where_its_case_is_drawn() -> None:
    x, y = np.array([np.nan, 1.0, 2.0, 3.0, 2.0]), np.array([4.0, 1.0, 3.0, 2.0, np.nan])
    found = rank_correlation_of(x, y)(np.array([[1.0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [1, 1, 1, 1, 0]]))
    assert found[1] == pytest.approx(spearmanr(x[1:4], y[1:4]).statistic)
    assert np.isnan(found[[0, 2]]).all()


@pytest.mark.slow
@pytest.mark.parametrize("patients", [10, 20, 60])
@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_percentiles_of_the_bootstrap_cover_the_rank_correlation_of_few_patients(
    patients: int, rho: float
) -> None:
    """Spearman's ρ of normal variables of correlation r is 6/π · asin(r/2)."""
    rng = np.random.default_rng(patients)
    truth, covered = 6 / np.pi * np.arcsin(rho / 2), []
    for _ in range(400):
        x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], patients).T
        weights = rng.multinomial(patients, np.full(patients, 1 / patients), size=300).astype(float)
        low, high = percentile_interval(rank_correlation_of(x, y)(weights))
        covered.append(low <= truth <= high)
    assert 0.91 < np.mean(covered) < 0.99
