"""Create a network of any architecture, and call it on a batch."""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from radgaze.models.config import ModelConfig
from radgaze.models.unet import Output
from radgaze.store.batch import Batch

SIZE = 224


def create(config: ModelConfig, classes: int, size: int = SIZE) -> nn.Module:
    """A model of grey images (B, 1, H, W) in [0, 1] with `Output` for that many classes.

    Args:
        config: The network.
        classes: How many classes.
        size: Side of the images; the temporal networks take no other afterwards, the rest any.

    Raises:
        UserError: There is no such encoder, or its weights cannot be had, or a value makes no sense.
    """
    architecture = config.network
    return architecture.network(config, classes, *((size,) if architecture.fixed_size else ()))


def inputs(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """What a model is called with on a batch: the images first; then what it says in a method `inputs`."""
    own: Any = getattr(model, "inputs", None)
    return (batch.image,) if own is None else tuple(own(batch))


def forward(model: nn.Module, batch: Batch) -> Output:
    """What a model gives for a batch on its device."""
    return cast("Output", model(*inputs(model, batch)))


def scoring(model: nn.Module) -> nn.Module:
    """The part of a model that makes its class scores, with the same weights: what the model says in a method
    `scoring`, by default the model itself."""
    part: Any = getattr(model, "scoring", None)
    return model if part is None else cast("nn.Module", part())
