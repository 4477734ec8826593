"""DeLong's covariance of AUCs, by the fast algorithm of Sun and Xu (2014).

DeLong's method assumes independent cases. Where patients are given, the influences of a patient's cases are
added before they are squared (Obuchowski 1997), which assumes nothing about their correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AucDifference:
    """A difference of AUCs; NaN where undefined: with one case of a class, all fields but `value`.

    Attributes:
        value: The difference.
        error: Standard error.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        p: Two-sided p-value.
    """

    value: float
    error: float
    low: float
    high: float
    p: float


def influence(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Compute AUCs, and the influence of each case on their errors.

    The placement of a case is the share of the cases of the other group that it is ordered correctly against,
    ties counting half: V10 of a positive, V01 of a negative (DeLong et al. 1988, eq. 5 and 6). Its influence
    is φ = (V − AUC) / √(m (m − 1)), m the number of cases in its own group, so that Φ Φᵀ is DeLong's
    covariance S10/m + S01/n. Since each case has one influence, those of different classes or runs can be
    averaged or subtracted: the macro AUC and the difference of two runs need no other formula.

    Args:
        labels: Array of shape (n,): 1 for the class, 0 for the rest.
        scores: Array of shape (k, n): scores of k runs on the same cases.

    Returns:
        AUCs (k,) and Φ (k, n); NaN where one of the groups is empty, Φ also where it has only one case.

    Raises:
        ValueError: The numbers of labels and scores differ, or labels are not 0 or 1.
    """
    y, s = flags(labels), np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if s.shape[1] != y.size:
        raise ValueError(f"scores {s.shape} must be (runs, {y.size})")
    k, m, n = len(s), int(y.sum()), int((~y).sum())
    phi = np.full(s.shape, np.nan)
    if m == 0 or n == 0:
        return np.full(k, np.nan), phi
    below = placements(y, s)
    V10 = below[:, y] / n
    V01 = 1 - below[:, ~y] / m
    auc = V10.mean(1)
    if m > 1 and n > 1:
        phi[:, y] = (V10 - auc[:, None]) / np.sqrt(m * (m - 1))
        phi[:, ~y] = (V01 - auc[:, None]) / np.sqrt(n * (n - 1))
    return auc, phi


def influence_of_patients(
    labels: ArrayLike, scores: ArrayLike, patients: ArrayLike
) -> tuple[Floats, Floats, tuple[int, int]]:
    """Compute AUCs, and the influence of each patient on their errors.

    Args:
        labels: Array of shape (n,): 1 for the class, 0 for the rest.
        scores: Array of shape (k, n): scores of k runs on the same cases.
        patients: Patient of each case, an array of shape (n,).

    Returns:
        AUCs (k,); the influences (2, k, P) of P patients by their cases of the class and by their other
        cases, NaN where only one patient has such cases; and the numbers of patients with cases of the
        class, and with other cases.

    Raises:
        ValueError: The numbers of labels and scores differ, or labels are not 0 or 1.
    """
    y = flags(labels)
    ids, place = np.unique(np.asarray(patients), return_inverse=True)
    auc, phi = influence(y, scores)
    sums, counts = np.zeros((2, len(phi), len(ids))), list[int]()
    for each, side in zip(sums, (y, ~y), strict=True):
        cases, count = int(side.sum()), len(np.unique(place[side]))
        # DeLong's √(m(m − 1)) counts cases; the degrees of freedom are one less than the patients.
        factor = np.sqrt((cases - 1) / cases * count / (count - 1)) if count > 1 else np.nan
        for row, values in zip(each, phi, strict=True):
            row[:] = np.bincount(place[side], values[side] * factor, minlength=len(ids))
        counts.append(count)
    return auc, sums, (counts[0], counts[1])


def placements(labels: ArrayLike, scores: ArrayLike) -> Floats:
    """Count the cases of the other group with a lower score than each case, ties counting half.

    Args:
        labels, scores: Arguments of `influence`.

    Returns:
        Counts of shape (k, n).

    Raises:
        ValueError: Labels are not 0 or 1.
    """
    y, s = flags(labels), np.atleast_2d(np.asarray(scores, dtype=np.float64))
    among_all, within_side = rankdata(s, axis=1), np.empty_like(s)  # midranks T_Z, and T_X or T_Y: O(n log n)
    within_side[:, y], within_side[:, ~y] = rankdata(s[:, y], axis=1), rankdata(s[:, ~y], axis=1)
    return np.asarray(among_all - within_side)


def flags(labels: ArrayLike) -> NDArray[np.bool_]:
    """Return labels as flags.

    Raises:
        ValueError: A label is not 0 or 1.
    """
    y = np.asarray(labels, dtype=np.float64)
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1")
    return y.astype(bool)


def delong_covariance(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Compute AUCs (k,) and their covariance (k, k), given the scores (k, n) of k runs on the same cases."""
    auc, phi = influence(labels, scores)
    return auc, phi @ phi.T


def delong_test(
    labels: Sequence[ArrayLike] | ArrayLike, a: ArrayLike, b: ArrayLike, patients: ArrayLike | None = None
) -> AucDifference:
    """Test the difference AUC(a) − AUC(b) on the same cases, with DeLong's standard error.

    Args:
        labels: Array of shape (n,), or (C, n) for the macro AUC over C classes.
        a: Scores of one run, an array of the same shape.
        b: Scores of the other run, an array of the same shape.
        patients: Patient of each case, an array of shape (n,); None where each has one case.

    Raises:
        ValueError: The arrays differ in shape, or labels are not 0 or 1.
    """
    y, a, b = (np.atleast_2d(np.asarray(x, dtype=np.float64)) for x in (labels, a, b))
    if not y.shape == a.shape == b.shape:
        raise ValueError(f"labels {y.shape} and scores {a.shape}, {b.shape} must have one shape")
    ids = np.arange(y.shape[1]) if patients is None else np.asarray(patients)
    of_classes = [
        influence_of_patients(label, np.stack(pair), ids) for label, *pair in zip(y, a, b, strict=True)
    ]
    auc = np.mean([auc for auc, *_ in of_classes], axis=0)
    phi = np.mean([sides.sum(0) for _, sides, _ in of_classes], axis=0)
    value = float(auc[0] - auc[1])
    error = float(np.sqrt(((phi[0] - phi[1]) ** 2).sum())) if np.isfinite(value) else float("nan")
    if error < 1e-12:  # both order the cases alike, or all patients differ by the same amount
        # Without a standard error, p is the least p-value of an exact test that exchanges the two runs'
        # scores of each patient, where all patients agree in direction.
        least = min(1.0, 2.0 ** (1 - len(np.unique(ids))))
        return AucDifference(value, 0.0, value, value, 1.0 if abs(value) < 1e-12 else least)
    half = float(norm.ppf(0.975)) * error
    return AucDifference(value, error, value - half, value + half, float(2 * norm.sf(abs(value) / error)))
