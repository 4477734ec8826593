"""Oracles: scikit-learn on the cases as they are, and written out as often as weights say."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from radgaze.evaluation.metrics.classification import METRICS, measure
from radgaze.evaluation.metrics.discrimination import (
    auc,
    average_precision,
    precision_recall,
    roc,
    sensitivity_at_specificity,
)


def cases(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of which many tie."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    return labels, np.round(random.normal(size=n) + labels, 1)


def sensitivity_by_sklearn(labels: np.ndarray, scores: np.ndarray, specificity: float) -> float:
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(true[false <= 1 - specificity + 1e-12].max())


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_scikit_learn_with_ties(seed: int) -> None:
    labels, scores = cases(seed)
    np.testing.assert_allclose(auc(labels, scores), roc_auc_score(labels, scores), rtol=1e-12)
    np.testing.assert_allclose(
        average_precision(labels, scores), average_precision_score(labels, scores), rtol=1e-12
    )
    for specificity in (0.5, 0.8, 0.9, 1.0):
        np.testing.assert_allclose(
            sensitivity_at_specificity(labels, scores, specificity=specificity),
            sensitivity_by_sklearn(labels, scores, specificity),
            rtol=1e-12,
        )


def test_weights_count_a_case_as_often_as_they_say() -> None:
    labels, scores = cases(7)
    weights = np.random.default_rng(8).integers(0, 4, (20, labels.size))
    found = [f(labels, scores, weights) for f in (auc, average_precision, sensitivity_at_specificity)]
    for row, times in enumerate(weights):
        y, s = np.repeat(labels, times), np.repeat(scores, times)
        by_sklearn = roc_auc_score(y, s), average_precision_score(y, s), sensitivity_by_sklearn(y, s, 0.9)
        np.testing.assert_allclose([of_all[row] for of_all in found], by_sklearn, rtol=1e-12)


def test_metrics_that_share_their_counts_equal_those_that_do_not() -> None:
    draw = np.random.default_rng(2)
    labels, scores = draw.integers(0, 2, 60), draw.random(60).round(1)
    weights = draw.integers(0, 3, (5, 60)).astype(np.float64)
    together = measure(tuple(METRICS), labels, scores, weights)
    assert list(together) == list(METRICS)
    for name, metric in METRICS.items():
        np.testing.assert_array_equal(together[name], metric.function(labels, scores, weights))


def test_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    labels, scores = cases(3, 30)
    pairs = [
        1.0 if p > q else 0.5 if p == q else 0.0 for p in scores[labels == 1] for q in scores[labels == 0]
    ]
    assert auc(labels, scores)[0] == pytest.approx(np.mean(pairs))


def test_auc_of_turned_scores_is_the_complement_and_constant_scores_are_chance() -> None:
    labels, scores = cases(4)
    assert auc(labels, -scores)[0] == pytest.approx(1 - auc(labels, scores)[0])
    assert auc(labels, np.ones(labels.size))[0] == 0.5
    assert average_precision(labels, np.ones(labels.size))[0] == pytest.approx(labels.mean())
    assert sensitivity_at_specificity(labels, np.ones(labels.size))[0] == 0


def test_figures_are_nan_where_a_side_is_missing() -> None:
    labels, scores = np.array([0, 0, 1]), np.array([0.1, 0.4, 0.3])
    weights = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 0, 0]])
    assert np.isnan(auc(labels, scores, weights)).tolist() == [True, True, False, True]
    assert np.isnan(sensitivity_at_specificity(labels, scores, weights)).tolist() == [True, True, False, True]
    assert np.isnan(average_precision(labels, scores, weights)).tolist() == [True, False, False, True]
    assert np.isnan(auc([], []))
    assert all(part.size == 0 for part in (*roc([1, 1], [0.2, 0.3]), *precision_recall([0, 0], [0.2, 0.3])))


def test_curves_enclose_the_figures() -> None:
    labels, scores = cases(5)
    false, true, _ = roc(labels, scores)
    assert np.trapezoid(true, false) == pytest.approx(auc(labels, scores)[0])
    recall, precision, _ = precision_recall(labels, scores)
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(average_precision(labels, scores)[0])


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "words"),
    [
        ([0, 1], [0.1], None, "one length"),
        ([0, 2], [0.1, 0.2], None, "0 or 1"),
        ([0, 1], [0.1, np.nan], None, "NaN"),
        ([0, 1], [0.1, 0.2], [1, 1], "resamples"),
    ],
)
def test_wrong_input_is_named(
    labels: list[int], scores: list[float], weights: list[int] | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        auc(labels, scores, weights)
