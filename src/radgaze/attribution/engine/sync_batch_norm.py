"""Batch norm over all processes' batches, in any layer that calls `F.batch_norm`, on any device.

`nn.SyncBatchNorm` needs a GPU, loses the activation of timm's `BatchNormAct2d` when a model is converted to
it, and computes where the heatmap engine cannot look. Here the model stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from radgaze.attribution.engine import batch_norm
from radgaze.attribution.engine.checkpointing import recompute_within
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.layers import BatchNorm


@contextmanager
def synchronised() -> Iterator[None]:
    """Take batch norm's statistics over the batches of all processes in the forward passes run inside.

    Enter it around a training step's forward pass, outside of a generator's `capture`. All processes have to
    run the same layers. Where there is one process, nothing changes.
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
    """Gives batch norm in training mode the statistics of all processes of a group."""

    def __init__(self, group: batch_norm.Group) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        recompute_within(lambda: Synchronised(self.group))
        return self._batch_norm(*args, **kwargs) if func is F.batch_norm else func(*args, **kwargs)

    def _batch_norm(
        self,
        input: Any,  # noqa: A002 - torch's own name
        running_mean: Any,
        running_var: Any,
        weight: Any = None,
        bias: Any = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Any:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        statistics = (running_mean, running_var, training, momentum, eps)
        return BatchNorm.apply(input, weight, bias, statistics, Pass(group=self.group))


def refuse_hidden_statistics(model: nn.Module) -> None:
    """Refuse a model whose batch norms are synchronised where the heatmap engine cannot look.

    Raises:
        RuntimeError: It trains with `nn.SyncBatchNorm` in several processes.
    """
    hidden = (isinstance(module, nn.SyncBatchNorm) and module.training for module in model.modules())
    if _several() and any(hidden):
        raise RuntimeError(
            "nn.SyncBatchNorm hides its statistics, and a heatmap cannot be differentiated through it; leave "
            "the model unconverted, and run its forward pass within radgaze.attribution.synchronised()"
        )


def _several() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
