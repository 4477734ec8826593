"""The mean gaze of the training cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from radgaze.evaluation.baselines.baseline_map import BaselineMap, Floats, Known, register
from radgaze.store.batch import Batch
from radgaze.words import count


def mean_gaze(batches: Iterable[Batch], size: tuple[int, int]) -> tuple[Floats, int]:
    """The mean gaze map (H, W) of training cases, and how many cases it is the mean of.

    Args:
        batches: Training cases, never those that are evaluated; cases without gaze are left out.
        size: (H, W).

    Returns:
        The map, in [0, 1]; zeros if no case has gaze.
    """
    total, cases = np.zeros(size), 0
    for batch in batches:
        there = batch.has_gaze.cpu().numpy().astype(bool)
        if there.any():
            maps = batch.gaze_maps(size).cpu().numpy()[there, 0].astype(np.float64)
            total += maps.sum(0)
            cases += int(there.sum())
    return total / max(1, cases), cases


@register("mean_gaze", title="mean gaze", blurred=False)
class MeanGaze(BaselineMap):
    """The same for every case: as blurred as the gaze maps that it is the mean of."""

    @classmethod
    def unsupported(cls, known: Known) -> str | None:
        return "no training case has gaze" if known.mean_gaze is None else None

    def __call__(self, case_ids: Sequence[str]) -> Floats:
        mean = self.known.mean_gaze
        assert mean is not None
        return np.broadcast_to(mean, (len(case_ids), *mean.shape))

    @classmethod
    def summary(cls, counts: Mapping[str, Any]) -> str:
        return "the mean gaze of the training cases"

    @classmethod
    def remark(cls, counts: Mapping[str, Any]) -> str:
        cases = counts.get("mean_gaze_of_training_cases")
        return f"the mean gaze is that of {count(cases, 'training case')}" if cases else ""
