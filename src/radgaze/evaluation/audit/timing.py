"""How long a method takes, beside the class scores alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from radgaze.evaluation.audit.aspects.subject import Explain, explained
from radgaze.evaluation.audit.sampling import Lot

TIMED = 2
"""Cases on which the plain forward pass is timed at least, beside each method."""


class Clock:
    """Times a method, and beside it the plain forward pass, on the first lots: the machine is as busy."""

    def __init__(self, model: nn.Module, explain: Explain, lot: Lot) -> None:
        self._model, self._explain = model, explain
        self._maps = self._passes = 0.0
        self._mapped = self._passed = 0
        explained(explain, lot)  # memory and kernels: what comes first would seem slow
        self._forward(lot)

    def explained(self, lot: Lot) -> Tensor:
        """The lot's maps."""
        if self._passed < TIMED:
            self._passes += self._timed(partial(self._forward, lot), lot)[1]
            self._passed += len(lot)
        maps, seconds = self._timed(partial(explained, self._explain, lot), lot)
        self._maps, self._mapped = self._maps + seconds, self._mapped + len(lot)
        return maps

    @property
    def map_seconds(self) -> float:
        """Time of one image's map."""
        return self._maps / self._mapped

    @property
    def pass_seconds(self) -> float:
        """Time of one image's class scores alone."""
        return self._passes / self._passed

    def _forward(self, lot: Lot) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = self._model(lot.images, *lot.also).logits
        return logits

    def _timed(self, work: Callable[[], Tensor], lot: Lot) -> tuple[Tensor, float]:
        _finish(lot.images)
        start = time.perf_counter()
        done = work()
        _finish(done)
        return done, time.perf_counter() - start


def _finish(tensor: Tensor) -> None:
    """Wait until the device has made it."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
