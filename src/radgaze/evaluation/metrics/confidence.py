"""Uncertainty scores of predictions, and metrics of how well such a score detects errors.

Scores are higher for less confident predictions. Metrics are functions of case weights W of shape (R, n), as
in `discrimination`; they raise a `ValueError` where errors and scores differ in length or a score is not
finite, and all but `error_detection` also where there is no case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import digamma

from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.metrics.multilabel import THRESHOLD

Floats = NDArray[np.float64]
Kind = Literal["softmax", "sigmoid"]

_LEAST = 1e-12  # lowest probability, so that one that float32 rounds to 0 has a finite logarithm
_WIDEST = 4.0  # largest |log T|


def alpha(p: ArrayLike) -> Floats:
    """Compute DOCTOR's D_α = (1 − g)/g, g = Σ_c p_c², from 0 to C − 1 (Granese et al. 2021, section 3).

    Args:
        p: Probabilities that sum to 1, of shape (..., C).
    """
    g = (np.asarray(p, dtype=np.float64) ** 2).sum(-1)
    return np.asarray((1 - g) / g)


def beta(p: ArrayLike) -> Floats:
    """Compute DOCTOR's D_β = (1 − m)/m, m = max_c p_c, the odds of an error (Granese et al. 2021).

    Args:
        p: Probabilities that sum to 1, of shape (..., C).
    """
    m = np.asarray(p, dtype=np.float64).max(-1)
    return np.asarray((1 - m) / m)


def maximum(p: ArrayLike) -> Floats:
    """Compute 1 − max_c p_c of probabilities (..., C) (Hendrycks and Gimpel 2017). It orders cases as D_β."""
    return np.asarray(1 - np.asarray(p, dtype=np.float64).max(-1))


def entropy(p: ArrayLike) -> Floats:
    """Compute the entropy −Σ_c p_c log p_c of probabilities (..., C), in nats."""
    p = np.asarray(p, dtype=np.float64)
    return np.asarray(-(p * np.log(np.maximum(p, _LEAST))).sum(-1))


SCORES: dict[str, Callable[[ArrayLike], Floats]] = {
    "alpha": alpha,
    "beta": beta,
    "maximum": maximum,
    "entropy": entropy,
}
DIFFERENTIABLE = ("alpha", "beta")
"""Scores with a gradient, along which images are perturbed."""


def distrust(score: str, probabilities: ArrayLike, kind: Kind) -> Floats:
    """Compute an uncertainty score of each case.

    Probabilities of a sigmoid are separate predictions with the two outcomes p and 1 − p, and a case has the
    score of its most uncertain class.

    Args:
        score: Name of the score, see `SCORES`.
        probabilities: Predicted probabilities, of shape (n, C).
        kind: "softmax" or "sigmoid", of the probabilities.

    Returns:
        Scores of shape (n,).
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if kind == "softmax":
        return SCORES[score](p)
    largest: Floats = SCORES[score](np.stack([p, 1 - p], -1)).max(-1)
    return largest


