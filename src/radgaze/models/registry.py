"""The registered network architectures, each with its inputs and outputs.

This module does not import torch: an architecture of radgaze is imported when it is first looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import nn

Network = TypeVar("Network", bound="type[nn.Module]")

SIZE = 224
"""Side in pixels of the images that a network is made for, where none is given."""

MODULES = {
    "unet": "radgaze.models.unet",
    "classifier": "radgaze.models.unet",
    "pylon": "radgaze.models.pylon",
    "class_maps": "radgaze.models.class_maps",
    "stl": "radgaze.models.class_maps",
    "unet_with_gaze": "radgaze.models.gaze_input",
    "temporal": "radgaze.models.temporal",
    "temporal_image_only": "radgaze.models.temporal",
    "own": "radgaze.models.own",
}
"""The modules that register the architectures of radgaze."""


@dataclass(frozen=True)
class Architecture:
    """A network architecture.

    Attributes:
        name: Name, for `ModelConfig.architecture`.
        title: Name on a page.
        network: Class of the network, called with (`ModelConfig`, number of classes) and, with `fixed_size`
            or `takes_size`, the side of the images in pixels. Its output is an `Output`.
        provides: Names of the maps in its output: "mask", "class_maps".
        reads_gaze: Whether gaze is part of its input, in training and in use.
        gaze_map: Whether that gaze is one map for each case, which may be empty, rather than a sequence.
        own_encoder: Name of its only encoder, which has no published weights; None where
            `ModelConfig.encoder` selects one.
        fixed_size: Whether it accepts only images of the size that it was made for.
        takes_size: Whether it is made for a size of images, which its encoder may need to know.
    """

    name: str
    title: str
    network: Callable[..., nn.Module]
    provides: tuple[str, ...] = ()
    reads_gaze: bool = False
    own_encoder: str | None = None
    fixed_size: bool = False
    gaze_map: bool = False
    takes_size: bool = False


_REGISTRY: dict[str, Architecture] = {}


def register(
    name: str,
    *,
    title: str | None = None,
    provides: tuple[str, ...] = (),
    reads_gaze: bool = False,
    own_encoder: str | None = None,
    fixed_size: bool = False,
    gaze_map: bool = False,
    takes_size: bool = False,
) -> Callable[[Network], Network]:
    """Register a network's class as an architecture; see `Architecture` for the arguments."""

    def decorate(network: Network) -> Network:
        setattr(network, "provides", provides)  # noqa: B010 - mypy; `attribution.Generator.unsupported` reads it
        _REGISTRY[name] = Architecture(
            name,
            title or name.replace("_", " "),
            network,
            provides,
            reads_gaze,
            own_encoder,
            fixed_size,
            gaze_map,
            takes_size,
        )
        return network

    return decorate


def unregister(name: str) -> None:
    """Remove an architecture that was registered.

    Raises:
        KeyError: No architecture of that name is registered.
    """
    del _REGISTRY[name]


def names() -> tuple[str, ...]:
    """Return the names of the architectures: those of radgaze, then others in the order of registration."""
    return tuple(dict.fromkeys((*MODULES, *_REGISTRY)))


def find(name: str) -> Architecture:
    """Return the architecture of a name.

    Raises:
        ValueError: There is no such architecture.
    """
    if name not in _REGISTRY and name in MODULES:
        import_module(MODULES[name])
    if name not in _REGISTRY:
        raise ValueError(f"there is no architecture {name!r}; there are {', '.join(names())}")
    return _REGISTRY[name]
