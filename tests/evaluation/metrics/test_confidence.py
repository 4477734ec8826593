"""Confidence scores and their metrics, against closed forms, scikit-learn and loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import entropy as scipys_entropy
from sklearn.metrics import log_loss, roc_auc_score

from radgaze.evaluation.metrics import confidence

DRAW = np.random.default_rng(0)
N = 40
LOGITS = DRAW.normal(0, 1.5, (N, 3))
P = softmax(LOGITS, 1)
ERRORS = DRAW.random(N) < 0.4
SCORES = np.round(DRAW.random(N) + 0.3 * ERRORS, 1)  # with ties
WEIGHTS = DRAW.multinomial(N, np.full(N, 1 / N), 5).astype(float)


def repeated(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cases of a resample written out."""
    places = np.repeat(np.arange(N), weights.astype(int))
    return ERRORS[places], SCORES[places]


def test_scores_are_their_formulas() -> None:
    for p, a, b, m, h in zip(
        P, confidence.alpha(P), confidence.beta(P), confidence.maximum(P), confidence.entropy(P), strict=True
    ):
        g = sum(x * x for x in p)
        assert a == pytest.approx((1 - g) / g)
        assert b == pytest.approx((1 - max(p)) / max(p))
        assert m == pytest.approx(1 - max(p))
        assert h == pytest.approx(scipys_entropy(p))
    sure, even = np.eye(3), np.full((1, 3), 1 / 3)
    for name, least, most in (
        ("alpha", 0, 2),
        ("beta", 0, 2),
        ("maximum", 0, 2 / 3),
        ("entropy", 0, np.log(3)),
    ):
        assert confidence.SCORES[name](sure) == pytest.approx([least] * 3, abs=1e-9)
        assert confidence.SCORES[name](even) == pytest.approx([most])


def test_of_two_classes_all_scores_order_cases_alike() -> None:
    p = DRAW.random(30)
    orders = [np.argsort(score(np.stack([p, 1 - p], 1))) for score in confidence.SCORES.values()]
    assert all((order == orders[0]).all() for order in orders)


def test_of_several_classes_the_most_doubtful_one_counts() -> None:
    p = DRAW.random((6, 4))
    for name, score in confidence.SCORES.items():
        found = confidence.distrust(name, p, "sigmoid")
        for row, value in zip(p, found, strict=True):
            assert value == max(float(score([[x, 1 - x]])[0]) for x in row)
    labels = (p > 0.5).astype(int)
    labels[2, 1] = 1 - labels[2, 1]
    assert confidence.wrong(p, labels, exclusive=False).tolist() == [False, False, True, False, False, False]


def test_temperature_is_the_one_of_the_least_loss() -> None:
    hot = softmax(3 * LOGITS, 1)
    drawn = np.array([DRAW.choice(3, p=p) for p in P])
    labels = np.eye(3)[drawn]
    T = confidence.temperature(hot, labels, "softmax")
    losses = {
        t: log_loss(drawn, softmax(3 * LOGITS / t, 1), labels=[0, 1, 2]) for t in np.geomspace(0.3, 20, 400)
    }
    assert pytest.approx(min(losses, key=lambda t: losses[t]), rel=0.02) == T
    np.testing.assert_allclose(confidence.tempered(hot, T, "softmax"), softmax(3 * LOGITS / T, 1), atol=1e-9)
    z = DRAW.normal(0, 2, (20, 4))
    found = confidence.tempered(1 / (1 + np.exp(-z)), 1.7, "sigmoid")
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-z / 1.7)), atol=1e-9)
    assert confidence.temperature(np.empty((0, 3)), np.empty((0, 3)), "softmax") == 1


def test_a_temperature_changes_no_prediction_and_certainty_stays_finite() -> None:
    p = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3]])
    for T in (0.5, 3.0):
        found = confidence.tempered(p, T, "softmax")
        assert found.argmax(1).tolist() == [0, 1]
        assert np.isfinite(log_softmax(np.log(found), 1)).all()
        assert found.sum(1) == pytest.approx([1, 1])


