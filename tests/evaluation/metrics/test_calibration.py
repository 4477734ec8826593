"""Oracles: scikit-learn's Brier score and calibration curve, and the definition in a loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from radgaze.evaluation.metrics.calibration import brier, calibration_error, errors_if_calibrated, reliability


def honest(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that come true exactly as often as their probabilities say."""
    random = np.random.default_rng(seed)
    p = random.random(n)
    return (random.random(n) < p).astype(int), p


def test_brier_score_equals_scikit_learn_and_of_all_classes_their_sum() -> None:
    labels, p = honest(200)
    assert brier(labels, p)[0] == pytest.approx(brier_score_loss(labels, p))
    both = np.stack([labels, 1 - labels], 1), np.stack([p, 1 - p], 1)
    assert brier(*both)[0] == pytest.approx(2 * brier_score_loss(labels, p))


def test_reliability_equals_scikit_learns_curve_of_equal_numbers() -> None:
    labels, p = honest(300)
    share, mean = calibration_curve(labels, p, n_bins=10, strategy="quantile")
    curve = reliability(labels, p, bins=10)
    np.testing.assert_allclose(curve.share, share)
    np.testing.assert_allclose(curve.probability, mean)
    assert curve.cases.sum() == 300


def test_calibration_error_is_the_weighted_gap_of_that_curve() -> None:
    labels, p = honest(250, seed=1)
    curve = reliability(labels, p)
    gap = sum(
        n / 250 * abs(m - s) for n, m, s in zip(curve.cases, curve.probability, curve.share, strict=True)
    )
    assert calibration_error(labels, p)[0] == pytest.approx(gap)


def test_calibration_error_falls_to_zero_for_honest_probabilities_and_finds_overconfidence() -> None:
    labels, p = honest(100_000)
    assert calibration_error(labels, p)[0] < 0.01
    assert calibration_error(labels, np.where(p > 0.5, 0.99, 0.01))[0] == pytest.approx(0.24, abs=0.01)


@pytest.mark.parametrize("exclusive", [True, False])
def test_errors_by_chance_are_those_of_labels_drawn_from_the_probabilities(exclusive: bool) -> None:
    random = np.random.default_rng(5)
    p = random.dirichlet([1, 2, 0.5], 90)
    found = errors_if_calibrated(p, exclusive=exclusive, draws=2000)
    brute = []
    for _ in range(2000):
        if exclusive:
            y = np.eye(3)[[random.choice(3, p=row) for row in p]]
        else:
            y = (random.random(p.shape) < p).astype(float)
        brute.append([calibration_error(y[:, c], p[:, c])[0] for c in range(3)])
    np.testing.assert_allclose(found.mean(0), np.mean(brute, 0), atol=0.003)
    np.testing.assert_allclose(np.quantile(found, 0.975, 0), np.quantile(brute, 0.975, 0), atol=0.01)
    of_sum = np.std(found.mean(1)), np.std(np.mean(brute, 1))  # of the macro mean: classes drawn together
    assert of_sum[0] == pytest.approx(of_sum[1], rel=0.1)


def test_a_calibrated_error_is_within_the_range_by_chance_and_an_overconfident_one_is_not() -> None:
    inside = {"calibrated": 0, "overconfident": 0}
    for seed in range(200):
        labels, p = honest(120, seed=seed)
        sure = p**2 / (p**2 + (1 - p) ** 2)
        for name, said in (("calibrated", p), ("overconfident", sure**2 / (sure**2 + (1 - sure) ** 2))):
            drawn = errors_if_calibrated(said[:, None], exclusive=False, draws=300)[:, 0]
            low, high = np.quantile(drawn, (0.025, 0.975))
            inside[name] += low <= calibration_error(labels, said)[0] <= high
    assert 180 <= inside["calibrated"] <= 198
    assert inside["overconfident"] < 40


def test_without_cases_no_error_is_drawn() -> None:
    assert np.isnan(errors_if_calibrated(np.empty((0, 2)), exclusive=True, draws=3)).all()


def test_weights_count_a_case_as_often_as_they_say_in_bins_that_stay() -> None:
    labels, p = honest(80, seed=2)
    times = np.random.default_rng(3).integers(0, 3, (5, 80))
    edges = np.quantile(p, np.arange(1, 10) / 10)
    for row, weights in enumerate(times):
        y, q = np.repeat(labels, weights), np.repeat(p, weights)
        error = 0.0
        for b in range(10):
            low, high = (-np.inf, *edges)[b], (*edges, np.inf)[b]
            part = (q > low) & (q <= high)
            error += abs((q[part] - y[part]).sum()) / len(q)
        assert calibration_error(labels, p, times)[row] == pytest.approx(error)
        assert brier(labels, p, times)[row] == pytest.approx(np.mean((q - y) ** 2))


@pytest.mark.parametrize("metric", [brier, calibration_error, reliability])
def test_labels_that_are_none_and_other_shapes_are_refused(metric: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match=r"labels \(3,\) and probabilities \(1,\)"):
        metric([0, 1, 1], [0.1])
    with pytest.raises(ValueError, match=r"labels \(2, 2\) and probabilities \(2,\)"):
        metric([[0, 1], [1, 0]], [0.1, 0.2])
    with pytest.raises(ValueError, match="labels must be 0 or 1"):
        metric([0, 2], [0.1, 0.2])


@pytest.mark.parametrize("metric", [calibration_error, reliability])
def test_bins_are_of_one_class_and_at_least_one(metric: Callable[..., object]) -> None:
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        metric([0, 1], [0.9, 0.1], bins=0)
    with pytest.raises(ValueError, match=r"must be \(n,\), got \(2, 2\)"):
        metric([[0, 1], [1, 0]], [[0.1, 0.2], [0.1, 0.2]])


def test_equal_probabilities_share_a_bin_and_no_cases_are_undefined() -> None:
    assert reliability([0, 1, 1], [0.3, 0.3, 0.3]).cases.tolist() == [3]
    assert np.isnan(calibration_error([], []))
    assert np.isnan(brier([0, 1], [0.2, 0.3], [[0, 0]]))
