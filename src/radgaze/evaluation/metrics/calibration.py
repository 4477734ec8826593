"""Calibration of probabilities: Brier score, calibration error and reliability curve.

As in `discrimination`, each metric is a function of case weights W of shape (R, n), and raises a
`ValueError` where labels are not 0 or 1, or shapes do not match.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
BINS = 10
DRAWS = 500
"""Number of draws of `errors_if_calibrated`."""


def brier(labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Compute the Brier score, the mean of (p − y)². Lower is better.

    Args:
        labels: Labels, 0 or 1, of shape (n,) or (n, C).
        probabilities: Probabilities of the same shape. With (n, C) it is the original score of Brier (1950),
            the sum over the classes, in [0, 2]; for one class it is in [0, 1].
        weights: Number of times that each case counts, of shape (R, n); once if None.

    Returns:
        The score of each resample, of shape (R,); NaN where a resample is empty.
    """
    y, p = _checked(labels, probabilities)
    squares = (p - y) ** 2
    return _mean(squares if squares.ndim == 1 else squares.sum(1), weights)


def calibration_error(
    labels: ArrayLike, probabilities: ArrayLike, weights: ArrayLike | None = None, *, bins: int = BINS
) -> Floats:
    """Compute the expected calibration error (Naeini et al. 2015), Σ_b (n_b/n) · |mean p − share of y|.

    The sum is over bins b of the probability. In [0, 1], 0 is best. The bins have equal numbers of cases,
    since on the few hundred cases of a test set most bins of equal width are nearly empty; all resamples use
    the bins of the original cases. The metric is biased upwards, the more so the fewer cases there are. Its
    resamples, in which cases repeat, are so once more, for which its interval is corrected.

    Args:
        labels: Labels, 0 or 1, of shape (n,).
        probabilities: Probabilities of shape (n,).
        weights: Number of times that each case counts, of shape (R, n); once if None.
        bins: Number of bins, at least 1; fewer where probabilities tie.

    Returns:
        The error of each resample, of shape (R,); NaN where a resample is empty.
    """
    y, p = _checked(labels, probabilities)
    w = np.ones((1, y.size)) if weights is None else np.asarray(weights, dtype=np.float64)
    bin_of_case = _bin_of(p, bins)
    gaps = np.where(bin_of_case[:, None] == np.arange(bins), (p - y)[:, None], 0.0)  # (n, bins)
    error = np.abs(w @ gaps).sum(1)
    total = w.sum(1)
    errors: Floats = np.divide(error, total, out=np.full(len(w), np.nan), where=total > 0)
    return errors


def errors_if_calibrated(
    probabilities: ArrayLike, *, exclusive: bool, draws: int = DRAWS, seed: int = 0, bins: int = BINS
) -> Floats:
    """Draw calibration errors that calibrated probabilities have by chance, on as many cases.

    Labels are drawn from the probabilities, which are calibrated for them (consistency resampling, Bröcker &
    Smith 2007). A calibration error within the range of these says nothing against calibration. Cases are
    drawn independently, also those of one patient.

    Args:
        probabilities: Probabilities of shape (n, C).
        exclusive: Whether each case has exactly one class, which is drawn by its C probabilities; otherwise
            each class is drawn by itself.
        draws: Number of draws.
        seed: Random seed of the draws.
        bins: Number of bins, see `calibration_error`.

    Returns:
        The errors, of shape (draws, C); NaN without cases.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    n, classes = p.shape
    if n == 0:
        return np.full((draws, classes), np.nan)
    place = np.stack([_bin_of(column, bins) + bins * c for c, column in enumerate(p.T)], 1).ravel()
    upto = p.cumsum(1) / p.sum(1, keepdims=True) if exclusive else p
    random = np.random.default_rng(seed)
    errors = np.empty((draws, classes))
    for row in errors:
        if exclusive:
            y = (upto > random.random((n, 1))).argmax(1)[:, None] == np.arange(classes)
        else:
            y = random.random((n, classes)) < p
        gaps = np.bincount(place, (p - y).ravel(), minlength=bins * classes)
        row[:] = np.abs(gaps).reshape(classes, bins).sum(1) / n
    return errors


@dataclass(frozen=True)
class Reliability:
    """A reliability curve.

    Attributes:
        probability: Mean probability of each bin, of shape (bins,).
        share: Share of the class in each bin, of shape (bins,).
        cases: Number of cases in each bin, of shape (bins,).
    """

    probability: Floats
    share: Floats
    cases: NDArray[np.int64]


def reliability(labels: ArrayLike, probabilities: ArrayLike, *, bins: int = BINS) -> Reliability:
    """Compute the reliability curve of one class over the bins of `calibration_error`.

    Args:
        labels, probabilities, bins: Arguments of `calibration_error`.
    """
    y, p = _checked(labels, probabilities)
    bin_of_case = _bin_of(p, bins)
    parts = [bin_of_case == b for b in np.unique(bin_of_case)]
    return Reliability(
        np.array([p[part].mean() for part in parts]),
        np.array([y[part].mean() for part in parts]),
        np.array([int(part.sum()) for part in parts], dtype=np.int64),
    )


def _bin_of(p: Floats, bins: int) -> NDArray[np.int64]:
    """Bin of each probability, of shape (n,); equal probabilities share a bin."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if p.ndim != 1:
        raise ValueError(f"probabilities must be (n,), got {p.shape}")
    if p.size == 0:
        return np.empty(0, dtype=np.int64)
    edges = np.quantile(p, np.arange(1, bins) / bins)
    return np.searchsorted(edges, p, side="left").astype(np.int64)


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Floats]:
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    if y.shape != p.shape:
        raise ValueError(f"labels {y.shape} and probabilities {p.shape} must have one shape")
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1")
    return y, p


def _mean(values: Floats, weights: ArrayLike | None) -> Floats:
    w = np.ones((1, values.size)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = w.sum(1)
    means: Floats = np.divide(w @ values, total, out=np.full(len(w), np.nan), where=total > 0)
    return means