def wrong(probabilities: ArrayLike, labels: ArrayLike, *, exclusive: bool) -> NDArray[np.bool_]:
    """Return which predictions are errors, of shape (n,).

    For exclusive classes an error is a wrong most probable class; for others, any class on the wrong side of
    `THRESHOLD`.

    Args:
        probabilities: Predicted probabilities, of shape (n, C).
        labels: Labels, 0 or 1, of shape (n, C).
        exclusive: Whether each case has exactly one class, whatever the probabilities are of.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if exclusive:
        return np.asarray(p.argmax(1) != y.argmax(1))
    return np.asarray(((p >= THRESHOLD) != (y > 0)).any(1))


def temperature(probabilities: ArrayLike, labels: ArrayLike, kind: Kind) -> float:
    """Fit the temperature by maximum likelihood (Guo et al. 2017, section 4.2); 1 where there is no case.

    Args:
        probabilities: Predicted probabilities, of shape (n, C).
        labels: Labels, 0 or 1, of shape (n, C).
        kind: "softmax" or "sigmoid", of the probabilities.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if not len(p):
        return 1.0

    def loss(log_t: float) -> float:
        q = np.maximum(tempered(p, float(np.exp(log_t)), kind), _LEAST)
        if kind == "softmax":
            return float(-(y * np.log(q)).sum(1).mean())
        return float(-(y * np.log(q) + (1 - y) * np.log(np.maximum(1 - q, _LEAST))).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded").x))


def tempered(probabilities: ArrayLike, T: float, kind: Kind) -> Floats:
    """Return the probabilities, of shape (n, C), after division of the logits by the temperature T."""
    p = np.clip(np.asarray(probabilities, dtype=np.float64), _LEAST, 1 - _LEAST)
    if T == 1:
        return np.asarray(probabilities, dtype=np.float64)
    if kind == "sigmoid":
        return np.asarray(1 / (1 + ((1 - p) / p) ** (1 / T)))
    z = np.log(p) / T
    q = np.exp(z - z.max(1, keepdims=True))
    return np.asarray(q / q.sum(1, keepdims=True))


def error_detection(errors: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute the AUROC of errors against right predictions. In [0, 1], higher is better, ½ is chance.

    Args:
        errors: Whether each prediction is an error, 0 or 1, of shape (n,).
        scores: Uncertainty scores of shape (n,).
        weights: Number of times that each case counts, of shape (R, n); once if None.

    Returns:
        The AUROC of each resample, of shape (R,); NaN where a resample has no error, or errors only.
    """
    return auc(np.asarray(errors, dtype=np.float64), scores, weights)


def false_rejection(
    errors: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None, *, rejected: float = 0.95
) -> Floats:
    """Compute the share of right predictions rejected with at least `rejected` of the errors (FRR at TRR).

    In [0, 1], lower is better; cases of equal score are rejected together. See `error_detection` for the
    other arguments and the values that are NaN.

    Args:
        rejected: Share of the errors to reject, in [0, 1].
    """
    e, order, ends, w = _sorted(errors, scores, weights, falling=True)
    gone_wrong = np.cumsum(w * e[order], 1)[:, ends]
    gone = np.cumsum(w, 1)[:, ends]
    all_wrong, everything = gone_wrong[:, -1:], gone[:, -1:]
    enough = gone_wrong >= rejected * all_wrong - 1e-9
    first = enough.argmax(1)[:, None]
    right = np.take_along_axis(gone - gone_wrong, first, 1)[:, 0]
    all_right = (everything - all_wrong)[:, 0]
    defined = (all_wrong[:, 0] > 0) & (all_right > 0)
    return np.where(defined, right / np.where(all_right > 0, all_right, 1), np.nan)


def risk_coverage(errors: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Compute the selective risk at each coverage (Geifman and El-Yaniv 2017).

    Returns:
        Coverage in (0, 1], of shape (K,), and share of errors among the accepted predictions, of shape (K,);
        cases of equal score are accepted together.
    """
    e, order, ends, _ = _sorted(errors, scores, None, falling=False)
    accepted = ends + 1.0
    return accepted / len(e), np.cumsum(e[order])[ends] / accepted


def area_under_risk(errors: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute the AURC, the mean selective risk over coverages (Geifman et al. 2019). Lower is better.

    In [0, 1]; the expected value for an uninformative score is the share of errors. Cases of equal score
    share their mean error, and a case that counts twice is two cases. See `error_detection` for the
    arguments; NaN where a resample is empty.
    """
    e, order, ends, w = _sorted(errors, scores, weights, falling=False)
    starts = np.concatenate([[0], ends[:-1] + 1])
    cases, wrongs = np.add.reduceat(w, starts, 1), np.add.reduceat(w * e[order], starts, 1)
    after = np.cumsum(cases, 1)
    before, wrong_before = after - cases, np.cumsum(wrongs, 1) - wrongs
    mean = np.divide(wrongs, cases, out=np.zeros_like(cases), where=cases > 0)
    # n cases of mean error m after A with E errors: Σ_j (E + jm)/(A + j) = nm + (E − mA)·(H(A + n) − H(A)).
    harmonic = digamma(after + 1) - digamma(before + 1)
    risks = cases * mean + (wrong_before - mean * before) * harmonic
    total = after[:, -1]
    areas: Floats = np.divide(risks.sum(1), total, out=np.full(len(w), np.nan), where=total > 0)
    return areas


def excess_area(errors: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute the E-AURC, the AURC above that of a perfect score on the same cases (Geifman et al. 2019).

    In [0, 1), lower is better, 0 is perfect; the part of the AURC that the share of errors causes is
    subtracted. The area of the perfect score is exact; for many cases it approaches r + (1 − r) log(1 − r),
    r the share of errors. See `area_under_risk` for the arguments and the values that are NaN.
    """
    perfect = np.asarray(errors, dtype=np.float64)
    return area_under_risk(errors, scores, weights) - area_under_risk(errors, perfect, weights)


def _sorted(
    errors: ArrayLike, scores: ArrayLike, weights: ArrayLike | None, *, falling: bool
) -> tuple[Floats, NDArray[np.intp], NDArray[np.intp], Floats]:
    """Errors, the order of scores, the ends of its groups of equal scores, and the weights in this order."""
    e, s = np.asarray(errors, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if not len(s) or e.shape != s.shape or not np.isfinite(s).all():
        raise ValueError("errors and scores must be finite vectors of one length, not empty")
    w = np.ones((1, len(s))) if weights is None else np.asarray(weights, dtype=np.float64)
    order = np.argsort(-s if falling else s, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(s[order]) != 0, True))
    return e, order, ends, w[:, order]
