"""Discrimination of one class from the rest: AUC, average precision, sensitivity, and curves.

Every metric is a function of case weights W of shape (R, n): a row of ones gives the metric itself, a row of
multiplicities gives it on one resample. One sort and two cumulative sums serve all R resamples, with ties.
Metrics raise a `ValueError` where labels are not 0 or 1, scores are not finite, or shapes do not match.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auc(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute the area under the ROC curve, P(score⁺ > score⁻) + ½ P(score⁺ = score⁻).

    In [0, 1], higher is better, 0.5 is chance.

    Args:
        labels: Labels of shape (n,), 1 for the class and 0 for the rest.
        scores: Scores of shape (n,), higher for the class.
        weights: Number of times that each case counts, of shape (R, n); once if None.

    Returns:
        The AUC of each resample, of shape (R,); NaN where a resample has no case of the class, or none of the
        rest.
    """
    true, false = _counts_above(labels, scores, weights)
    wins = np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2
    return _ratio(wins.sum(1), true[:, -1] * false[:, -1])


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute Σ_k (recall_k − recall_{k−1}) · precision_k over decreasing thresholds.

    In [0, 1], higher is better, chance is the share of the class. See `auc` for the arguments; NaN where a
    resample lacks the class.
    """
    true, false = _counts_above(labels, scores, weights)
    true, gained, called = true[:, 1:], np.diff(true, axis=1), true[:, 1:] + false[:, 1:]
    # Where no drawn case reaches a threshold, recall does not increase: the precision 0/0 counts as 0.
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    return _ratio((gained * precision).sum(1), gained.sum(1))


def sensitivity_at_specificity(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, *, specificity: float = 0.9
) -> Floats:
    """Compute the highest sensitivity of any threshold with at least the given specificity. In [0, 1].

    The threshold is chosen again in each resample, so that an interval includes the uncertainty of its
    choice. See `auc` for the other arguments; NaN where a resample has no case of the class, or none of the
    rest.

    Args:
        specificity: Lowest accepted specificity, in [0, 1].
    """
    true, false = _counts_above(labels, scores, weights)
    allowed = false <= (1 - specificity) * false[:, -1:] + 1e-9
    best = np.where(allowed, true, 0).max(1)
    return np.where(false[:, -1] > 0, _ratio(best, true[:, -1]), np.nan)


def roc(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return the ROC curve: 1 − specificity, sensitivity, threshold; empty for cases of one class only."""
    if not _two_classes(labels):
        return np.empty(0), np.empty(0), np.empty(0)
    from sklearn.metrics import roc_curve  # imports pandas: seconds, and only curves need it

    false, true, threshold = roc_curve(labels, scores, drop_intermediate=False)
    return false, true, threshold


def precision_recall(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return the curve of recall, precision, threshold (+inf at recall 0); empty for cases of one class."""
    if not _two_classes(labels):
        return np.empty(0), np.empty(0), np.empty(0)
    from sklearn.metrics import precision_recall_curve

    precision, recall, threshold = precision_recall_curve(labels, scores)
    return recall, precision, np.append(threshold, np.inf)


def _counts_above(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats]:
    """Weight of positives and of negatives at or above each distinct score, (R, G+1) from none to all."""
    y, s = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"labels {y.shape} and scores {s.shape} must be vectors of one length")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1")
    if not np.isfinite(s).all():
        raise ValueError("scores must be finite, got NaN or infinity")
    w = np.ones((1, y.size)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.ndim != 2 or w.shape[1] != y.size:
        raise ValueError(f"weights {w.shape} must be (resamples, {y.size})")
    if y.size == 0:
        return np.zeros((len(w), 1)), np.zeros((len(w), 1))
    order = np.argsort(-s, kind="stable")
    starts = np.flatnonzero(np.diff(s[order], prepend=np.inf))
    w = w[:, order]
    true = np.add.reduceat(w * y[order], starts, axis=1)
    every = np.add.reduceat(w, starts, axis=1)
    true, every = (np.pad(np.cumsum(x, axis=1), ((0, 0), (1, 0))) for x in (true, every))
    return true, every - true


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _two_classes(labels: ArrayLike) -> bool:
    return len(np.unique(np.asarray(labels))) == 2
