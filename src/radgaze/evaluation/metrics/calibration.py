"""Whether probabilities can be taken at their word: Brier score, calibration error, reliability curve.

As in `discrimination`, each figure is a function of case weights `W (R, n)`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
BINS = 10


def brier(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Brier score, mean of (p − y)². Lower is better.

    Args:
        labels: (n,) or (n, C), 0 or 1.
        probabilities: The same shape. With (n, C) it is Brier's (1950) own score, the sum over the classes,
            in [0, 2]; of one class it is in [0, 1].
        weights: (R, n) how often each case counts; once if None.

    Returns:
        (R,); NaN where a resample is empty.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    squares = (p - y) ** 2
    return _mean(squares if squares.ndim == 1 else squares.sum(1), weights)


def calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, *, bins: int = BINS
) -> Floats:
    """Expected calibration error, Σ_b (n_b/n) · |mean p − share of y| over bins (Naeini et al. 2015).

    In [0, 1], 0 is best. The bins hold equally many cases, since on the few hundred cases of a test set most
    bins of equal width stay nearly empty; they are fixed by the cases as they are and not drawn anew. The
    figure is biased upwards, the more the fewer cases there are, and so are its resamples, whose cases
    repeat: read its interval as an upper bound's.

    Args:
        labels: (n,) 0 or 1.
        probabilities: (n,).
        weights: (R, n) how often each case counts; once if None.
        bins: How many bins; fewer where probabilities tie.

    Returns:
        (R,); NaN where a resample is empty.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    w = np.ones((1, y.size)) if weights is None else np.asarray(weights, dtype=np.float64)
    which = _bin_of(p, bins)
    gaps = np.where(which[:, None] == np.arange(bins), (p - y)[:, None], 0.0)  # (n, bins)
    error = np.abs(w @ gaps).sum(1)
    total = w.sum(1)
    errors: Floats = np.divide(error, total, out=np.full(len(w), np.nan), where=total > 0)
    return errors


@dataclass(frozen=True)
class Reliability:
    """Per bin: mean probability, share of the class, number of cases; (bins,) each."""

    probability: Floats
    share: Floats
    cases: NDArray[np.int64]


def reliability(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = BINS) -> Reliability:
    """The reliability curve of one class over the bins of `calibration_error`."""
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    which = _bin_of(p, bins)
    parts = [which == b for b in np.unique(which)]
    return Reliability(
        np.array([p[part].mean() for part in parts]),
        np.array([y[part].mean() for part in parts]),
        np.array([int(part.sum()) for part in parts], dtype=np.int64),
    )


def _bin_of(p: Floats, bins: int) -> NDArray[np.int64]:
    """(n,) the bin of each probability; equal probabilities share a bin."""
    if p.size == 0:
        return np.empty(0, dtype=np.int64)
    edges = np.quantile(p, np.arange(1, bins) / bins)
    return np.searchsorted(edges, p, side="left").astype(np.int64)


def _mean(values: Floats, weights: ArrayLike | None) -> Floats:
    w = np.ones((1, values.size)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = w.sum(1)
    means: Floats = np.divide(w @ values, total, out=np.full(len(w), np.nan), where=total > 0)
    return means
