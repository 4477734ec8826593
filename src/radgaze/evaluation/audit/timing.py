"""Time for a method's maps, and for the class scores alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from radgaze.evaluation.audit.aspects.audited_maps import Explain, explained
from radgaze.evaluation.audit.sampling import CaseBatch

TIMED = 2
"""Least number of cases on which the forward pass alone is timed for each method."""


class Clock:
    """Timer of a method and, on its first batches, of the forward pass alone, under the same load."""

    def __init__(self, model: nn.Module, explain: Explain, batch: CaseBatch) -> None:
        self._model, self._explain = model, explain
        self._map_total = self._pass_total = 0.0
        self._maps = self._passes = 0
        explained(explain, batch)  # warm-up: the first call allocates memory and compiles kernels
        self._forward(batch)

    def explained(self, batch: CaseBatch) -> Tensor:
        """Compute and time the maps of a batch, of shape (B, 1, S, S)."""
        if self._passes < TIMED:
            self._pass_total += self._timed(partial(self._forward, batch), batch)[1]
            self._passes += len(batch)
        maps, seconds = self._timed(partial(explained, self._explain, batch), batch)
        self._map_total, self._maps = self._map_total + seconds, self._maps + len(batch)
        return maps

    @property
    def map_seconds(self) -> float:
        """Time of one image's map, in seconds."""
        return self._map_total / self._maps

    @property
    def pass_seconds(self) -> float:
        """Time of one image's class scores alone, in seconds."""
        return self._pass_total / self._passes

    def _forward(self, batch: CaseBatch) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self._model(batch.images, *batch.also).logits
        return logits

    def _timed(self, work: Callable[[], Tensor], batch: CaseBatch) -> tuple[Tensor, float]:
        _wait_for(batch.images)
        start = time.perf_counter()
        result = work()
        _wait_for(result)
        return result, time.perf_counter() - start


def _wait_for(tensor: Tensor) -> None:
    """Wait until the device has computed a tensor."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
