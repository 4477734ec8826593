"""Helpers for multi-label data, in which a case may have several classes or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

THRESHOLD = 0.5
"""Probability at and above which a class counts as predicted, for classes that are not exclusive."""


def exclusive(cases: pl.DataFrame, classes: Sequence[str]) -> bool:
    """Return whether every case of a table with `label_<class>` has exactly one class."""
    return _have_one_each(cases, classes)


def defined(cases: pl.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes whose AUC is defined: some cases of the table have the class, and some do not."""
    labels = _labels(cases, classes)
    return tuple(
        name for name, column in zip(classes, labels.T, strict=True) if column.any() and not column.all()
    )


def averaged(
    cases: pl.DataFrame, classes: Sequence[str], *, exclusive: bool | None = None
) -> tuple[str, ...]:
    """Return the classes over which a macro mean is taken.

    For exclusive classes these are all of them, since the mean over fewer would answer another question. Of
    many classes that are not exclusive, some may be so rare that no test case has them; these are the classes
    that are `defined`, or all where none is.

    Args:
        cases: Table with `label_<class>`.
        classes: The classes.
        exclusive: Whether the classes are exclusive, in these cases and all others; None to take them as
            exclusive where these cases have one each, which a few cases may by chance.
    """
    if _have_one_each(cases, classes) if exclusive is None else exclusive:
        return tuple(classes)
    return defined(cases, classes) or tuple(classes)


def true_class(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.int64]:
    """Choose one class for each case: the most probable of its true classes, or of all where it has none.

    Args:
        labels: Labels, 0 or 1, of shape (B, C).
        probabilities: Predicted probabilities, of shape (B, C).

    Returns:
        Indices of classes, of shape (B,).
    """
    y, p = np.asarray(labels) > 0, np.asarray(probabilities, dtype=np.float64)
    classes: NDArray[np.int64] = np.where(y | ~y.any(1, keepdims=True), p, -1.0).argmax(1).astype(np.int64)
    return classes


def _have_one_each(cases: pl.DataFrame, classes: Sequence[str]) -> bool:
    return bool((_labels(cases, classes).sum(1) == 1).all())


def _labels(cases: pl.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    return cases.select([f"label_{name}" for name in classes]).to_numpy().astype(np.int64)
