"""Run a network a second time within a training step, on perturbed images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from radgaze.models.architectures import forward, scoring
from radgaze.models.output import Output
from radgaze.store.batch import Batch


def run_again(model: nn.Module, batch: Batch, images: Tensor) -> Output:
    """Run a network on other images (B, 1, H, W) of a batch's cases, with the other inputs of the batch.

    The network stays in the mode that it is in. In training, batch norm takes the statistics of these images
    and its running statistics do not change, so that those stay the statistics of images as they are in use.
    Drop-out draws again. A decoder that the class scores do not depend on is left out.
    """
    with held_statistics(model):
        return forward(scoring(model), replace(batch, image=images))


@contextmanager
def held_statistics(model: nn.Module) -> Iterator[None]:
    """Keep the running statistics of a network's norms while it runs in training mode."""
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.training and m.track_running_stats]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    try:
        for norm in norms:
            norm.momentum = 0.0
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked = norm.num_batches_tracked.clone()
        yield
    finally:
        for norm, momentum, batches in before:
            norm.momentum, norm.num_batches_tracked = momentum, batches
