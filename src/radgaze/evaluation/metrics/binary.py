"""Two classes that exclude each other: all that is told of one follows for the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from radgaze.evaluation.metrics.multilabel import exclusive

NEGATIVE = frozenset(
    {"normal", "no finding", "negative", "healthy", "control", "benign", "absent", "none", "no", "0", "false"}
)
"""Names of classes, in small letters, that say that a finding is absent."""
CLOSE = 1e-4
"""Largest distance of a sum of probabilities to 1."""


def positive_class(predictions: pl.DataFrame, classes: Sequence[str]) -> str | None:
    """Return the positive one of two classes of which each case has exactly one.

    It is the one whose name does not say that a finding is absent, or else the last. The AUC of both classes
    is the same where their probabilities add up to 1, and so is the macro mean.

    Args:
        predictions: One row per case: `probability_<class>` and `label_<class>`.
        classes: The classes.

    Returns:
        Its name; None for more or fewer classes, for cases with both or neither, and for probabilities that
        do not add up to 1, of which each class has its own figures.
    """
    if len(classes) != 2 or not predictions.height or not exclusive(predictions, classes):
        return None
    total = predictions.select(pl.sum_horizontal(f"probability_{name}" for name in classes)).to_numpy()
    if not np.allclose(total, 1, atol=CLOSE):
        return None
    absent = [name.strip().casefold().replace("_", " ") in NEGATIVE for name in classes]
    return classes[0] if absent == [False, True] else classes[1]
