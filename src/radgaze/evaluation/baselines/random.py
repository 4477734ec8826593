"""A random map, from which nothing can be learnt."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from radgaze.evaluation.baselines.baseline_map import BaselineMap, Floats, register


@register("random", title="random map", label="random (floor)", evaluated=False)
class RandomMap(BaselineMap):
    """Every pixel is drawn evenly from [0, 1), of each case by a stream of its own."""

    def __call__(self, case_ids: Sequence[str]) -> Floats:
        seeds = [[self.known.seed, zlib.crc32(case_id.encode())] for case_id in case_ids]
        size = (self.known.size, self.known.size)
        return np.stack([np.random.default_rng(seed).random(size) for seed in seeds])
