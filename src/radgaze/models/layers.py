"""The feature maps of a network's encoder, and the layers that make them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.models.timm_models import MADE_FOR

_SHARE = re.compile(r"1/(2|4|8|16|32)")
SIDE = 64
"""Side in pixels of the image that the encoder is tried with, where it was made for none in particular."""


def encoder_of(model: nn.Module) -> nn.Module | None:
    """The encoder of a network, which returns the feature maps of its stages; None without one."""
    # Imported here: it imports all of timm and torchvision, and networks without such an encoder do without.
    from segmentation_models_pytorch.encoders._base import EncoderMixin
    from segmentation_models_pytorch.encoders.timm_universal import TimmUniversalEncoder

    from radgaze.models.token_encoder import TokenEncoder

    kinds = (EncoderMixin, TimmUniversalEncoder, TokenEncoder)
    encoder = next((each for each in model.modules() if isinstance(each, kinds)), None)
    return encoder if isinstance(encoder, nn.Module) else None


@contextmanager
def kept_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Keep the deepest feature maps (B, K, h, w) of each call of a network's encoder, in order."""
    features: list[Tensor] = []
    encoder = encoder_of(model)
    if encoder is None:
        yield features
        return

    def keep(module: nn.Module, args: object, output: Sequence[Tensor]) -> None:
        features.append(output[-1])

    hook = encoder.register_forward_hook(keep)
    try:
        yield features
    finally:
        hook.remove()


def layer_at(model: nn.Module, layer: str | None) -> str | None:
    """The dotted name of a layer that was given by name or by size.

    Args:
        model: The network.
        layer: A dotted name, which is returned as it is, as is None; or "1/16" and the like, for the module
            that makes the encoder's last feature maps of that share of the image's side.

    Raises:
        UserError: The network has no such layer.
    """
    match = None if layer is None else _SHARE.fullmatch(layer)
    if match is None:
        return layer
    encoder = encoder_of(model)
    if encoder is None:
        raise UserError(
            f"the model has no encoder with stages, so that `layer` {layer} names none; give a name"
        )
    if patch := getattr(encoder, "patch", None):
        if patch == int(match[1]):
            return None  # all its blocks have this size: the generator's usual layer
        raise UserError(f"all features of the encoder are at 1/{patch} of the side, and none at {layer}")
    made = _last_module(encoder, int(match[1]).bit_length() - 1)
    for name, module in model.named_modules():
        if module is made:
            return str(name)
    raise UserError(f"no module of the encoder makes its features of {layer} of the side; give a name")


def _last_module(encoder: nn.Module, stage: int) -> nn.Module | None:
    """The outermost module of an encoder whose output is its features of a stage; None without any."""
    outputs: list[tuple[nn.Module, Tensor]] = []

    def keep(module: nn.Module, args: object, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append((module, output))

    hooks = [module.register_forward_hook(keep) for module in encoder.modules()]
    modes = [(module, module.training) for module in encoder.modules()]
    first = next(encoder.parameters())
    conv = next((each for each in encoder.modules() if isinstance(each, nn.Conv2d)), None)
    try:
        encoder.eval()
        with torch.no_grad():
            channels = 3 if conv is None else conv.in_channels
            side = max(SIDE, getattr(encoder, MADE_FOR, None) or 0)  # some take no other
            black = torch.zeros(1, channels, side, side, dtype=first.dtype, device=first.device)
            features = encoder(black)[stage]
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training
    return next((module for module, output in reversed(outputs) if output is features), None)
