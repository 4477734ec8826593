"""Whether a network predicts the same for every case, as one that has not learned yet does."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

SPREAD = 0.01
"""Range of a class's probability over the cases, below which predictions are called constant."""

WORDS = (
    "The network gives every test case nearly the same probabilities: those of each class differ by less "
    f"than {SPREAD}. It has not learned to tell the classes apart, whatever the AUC is. Train longer, raise "
    "the learning rate, or start from pretrained weights."
)


def is_constant(predictions: pl.DataFrame, classes: Sequence[str]) -> bool:
    """Return whether the probabilities of each class are nearly the same in all cases.

    Args:
        predictions: One row per case: `probability_<class>`.
        classes: The classes.
    """
    columns = [pl.col(f"probability_{name}") for name in classes]
    if predictions.height < 2:
        return False
    ranges = predictions.select(each.max() - each.min() for each in columns).row(0)
    return all(span is not None and span < SPREAD for span in ranges)
