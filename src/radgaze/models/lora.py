"""LoRA: low-rank additions to the linear layers of an encoder's blocks, by the library peft.

Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022: W + B·A, of which A and B of a
small rank are trained and W is kept. peft is an extra. After training the additions are merged into the
weights, so that a stored network is one without LoRA, and peft is not needed to use it.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import nn

from radgaze.errors import UserError
from radgaze.models.blocks import needed
from radgaze.models.layers import encoder_of

EXTRA = "lora"


def add(model: nn.Module, rank: int, size: int) -> None:
    """Keep the weights of a network's encoder, and add trained ones of a low rank to its linear layers.

    Only layers that are called get any. Some transformers use the weight of a layer without calling it, and
    an addition would have no effect there.

    Args:
        model: The network, which is changed.
        rank: Rank of the additions.
        size: Side of the images in pixels.

    Raises:
        UserError: peft is not installed, or the encoder has no blocks with linear layers.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError(
            f"`model.lora_rank={rank}` needs the library peft: install the extra, radgaze[{EXTRA}]"
        ) from error
    names = _layers(model, rank, size)
    encoder = encoder_of(model)
    if encoder is None:
        frozen = set(needed(model, f"model.lora_rank={rank}").by_name)
    else:
        members = {id(parameter) for parameter in encoder.parameters()}
        frozen = {name for name, parameter in model.named_parameters() if id(parameter) in members}
    trained = [p for name, p in model.named_parameters() if name not in frozen and p.requires_grad]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=names), model)
    for parameter in trained:  # peft freezes all but its own
        parameter.requires_grad_(True)


def merge(model: nn.Module) -> None:
    """Add the trained weights of a low rank to those of their layers, and remove them; a network without any
    stays as it is."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if hasattr(child, "lora_A") and hasattr(child, "get_base_layer"):
                layer = cast("Adapted", child)
                layer.merge()
                setattr(parent, name, layer.get_base_layer())


class Adapted(Protocol):
    """A linear layer with additions, as peft makes it."""

    def merge(self) -> None:
        """Add the additions to the weights."""

    def get_base_layer(self) -> nn.Module:
        """Return the layer itself."""


def _layers(model: nn.Module, rank: int, size: int) -> list[str]:
    """The names of the linear layers in the blocks that a pass of the network calls."""
    depths = needed(model, f"model.lora_rank={rank}")
    inside = {name.rpartition(".")[0] for name, depth in depths.by_name.items() if 0 < depth <= depths.count}
    linear = {module: name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    called: list[str] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: called.append(linear[module]))
        for module, name in linear.items()
        if name in inside
    ]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with torch.no_grad():
            model(next(model.parameters()).new_zeros(1, 1, size, size))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    if not called:
        raise UserError(
            f"`model.lora_rank={rank}` adds to linear layers, and the blocks of this encoder have none: take "
            "a transformer, or train the last blocks with `model.unfreeze`"
        )
    return sorted(set(called))
