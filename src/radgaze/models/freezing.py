"""Which weights of an encoder are trained: all, the last blocks, or none."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from radgaze.errors import UserError
from radgaze.models.blocks import needed
from radgaze.models.layers import encoder_of


def freeze(model: nn.Module, unfreeze: int | Literal["all"]) -> None:
    """Train the last blocks of a network's encoder, and what comes after them, and keep the rest as it is.

    Args:
        model: The network; its head, and decoder if it has one, are always trained.
        unfreeze: Number of blocks, see `blocks`; 0 keeps the whole encoder, and "all" changes nothing.

    Raises:
        UserError: The blocks cannot be told, or there are fewer.
    """
    if unfreeze == "all":
        return
    encoder = encoder_of(model)
    if unfreeze == 0 and encoder is not None:
        encoder.requires_grad_(False)
        return
    depths = needed(model, f"model.unfreeze={unfreeze}")
    if unfreeze > depths.count:
        raise UserError(
            f"`model.unfreeze={unfreeze}` is more than the {depths.count} blocks of the encoder: give at "
            f"most {depths.count}, or all, which trains what comes before the first block too"
        )
    parameters = dict(model.named_parameters())
    last = depths.count - unfreeze if unfreeze else depths.count + 1
    for name, depth in depths.by_name.items():
        if depth <= last:
            parameters[name].requires_grad_(False)


def hold_norms(model: nn.Module) -> None:
    """Put the batch norms whose weights are not trained into evaluation mode.

    Otherwise their running statistics would follow the training images, and a frozen part would change.
    """
    for module in model.modules():
        if isinstance(module, _NormBase):
            weights = list(module.parameters(recurse=False))
            if weights and not any(each.requires_grad for each in weights):
                module.eval()
