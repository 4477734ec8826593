"""Create a network of any architecture, and call it on a batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from radgaze.models.config import ModelConfig
from radgaze.models.output import Output
from radgaze.models.registry import SIZE
from radgaze.store.batch import Batch


def create(config: ModelConfig, classes: int, size: int = SIZE) -> nn.Module:
    """Create an untrained network; its encoder starts from the weights that `config.weights` names.

    Args:
        config: Architecture and settings of the network.
        classes: Number of classes.
        size: Side of the images in pixels. The temporal networks accept this size alone, and so do
            some transformers; other networks accept any.

    Returns:
        A network of grey images (B, 1, H, W) in [0, 1], whose output is an `Output`.

    Raises:
        UserError: There is no such encoder, its weights cannot be downloaded, the size does not fit it, or a
            value is invalid.
    """
    architecture = config.network
    return architecture.network(
        config, classes, *((size,) if architecture.fixed_size or architecture.takes_size else ())
    )


def inputs(model: nn.Module, batch: Batch) -> tuple[Tensor, ...]:
    """Collect the arguments with which a model is called on a batch.

    Returns:
        The result of the model's method `inputs` or, without one, the images (B, 1, H, W) alone.
    """
    method: Callable[[Batch], tuple[Tensor, ...]] | None = getattr(model, "inputs", None)
    return (batch.image,) if method is None else tuple(method(batch))


def forward(model: nn.Module, batch: Batch) -> Output:
    """Call a model on a batch that is on its device."""
    output: Output = model(*inputs(model, batch))
    return output


def scoring(model: nn.Module) -> nn.Module:
    """Return the part of a model that computes its class scores, which shares the model's weights.

    Returns:
        The result of the model's method `scoring` or, without one, the model itself.
    """
    method: Callable[[], nn.Module] | None = getattr(model, "scoring", None)
    return model if method is None else method()
