"""A network of the user, which returns logits, a tuple, a mapping or an `Output`, as a network of radgaze."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.models import factories
from radgaze.models.config import ModelConfig, given_of, own_in_words
from radgaze.models.encoder_input import scaling
from radgaze.models.input_scale import InputScale
from radgaze.models.output import Output
from radgaze.models.registry import register
from radgaze.models.weights import one_line

PARTS = ("mask", "class_maps", "aux_logits")
"""Further outputs of a network, by their keys in a mapping."""


@register("own", title="network of its user", own_encoder="own")
class OwnNetwork(nn.Module):
    """A user's network, called on grey images, whose output becomes an `Output`.

    Args:
        config: Settings with a factory, or with the network as an object, which is copied.
        classes: Number of classes.

    Attributes:
        provides: Maps that the network gives.
        lacks: Generators that make no map of it, with the reason.

    Raises:
        UserError: The factory is not trusted, fails, or makes no `torch.nn.Module`.
    """

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.provides = config.provides
        self.lacks = dict.fromkeys(config.lacks, "it made no map when your own network was tried with it")
        self.network = _made(config, classes)
        # In one place for all calls: a heatmap is one of the grey image.
        self.grey = _grey(config, config.channels or 1)

    def forward(self, images: Tensor) -> Output:
        """Compute the output of images (B, 1, H, W).

        Raises:
            ValueError: The network returns something else than documented.
        """
        size = (images.shape[-2], images.shape[-1])
        return as_output(self.network(self.grey(images)), self.classes, size)


def as_output(made: object, classes: int, size: tuple[int, int]) -> Output:
    """Convert what a user's network returned.

    Args:
        made: Logits (B, C); a tuple or list of which the first tensor of two dimensions is the logits, and
            the first of four with one channel the mask's logits; a mapping, or an object with attributes,
            `logits` and, if there are any, `mask`, `class_maps` and `aux_logits`.
        classes: Number of classes C.
        size: Size (H, W) of the images; a mask of another size is resized to it, bilinearly.

    Raises:
        ValueError: There are no logits of these classes, or another part has a wrong shape.
    """
    parts = _parts(made)
    logits = parts.get("logits")
    if logits is None:
        tokens = hasattr(made, "last_hidden_state")
        raise ValueError(
            f"your network returns a {type(made).__name__} without logits; it must return a tensor (B, "
            f"{classes}), a tuple (logits, mask), or a dictionary with `logits`"
            + ("; put a head on its last_hidden_state, see docs/own_models.md" if tokens else "")
        )
    if logits.dim() != 2 or logits.shape[1] != classes:
        raise ValueError(
            f"your network returns logits of the shape {tuple(logits.shape)} for {classes} classes; (B, "
            f"{classes}) is expected"
        )
    mask = parts.get("mask")
    if mask is not None:
        mask = mask.unsqueeze(1) if mask.dim() == 3 else mask
        if mask.dim() != 4 or mask.shape[1] != 1:
            raise ValueError(
                f"your network returns a mask of the shape {tuple(mask.shape)}, not (B, 1, H, W)"
            )
        if mask.shape[-2:] != size:
            mask = F.interpolate(mask, size=size, mode="bilinear", align_corners=False)
    maps = parts.get("class_maps")
    if maps is not None and (maps.dim() != 4 or maps.shape[1] != classes):
        raise ValueError(
            f"your network returns class maps of the shape {tuple(maps.shape)}, not (B, {classes}, h, w)"
        )
    return Output(logits, mask, maps, parts.get("aux_logits"))


def provided(output: Output) -> tuple[str, ...]:
    """The names of the maps in an output."""
    maps = {"mask": output.mask, "class_maps": output.class_maps}
    return tuple(name for name, value in maps.items() if value is not None)


def tried(config: ModelConfig, classes: int, size: int) -> tuple[OwnNetwork, Output]:
    """Make an own network with the number of channels that it takes, and call it on a grey image.

    Args:
        config: Its settings.
        classes: Number of classes.
        size: Side of the images, in pixels.

    Returns:
        The network in evaluation mode, and its output for two images.

    Raises:
        UserError: The network cannot be made, takes no image of this size, or returns something else than
            documented.
    """
    network = OwnNetwork(config, classes).eval()
    images = torch.linspace(0, 1, 2 * size * size).reshape(2, 1, size, size)
    failed: dict[int, str] = {}
    for channels in (1, 3) if config.channels is None else (config.channels,):
        network.grey = _grey(config, channels)
        try:
            with torch.no_grad():
                raw = network.network(network.grey(images))
        except Exception as error:  # a user's code may raise anything
            failed[channels] = one_line(error)
            continue
        try:
            return network, as_output(raw, classes, (size, size))
        except ValueError as error:
            raise UserError(f"{own_in_words(config)}: {error}") from error
    reasons = "; ".join(f"(2, {channels}, {size}, {size}): {reason}" for channels, reason in failed.items())
    raise UserError(f"{own_in_words(config)} does not take images {reasons}")


def channels_of(network: OwnNetwork) -> int:
    """The channels of the images that an own network gets."""
    return network.grey.scale.channels if isinstance(network.grey, InputScale) else 1


def _grey(config: ModelConfig, channels: int) -> nn.Module:
    """The module that makes a network's input of grey images: those themselves, or a scale of them."""
    if config.normalisation == "auto" and channels == 1:
        return nn.Identity()
    return scaling(replace(config, channels=channels))


def _made(config: ModelConfig, classes: int) -> nn.Module:
    """The user's network: a copy of a module that was given, or what the factory makes."""
    given = given_of(config)
    if isinstance(given, nn.Module):
        return deepcopy(given)
    factory = given if callable(given) else factories.imported(str(config.factory))
    made = factories.called(factory, classes, config.options, own_in_words(config))
    if not isinstance(made, nn.Module):
        raise UserError(f"{own_in_words(config)} made a {type(made).__name__}, not a torch.nn.Module")
    return made


def _parts(made: object) -> dict[str, Tensor]:
    """The parts of an output by name, as far as they are tensors."""
    if isinstance(made, Tensor):
        return {"logits": made}
    if isinstance(made, Mapping):
        named = {name: made[name] for name in ("logits", *PARTS) if name in made}
    elif hasattr(made, "logits"):  # an `Output`, or an object such as those of transformers
        named = {name: getattr(made, name, None) for name in ("logits", *PARTS)}
    elif isinstance(made, tuple | list):
        tensors = [each for each in made if isinstance(each, Tensor)]
        named = {
            "logits": next((each for each in tensors if each.dim() == 2), None),
            "mask": next((each for each in tensors if each.dim() == 4 and each.shape[1] == 1), None),
        }
    else:
        named = {}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}
