"""Baseline map of the mean gaze of the training cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from radgaze.evaluation.baselines.baseline_map import BaselineInputs, BaselineMap, Floats, register
from radgaze.store.batch import Batch
from radgaze.words import count


def average_gaze(batches: Iterable[Batch], size: tuple[int, int]) -> tuple[Floats, int]:
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


@register("mean_gaze", title="mean gaze", blurred=False)
class MeanGaze(BaselineMap):
    """Mean gaze map, the same for every case; not blurred, since the averaged gaze maps already are."""

    @classmethod
    def unsupported(cls, inputs: BaselineInputs) -> str | None:
        return "no training case has gaze" if inputs.mean_gaze is None else None

    def __call__(self, case_ids: Sequence[str]) -> Floats:
        mean = self.inputs.mean_gaze
        assert mean is not None
        return np.broadcast_to(mean, (len(case_ids), *mean.shape))

    @classmethod
    def summary(cls, counts: Mapping[str, int]) -> str:
        return "the mean gaze of the training cases"

    @classmethod
    def remark(cls, counts: Mapping[str, int]) -> str:
        cases = counts.get("mean_gaze_of_training_cases")
        return f"the mean gaze is that of {count(cases, 'training case')}" if cases else ""
