"""Encoders of timm: whether one is a plain transformer, and the arguments that fit it to a size of images.

A plain transformer (ViT, DeiT, DINOv2, DINOv3, BEiT, EVA) has tokens of one grid from its first block to its
last; `token_encoder` makes it an encoder. Others (Swin, MaxViT, ConvNeXt and convolutional networks) have
features of several sizes, as segmentation-models-pytorch expects them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypedDict, cast

import torch
from torch import Tensor, nn

from radgaze.errors import UserError

PREFIX = "tu-"
"""Begin of the name of an encoder of timm, as segmentation-models-pytorch has it."""

STEP = 32
"""Number of which the side of an image is a multiple, where the features are halved five times."""

MADE_FOR = "made_for"
"""Attribute of an encoder: the side of the images that it was made for, where it may take no other."""


class Arguments(TypedDict, total=False):
    """Arguments of `timm.create_model` that fit a model to a size of images."""

    img_size: int
    dynamic_img_size: bool
    strict_img_size: bool
    global_pool: str


SIZES: tuple[Arguments, ...] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""Arguments, besides `img_size`, with which a model also takes images of other sizes, where it can."""


@dataclass(frozen=True)
class Form:
    """How a model of timm is made for a size of images.

    Attributes:
        patch: Side in pixels of the patch that a token stands for, in a plain transformer; None in others.
        arguments: Arguments of `timm.create_model` besides the name.
    """

    patch: int | None
    arguments: Arguments


class Patches(Protocol):
    """The module of a plain transformer that makes tokens of patches."""

    def feat_ratio(self, as_scalar: bool) -> int:
        """Return the side of a patch in pixels."""


class Plain(Protocol):
    """The parts of a plain transformer of timm that an encoder uses."""

    patch_embed: Patches
    blocks: Sequence[nn.Module]
    num_prefix_tokens: int
    num_features: int

    def forward_intermediates(self, x: Tensor, indices: list[int]) -> tuple[Tensor, list[Tensor]]:
        """Return all tokens (B, N, C) after the last norm, and grids (B, C, h, w) of some blocks."""

    def forward_head(self, x: Tensor, pre_logits: bool) -> Tensor:
        """Return what the model pools of tokens (B, N, C)."""


def is_timm(encoder: str) -> bool:
    """Whether an encoder's name is that of a model of timm."""
    return encoder.startswith(PREFIX)


def form(encoder: str, size: int) -> Form:
    """Find out how an encoder is made for images of a size; without any weights in memory.

    Args:
        encoder: Name of the encoder, `tu-NAME`; others need no arguments.
        size: Side of the images in pixels.

    Raises:
        RuntimeError: timm has no such model.
        UserError: The size does not fit the model; the message names sizes that do.
    """
    if not is_timm(encoder):
        return Form(None, {})
    fitted = _form(encoder.removeprefix(PREFIX), size)
    step = fitted.patch or STEP
    if size % step:
        raise UserError(_unfit(encoder, size, step, is_patch=fitted.patch is not None))
    return fitted


@lru_cache(maxsize=8)
def _form(name: str, size: int) -> Form:
    model, arguments = _described(name, size)
    if not is_plain(model):
        return Form(None, arguments)
    if getattr(model, "global_pool", None) == "":
        arguments = {**arguments, "global_pool": "avg"}
    return Form(patch_of(model), arguments)


def is_plain(model: nn.Module) -> bool:
    """Whether a model of timm has prefix tokens and one grid of tokens, from its first block to its last."""
    parts = ("patch_embed", "blocks", "num_prefix_tokens", "forward_intermediates", "forward_head")
    if not all(hasattr(model, part) for part in parts):
        return False
    features = getattr(model, "feature_info", [])
    return len({each["reduction"] for each in features}) == 1 and hasattr(model.patch_embed, "feat_ratio")


def patch_of(model: nn.Module) -> int:
    """Side in pixels of the patch of a plain transformer's token."""
    return int(cast("Plain", model).patch_embed.feat_ratio(as_scalar=True))


def _described(name: str, size: int) -> tuple[nn.Module, Arguments]:
    """A model without memory for its weights, and the arguments for images of a size that it accepts."""
    import timm

    with torch.device("meta"):
        for each in SIZES:
            arguments: Arguments = {**each, "img_size": size}
            try:
                return timm.create_model(name, **arguments), arguments
            except TypeError:  # it has no such argument
                continue
        return timm.create_model(name), {}


def _unfit(encoder: str, size: int, step: int, *, is_patch: bool) -> str:
    below, above = size // step * step, (size // step + 1) * step
    sizes = f"{below} or {above}" if below else f"{above}"
    why = f"whose patches have {step} px" if is_patch else f"whose features are at 1/{step} of the side"
    return (
        f"`input.size={size}` does not fit `model.encoder={encoder}`, {why}: give a multiple of {step}, "
        f"such as {sizes}"
    )
