"""Oracles: DeLong's formulas as double loops, the bootstrap, and p-values under the null."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.statistics.delong import (
    delong_covariance,
    delong_test,
    influence,
    influence_of_patients,
    placements,
)
from radgaze.evaluation.statistics.multi_reader import pseudovalues
from radgaze.evaluation.statistics.resampling import PatientBootstrap, estimates


def two_runs(seed: int, n: int = 70) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores (2, n) that correlate and tie."""
    random = np.random.default_rng(seed)
    labels, shared = random.integers(0, 2, n), random.normal(size=n)
    return labels, np.round(np.stack([shared + random.normal(size=n) + k * labels for k in (1.2, 0.8)]), 1)


def by_double_loop(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUCs and covariance by DeLong et al. 1988, eq. 4 to 6."""
    X, Y = scores[:, labels == 1], scores[:, labels == 0]
    (k, m), n = X.shape, Y.shape[1]
    psi = np.zeros((k, m, n))
    for r in range(k):
        for i in range(m):
            for j in range(n):
                psi[r, i, j] = 1.0 if Y[r, j] < X[r, i] else 0.5 if Y[r, j] == X[r, i] else 0.0
    theta, V10, V01 = psi.mean((1, 2)), psi.mean(2), psi.mean(1)
    S10, S01 = np.zeros((k, k)), np.zeros((k, k))
    for r in range(k):
        for s in range(k):
            S10[r, s] = ((V10[r] - theta[r]) * (V10[s] - theta[s])).sum() / (m - 1)
            S01[r, s] = ((V01[r] - theta[r]) * (V01[s] - theta[s])).sum() / (n - 1)
    return theta, S10 / m + S01 / n


@pytest.mark.parametrize("seed", range(4))
def test_covariance_equals_the_double_loop(seed: int) -> None:
    labels, scores = two_runs(seed)
    found, expected = delong_covariance(labels, scores), by_double_loop(labels, scores)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-10)
    np.testing.assert_allclose(found[0], [roc_auc_score(labels, s) for s in scores])


def test_the_error_of_a_difference_of_macro_aucs_equals_the_bootstraps() -> None:
    random = np.random.default_rng(5)
    truth = random.integers(0, 3, 300)
    labels = np.eye(3)[truth].T
    shared = random.normal(size=(3, 300))
    a, b = (shared + random.normal(size=(3, 300)) + k * labels for k in (1.5, 1.0))
    draws = PatientBootstrap(np.arange(300), truth, 4000)

    def difference(w: np.ndarray) -> np.ndarray:
        pairs = zip(labels, a, b, strict=True)
        return np.asarray(np.mean([auc(y, s, w) - auc(y, t, w) for y, s, t in pairs], axis=0))

    by_bootstrap = estimates({0: difference}, 300, draws)[0]
    found = delong_test(labels, a, b)
    assert found.value == pytest.approx(by_bootstrap.value)
    assert found.error == pytest.approx(by_bootstrap.resampled.std(), rel=0.08)
    np.testing.assert_allclose((found.low, found.high), by_bootstrap.interval, atol=0.01)


def test_p_values_are_even_where_two_runs_are_equally_good() -> None:
    random, labels = np.random.default_rng(6), np.repeat([0, 1], 60)
    p = [delong_test(labels, *(random.normal(size=(2, 120)) + labels)).p for _ in range(400)]
    assert kstest(p, "uniform").pvalue > 0.01


def test_a_run_does_not_differ_from_itself_nor_from_the_same_order() -> None:
    labels, scores = two_runs(8)
    same = delong_test(labels, scores[0], np.exp(scores[0]))
    assert (same.value, same.error, same.p) == (0, 0, 1)


def test_a_perfect_and_a_reversed_run_differ_for_certain() -> None:
    labels = np.repeat([0, 1], 10)
    found = delong_test(labels, labels, -labels)
    assert found.value == 1
    assert found.p == 2.0**-19


def test_missing_sides_are_nan() -> None:
    assert np.isnan(delong_test([1, 1, 1], [1, 2, 3], [3, 2, 1]).p)
    one_positive, phi = influence([1, 0, 0], [3, 2, 1])
    assert one_positive[0] == 1
    assert np.isnan(phi).all()


def test_no_case_has_no_difference_and_nothing_but_0_and_1_is_a_label() -> None:
    empty = delong_test([], [], [])
    assert np.isnan([empty.value, empty.error, empty.low, empty.high, empty.p]).all()
    scores = [0.1, 0.4, 0.3, 0.2]
    for wrong in (2, -1, 0.5, np.nan):
        for refused in (
            lambda labels: influence(labels, scores),
            lambda labels: influence_of_patients(labels, scores, [0, 1, 2, 3]),
            lambda labels: placements(labels, scores),
            lambda labels: delong_test(labels, scores, scores),
            lambda labels: pseudovalues(labels, scores),
        ):
            with pytest.raises(ValueError, match="labels must be 0 or 1"):
                refused([0, 1, 1, wrong])


def test_p_of_a_difference_without_variance_is_that_of_an_exact_test() -> None:
    labels = np.array([0, 0, 1, 1])
    found = delong_test(labels, labels * 1.0, 1.0 - labels)
    assert (found.value, found.error) == (1.0, 0.0)
    assert found.p == 2 / 2**4  # of the sixteen exchanges of the runs, two are as extreme
    assert delong_test(labels, labels * 1.0, labels * 2.0).p == 1.0


def by_patient(seed: int, patients: int = 60, each: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores (2, n) of equally good runs, and patients, whose cases are nearly alike for a run."""
    random = np.random.default_rng(seed)
    labels, who = np.repeat(np.arange(patients) % 2, each), np.repeat(np.arange(patients), each)
    of_patients = random.normal(size=(2, patients)).repeat(each, axis=1)
    return labels, of_patients + 0.2 * random.normal(size=(2, len(who))) + labels, who


def test_several_cases_of_a_patient_leave_the_p_value_even() -> None:
    p = np.array(
        [
            delong_test(labels, scores[0], scores[1], who).p
            for labels, scores, who in map(by_patient, range(300))
        ]
    )
    assert kstest(p, "uniform").pvalue > 0.01
    unaware = [delong_test(labels, *scores).p for labels, scores, _ in map(by_patient, range(300))]
    assert np.mean(np.array(unaware) < 0.05) > 0.2  # what patients are given for


def test_the_error_over_patients_equals_the_bootstraps_over_patients() -> None:
    labels, scores, who = by_patient(1)
    draws = PatientBootstrap(who, labels, 4000)

    def difference(w: np.ndarray) -> np.ndarray:
        return auc(labels, scores[0], w) - auc(labels, scores[1], w)

    by_bootstrap = estimates({0: difference}, len(labels), draws)[0]
    assert delong_test(labels, scores[0], scores[1], who).error == pytest.approx(
        by_bootstrap.resampled.std(), rel=0.08
    )


def test_copies_of_a_patients_cases_change_nothing() -> None:
    labels, scores = two_runs(4)
    once = delong_test(labels, *scores)
    who = np.arange(len(labels)).repeat(5)
    a, b = scores.repeat(5, axis=1)
    copied = delong_test(labels.repeat(5), a, b, who)
    assert (copied.value, copied.error, copied.p) == pytest.approx((once.value, once.error, once.p))
