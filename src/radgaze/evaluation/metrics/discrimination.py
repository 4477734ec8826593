"""Discrimination of one class from the rest: AUC, average precision, sensitivity, and curves.

Every metric is a function of case weights W of shape (R, n): a row of ones gives the metric itself, a row of
multiplicities gives it on one resample. One sort and two cumulative sums serve all R resamples, with ties,
and all metrics `of_counts`.
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
    return auc_of_counts(*counts_above(labels, scores, weights))


def auc_of_counts(true: Floats, false: Floats) -> Floats:
    """Compute `auc` from `counts_above`."""
    wins = np.einsum("rg,rg->r", np.diff(false, axis=1), true[:, 1:] + true[:, :-1]) / 2
    return _ratio(wins, true[:, -1] * false[:, -1])


def average_precision(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute Σ_k (recall_k − recall_{k−1}) · precision_k over decreasing thresholds.

    In [0, 1], higher is better, chance is the share of the class. See `auc` for the arguments; NaN where a
    resample lacks the class.
    """
    return average_precision_of_counts(*counts_above(labels, scores, weights))


def average_precision_of_counts(true: Floats, false: Floats) -> Floats:
    """Compute `average_precision` from `counts_above`."""
    true, gained, called = true[:, 1:], np.diff(true, axis=1), true[:, 1:] + false[:, 1:]
    # Where no drawn case reaches a threshold, recall does not increase: the precision 0/0 counts as 0.
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    return _ratio(np.einsum("rg,rg->r", gained, precision), gained.sum(1))


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
    return sensitivity_of_counts(*counts_above(labels, scores, weights), specificity=specificity)


def sensitivity_of_counts(true: Floats, false: Floats, *, specificity: float = 0.9) -> Floats:
    """Compute `sensitivity_at_specificity` from `counts_above`."""
    allowed = false <= (1 - specificity) * false[:, -1:] + 1e-9
    best = np.where(allowed, true, 0).max(1)
    return np.where(false[:, -1] > 0, _ratio(best, true[:, -1]), np.nan)


def counts_above(
    labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """Sum the weights of the positives, and of the negatives, at or above each distinct score.

    See `auc` for the arguments.

    Returns:
        Both sums, of shape (R, G + 1) for G distinct scores, from none above to all.
    """
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
    order = np.argsort(-s, kind="stable")
    starts = np.flatnonzero(np.diff(s[order], prepend=np.inf))
    true, every = np.zeros((2, len(w), starts.size + 1))
    if y.size:
        w = w[:, order]
        np.cumsum(_grouped(w, starts), axis=1, out=every[:, 1:])
        np.cumsum(_grouped(np.multiply(w, y[order], out=w), starts), axis=1, out=true[:, 1:])
    return true, np.subtract(every, true, out=every)


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


def _grouped(weights: Floats, starts: NDArray[np.intp]) -> Floats:
    """Sum the columns from each start to the next."""
    return weights if starts.size == weights.shape[1] else np.add.reduceat(weights, starts, axis=1)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _two_classes(labels: ArrayLike) -> bool:
    return len(np.unique(np.asarray(labels))) == 2
