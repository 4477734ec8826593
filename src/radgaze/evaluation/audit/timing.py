"""Time for a method's maps, and for the class scores alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from radgaze.evaluation.audit.aspects.audited_maps import Explain
from radgaze.evaluation.audit.sampling import CaseBatch


class Timed(NamedTuple):
    """Maps of a batch, with their time.

    Attributes:
        maps: Maps of shape (B, 1, S, S).
        map_seconds: Time of one image's map, in seconds.
        pass_seconds: Time of one image's class scores alone, in seconds.
    """

    maps: Tensor
    map_seconds: float
    pass_seconds: float


def timed(model: nn.Module, explain: Explain, batch: CaseBatch) -> Timed:
    """Compute the maps of the predicted class of a batch, and time those of its second half.

    The first half warms up: the first call allocates memory and compiles kernels. The forward pass alone is
    timed beside the maps, under the same load.
    """
    middle = len(batch) // 2
    first, second = slice(0, max(middle, 1)), slice(middle, len(batch))

    def scores(part: slice) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(batch.images[part], *(values[part] for values in batch.also)).logits
        return logits

    def maps(part: slice) -> Tensor:
        also = tuple(values[part] for values in batch.also)
        return explain(batch.images[part], batch.predicted[part], also=also)

    scores(first)
    warm = maps(first)
    count = len(batch) - middle
    pass_seconds = _seconds(lambda: scores(second), batch.images)[1] / count
    made, seconds = _seconds(lambda: maps(second), batch.images)
    return Timed(torch.cat([warm, made]) if middle else made, seconds / count, pass_seconds)


def _seconds(work: Callable[[], Tensor], on: Tensor) -> tuple[Tensor, float]:
    _wait_for(on)
    start = time.perf_counter()
    result = work()
    _wait_for(result)
    return result, time.perf_counter() - start


def _wait_for(tensor: Tensor) -> None:
    """Wait until the device has computed a tensor."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    elif tensor.device.type == "mps":
        torch.mps.synchronize()
