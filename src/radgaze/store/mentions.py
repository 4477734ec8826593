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
            "reports, with `align_report` (and egd-cxr with `align_keep=all`), or set `gaze.per` to case"
        )
    numbers = pl.DataFrame({"label": list(classes), "class": range(len(classes))})
    places = fixations.select("reading_id", "index").with_row_index("place")
    rows = mentions.join(numbers, on="label").join(places, on=["reading_id", "index"])
    shares = np.zeros((len(fixations), len(classes)), np.float32)
    share = rows["share"].fill_nan(0).clip(0, 1)
    shares[rows["place"].to_numpy(), rows["class"].to_numpy()] = share.to_numpy()
    return shares


def gaze_of_classes(store: Store) -> pl.DataFrame:
    """Count the cases with gaze of each class, to check an alignment by.

    Returns:
        class, cases (that have it), gazed (those of them with gaze of it), others (cases without it, but with
        gaze of it), and seconds (median duration in readings with gaze of it; null without any).
    """
    gaze = store.mentions.join(store.fixations, on=["reading_id", "index"])
    gaze = gaze.join(store.readings.select("reading_id", "case_id"), on="reading_id")
    of_readings = gaze.group_by("label", "reading_id", "case_id").agg(
        seconds=(pl.col("share") * pl.col("duration")).sum()
    )
    rows = []
    for name in store.classes:
        has = store.cases.filter(pl.col(f"label_{name}") == 1)["case_id"]
        part = of_readings.filter(label=name)
        gazed = part.filter(pl.col("case_id").is_in(has.implode()))["case_id"].n_unique()
        others = part["case_id"].n_unique() - gazed
        rows.append((name, len(has), gazed, others, part["seconds"].median()))
    counts = dict.fromkeys(("cases", "gazed", "others"), pl.Int64)
    return pl.DataFrame(rows, schema={"class": pl.String, **counts, "seconds": pl.Float64}, orient="row")


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