def test_error_detection_is_scikit_learns() -> None:
    assert confidence.error_detection(ERRORS, SCORES)[0] == pytest.approx(roc_auc_score(ERRORS, SCORES))
    for w, found in zip(WEIGHTS, confidence.error_detection(ERRORS, SCORES, WEIGHTS), strict=True):
        assert found == pytest.approx(roc_auc_score(*repeated(w)))


def test_false_rejection_is_found_by_trying_every_threshold() -> None:
    for rejected in (0.5, 0.95, 1.0):
        found = confidence.false_rejection(ERRORS, SCORES, WEIGHTS, rejected=rejected)
        for w, value in zip(WEIGHTS, found, strict=True):
            errors, scores = repeated(w)
            fits = [t for t in np.unique(scores) if (scores[errors] >= t).mean() >= rejected - 1e-9]
            assert value == pytest.approx((scores[~errors] >= max(fits)).mean())
    assert np.isnan(confidence.false_rejection([False, False], [0.1, 0.2])[0])


def test_risk_over_coverage_is_counted() -> None:
    coverage, risk = confidence.risk_coverage(ERRORS, SCORES)
    for c, r, threshold in zip(coverage, risk, np.unique(SCORES), strict=True):
        accepted = threshold >= SCORES
        assert c == accepted.mean()
        assert r == pytest.approx(ERRORS[accepted].mean())


def test_area_under_risk_is_the_mean_over_coverages_and_its_bounds_hold() -> None:
    for w, found in zip(WEIGHTS, confidence.area_under_risk(ERRORS, SCORES, WEIGHTS), strict=True):
        errors, scores = repeated(w)
        total, risks = 0.0, list[float]()
        for score in np.unique(scores):
            for _ in range(int((scores == score).sum())):
                total += errors[scores == score].mean()
                risks.append(total / (len(risks) + 1))
        assert found == pytest.approx(np.mean(risks))
    assert np.isnan(confidence.area_under_risk(ERRORS, SCORES, np.zeros((1, N)))[0])
    share = float(ERRORS.mean())
    assert confidence.area_under_risk(ERRORS, np.zeros(N))[0] == pytest.approx(share)
    perfect = confidence.area_under_risk(ERRORS, ERRORS.astype(float))[0]
    assert perfect < confidence.area_under_risk(ERRORS, SCORES)[0] < 1
    many = np.repeat([False, True], [6000, 4000])
    assert confidence.area_under_risk(many, np.arange(10000))[0] == pytest.approx(
        0.4 + 0.6 * np.log(0.6), abs=1e-3
    )


def test_excess_area_is_what_the_best_of_all_orders_does_not_lose() -> None:
    errors, scores = [True, False, True, False, False], [0.4, 0.1, 0.2, 0.5, 0.3]
    best = min(confidence.area_under_risk(errors, order)[0] for order in itertools.permutations(range(5)))
    found = confidence.excess_area(errors, scores)[0]
    assert found == pytest.approx(confidence.area_under_risk(errors, scores)[0] - best)
    assert found > 0
    for w, value in zip(WEIGHTS, confidence.excess_area(ERRORS, SCORES, WEIGHTS), strict=True):
        assert value == pytest.approx(confidence.excess_area(*repeated(w))[0])
    assert (confidence.excess_area(ERRORS, ERRORS.astype(float), WEIGHTS) == 0).all()
    assert confidence.excess_area([True, True], [0.1, 0.2])[0] == 0


def test_what_makes_no_sense_is_refused() -> None:
    for errors, scores in (([], []), ([True], [0.1, 0.2]), ([True], [np.nan])):
        with pytest.raises(ValueError, match="one length"):
            confidence.risk_coverage(errors, scores)
