"""Batch norm over the batches of all processes, in any layer that calls `F.batch_norm`, on any device.

`nn.SyncBatchNorm` needs a GPU, loses the activation of timm's `BatchNormAct2d` when a model is converted to
it, and computes its statistics where the heatmap engine cannot see them. Here the model stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from radgaze.attribution.engine import batch_norm
from radgaze.attribution.engine.activations import Arguments, Keywords, TorchFunction
from radgaze.attribution.engine.checkpointing import recompute_within
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.layers import BatchNorm


@contextmanager
def synchronised() -> Iterator[None]:
    """Compute batch norm's statistics over the batches of all processes in the forward passes run within.

    Enter it around a training step's forward pass, outside of a generator's `capture`. All processes must run
    the same layers. With one process, nothing changes.
    """
    if not _several():
        yield
        return
    token = batch_norm.CURRENT.set(dist.group.WORLD)
    try:
        with Synchronised(dist.group.WORLD):
            yield
    finally:
        batch_norm.CURRENT.reset(token)


class Synchronised(TorchFunctionMode):
    """Compute batch norm's statistics in training mode over all processes of a group."""

    def __init__(self, group: batch_norm.Group) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Arguments = (), kwargs: Keywords | None = None
    ) -> object:
        recompute_within(lambda: Synchronised(self.group))
        call: TorchFunction = self._batch_norm if func is F.batch_norm else func
        return call(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,  # noqa: A002 - torch's own name
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        statistics = (running_mean, running_var, training, momentum, eps)
        y: Tensor = BatchNorm.apply(input, weight, bias, statistics, Pass(group=self.group))
        return y


def refuse_hidden_statistics(model: nn.Module) -> None:
    """Refuse a model whose batch norms are synchronised where the heatmap engine cannot see it.

    Raises:
        RuntimeError: The model trains with `nn.SyncBatchNorm` in several processes.
    """
    if _several() and any(isinstance(m, nn.SyncBatchNorm) and m.training for m in model.modules()):
        raise RuntimeError(
            "nn.SyncBatchNorm hides its statistics, and a heatmap cannot be differentiated through it; leave "
            "the model unconverted, and run its forward pass within radgaze.attribution.synchronised()"
        )


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
