"""Which networks there are, and the one way to call any of them on a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from torch import Tensor, nn

from radgaze.models.config import ModelConfig
from radgaze.models.pylon import Pylon
from radgaze.models.temporal import ImageOnly, Temporal
from radgaze.models.unet import Classifier, Output, UNet
from radgaze.store.batch import Batch

SIZE = 224

ARCHITECTURES: dict[str, Callable[[ModelConfig, int, int], nn.Module]] = {
    "unet": lambda config, classes, size: UNet(config, classes),
    "classifier": lambda config, classes, size: Classifier(config, classes),
    "pylon": lambda config, classes, size: Pylon(config, classes),
    "temporal": Temporal,
    "temporal_image_only": ImageOnly,
}


def create(config: ModelConfig, classes: int, size: int = SIZE) -> nn.Module:
    """A model of grey images (B, 1, H, W) in [0, 1] with `Output` for that many classes.

    Args:
        config: The network.
        classes: How many classes.
        size: Side of the images; the temporal networks take no other afterwards, the rest any.

    Raises:
        UserError: There is no such encoder, or its weights cannot be had, or a value makes no sense.
    """
    return ARCHITECTURES[config.architecture](config, classes, size)


def inputs(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """What a model is called with on a batch: the images first; then what it says in a method `inputs`."""
    own: Any = getattr(model, "inputs", None)
    return (batch.image,) if own is None else tuple(own(batch))


def forward(model: nn.Module, batch: Batch) -> Output:
    """What a model gives for a batch on its device."""
    return cast("Output", model(*inputs(model, batch)))


def scoring(model: nn.Module) -> nn.Module:
    """What makes a model's class scores, with its very weights: the model itself, or less where less does."""
    return Classifier.of(model) if isinstance(model, UNet) else model
