"""The mean gaze map of cases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from radgaze.store.batch import Batch


def average_gaze(batches: Iterable[Batch], size: tuple[int, int]) -> tuple[NDArray[np.float64], int]:
    """Average the gaze maps of training cases.

    Args:
        batches: Training cases, not the evaluated ones; cases without gaze are left out.
        size: Size (H, W) of the map.

    Returns:
        The map in [0, 1], of shape (H, W), zeros if no case has gaze; and the number of cases with gaze.
    """
    total, cases = np.zeros(size), 0
    for batch in batches:
        has_gaze = batch.has_gaze.cpu().numpy().astype(bool)
        if has_gaze.any():
            maps = batch.gaze_maps(size).cpu().numpy()[has_gaze, 0].astype(np.float64)
            total += maps.sum(0)
            cases += int(has_gaze.sum())
    return total / max(1, cases), cases


def mean_map(batches: Iterable[Batch], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Average gaze maps, and scale the mean to a maximum of 255.

    Maps of the reference mode are averaged before they become grey values, which have no zero.

    Args:
        batches, size: Arguments of `average_gaze`.
    """
    mean = average_gaze(map(_without_grey, batches), size)[0]
    scaled: NDArray[np.uint8] = (255 * mean / max(mean.max(), 1e-9)).round().astype(np.uint8)
    return scaled


def _without_grey(batch: Batch) -> Batch:
    if batch.spec is None or batch.spec.weight != "reference":
        return batch
    return replace(batch, spec=replace(batch.spec, weight="count", normalise="minmax"))
