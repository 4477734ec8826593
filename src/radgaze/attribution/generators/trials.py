"""Trials of whether a generator applies to a model, with black images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from radgaze.attribution.generator import Generator

_TRIED: WeakKeyDictionary[nn.Module, dict[tuple[type[Generator], int], str | None]] = WeakKeyDictionary()
"""Why generators make no map of a model, by the size of its images; None where they do, or it is unknown."""


def reason(
    kind: type[Generator], model: nn.Module, size: int, errors: tuple[type[Exception], ...]
) -> str | None:
    """The message of the error by which a generator refuses a model; None where it does not refuse it.

    Args:
        kind: The generator.
        model: The network.
        size: Side of its images in pixels.
        errors: The errors that say that the generator does not apply.
    """
    tried = _TRIED.setdefault(model, {})
    if (kind, size) not in tried:
        tried[kind, size] = _reason(kind, model, size, errors)
    return tried[kind, size]


def _reason(
    kind: type[Generator], model: nn.Module, size: int, errors: tuple[type[Exception], ...]
) -> str | None:
    for image in black(model, size):
        try:
            kind(model)(image)
        except errors as error:
            return str(error)
        except Exception:  # noqa: S112 - a network may refuse an image in any way
            continue
        return None
    return None  # the real images will tell


def black(model: nn.Module, size: int) -> Iterator[Tensor]:
    """Black images of one channel, and of as many as the first convolution takes; and of its size."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if first is None:
        return
    weight = first.weight
    for height, width in dict.fromkeys(((size, size), *_sizes(model))):
        image = torch.zeros(1, first.in_channels, height, width, dtype=weight.dtype, device=weight.device)
        yield from (image[:, :1], image)  # some networks expand one channel to three


def _sizes(model: nn.Module) -> Iterator[tuple[int, int]]:
    """The sizes of images that a model, or a part of it, says it is made for."""
    for module in model.modules():
        side = getattr(module, "image_size", None)  # torchvision's transformers
        made_for = getattr(module, "img_size", None)  # timm's
        if isinstance(side, int):
            yield side, side
        if isinstance(made_for, tuple) and len(made_for) == 2:
            yield int(made_for[0]), int(made_for[1])
    named = getattr(model, "default_cfg", None)
    if isinstance(named, Mapping) and named.get("input_size"):
        yield int(named["input_size"][-2]), int(named["input_size"][-1])
