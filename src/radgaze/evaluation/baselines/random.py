"""Baseline map of random pixels."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from radgaze.evaluation.baselines.baseline_map import BaselineMap, Floats, register


@register("random", title="random map", label="random (floor)", evaluated=False)
class RandomMap(BaselineMap):
    """Pixels drawn uniformly from [0, 1), with a random stream for each case."""

    def __call__(self, case_ids: Sequence[str]) -> Floats:
        seeds = [[self.inputs.seed, zlib.crc32(case_id.encode())] for case_id in case_ids]
        size = (self.inputs.size, self.inputs.size)
        return np.stack([np.random.default_rng(seed).random(size) for seed in seeds])
