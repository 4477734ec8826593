"""Gaze of each class: the fixations that belong to the classes that a report mentions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.errors import UserError
from radgaze.store.store import Store


def shares_of(store: Store, fixations: pl.DataFrame, classes: Sequence[str]) -> NDArray[np.float32]:
    """Collect the share of each fixation that belongs to each class, (N, C).

    Args:
        store: Prepared store.
        fixations: Table with reading_id and index, in the order of the result.
        classes: Names of the classes, in the order of the result.

    Raises:
        UserError: The store does not record which fixations belong to a class.
    """
    mentions = store.mentions
    if mentions.is_empty():
        raise UserError(
            f"{store.path} does not record which fixations belong to a class: prepare it from a source with "
            "reports, with `align_report`, or set `gaze.per` to case"
        )
    numbers = pl.DataFrame({"label": list(classes), "class": range(len(classes))})
    places = fixations.select("reading_id", "index").with_row_index("place")
    rows = mentions.join(numbers, on="label").join(places, on=["reading_id", "index"])
    shares = np.zeros((len(fixations), len(classes)), np.float32)
    share = rows["share"].fill_nan(0).clip(0, 1)
    shares[rows["place"].to_numpy(), rows["class"].to_numpy()] = share.to_numpy()
    return shares


def of_class(weights: Tensor, class_weights: Tensor | None, classes: Tensor) -> Tensor:
    """Choose the weights (B, K) of the fixations of one class per case.

    A case without gaze of its class keeps the weights of all its fixations.

    Args:
        weights: Weights (B, K) of all fixations.
        class_weights: Weights (B, K, C) by class, or None where there are none.
        classes: Class (B,) of each case, −1 for all fixations.
    """
    if class_weights is None:
        return weights
    index = classes.to(class_weights.device).clamp_min(0).view(-1, 1, 1).expand(-1, weights.shape[1], 1)
    chosen = class_weights.gather(2, index)[..., 0]
    has = (chosen > 0).any(1) & (classes.to(weights.device) >= 0)
    return torch.where(has[:, None], chosen, weights)
