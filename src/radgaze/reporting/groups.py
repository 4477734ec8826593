"""The groups of which a page shows figures: the classes and their mean, or one of two exclusive classes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from radgaze.evaluation.metrics.binary import positive_class
from radgaze.evaluation.results import MACRO


def shown_classes(predictions: pl.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that a page shows: all, or the positive one of two exclusive classes.

    Args:
        predictions: Predictions of the test cases.
        classes: The classes.
    """
    positive = positive_class(predictions, classes)
    return tuple(classes) if positive is None else (positive,)


def shown_groups(predictions: pl.DataFrame, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the groups that a page shows: the classes and the macro mean, or the positive class alone."""
    shown = shown_classes(predictions, classes)
    return shown if len(shown) < len(classes) else (*shown, MACRO)


def of_two(predictions: pl.DataFrame, classes: Sequence[str]) -> str:
    """Say which of two exclusive classes is the positive one, as a sentence; empty for other classes."""
    positive = positive_class(predictions, classes)
    if positive is None:
        return ""
    other = next(name for name in classes if name != positive)
    return (
        f"Of the two classes, {positive} is the positive one, against {other}. The AUC of {other} and the "
        "mean over both are the same, and stand in metrics.json."
    )
