"""What follows from classes that do not exclude each other: a case may have several of them, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

THRESHOLD = 0.5
"""The probability from which a class counts as predicted, where several may be."""


def exclusive(cases: pl.DataFrame, classes: Sequence[str]) -> bool:
    """Whether every case of a table with `label_<class>` has exactly one class."""
    return bool((_labels(cases, classes).sum(1) == 1).all())


def defined(cases: pl.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes that some cases of the table have and some have not: those whose AUC is defined."""
    labels = _labels(cases, classes)
    return tuple(name for name, own in zip(classes, labels.T, strict=True) if own.any() and not own.all())


def averaged(cases: pl.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes that a macro mean is over.

    Of exclusive classes all: without one of them it would be another question. Of many that stand beside each
    other one is easily so rare that no test case has it; the mean is then over those that are `defined`.
    """
    if exclusive(cases, classes):
        return tuple(classes)
    return defined(cases, classes) or tuple(classes)


def true_class(labels: ArrayLike, probabilities: ArrayLike) -> NDArray[np.int64]:
    """(B,) the class that stands for a case where one must: the most probable of those that it has, or of all
    where it has none.

    Args:
        labels: (B, C), 0 or 1.
        probabilities: (B, C).
    """
    y, p = np.asarray(labels) > 0, np.asarray(probabilities, dtype=np.float64)
    classes: NDArray[np.int64] = np.where(y | ~y.any(1, keepdims=True), p, -1.0).argmax(1).astype(np.int64)
    return classes


def _labels(cases: pl.DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    return cases.select([f"label_{name}" for name in classes]).to_numpy().astype(np.int64)
