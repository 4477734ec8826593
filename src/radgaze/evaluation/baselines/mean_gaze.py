"""Baseline map of the mean gaze of the training cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from radgaze.evaluation.baselines.baseline_map import BaselineInputs, BaselineMap, Floats, register
from radgaze.words import count


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
