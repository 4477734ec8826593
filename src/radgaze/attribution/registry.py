"""The registered generators, and the methods shown to people: generators with settings, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from torch import nn

from radgaze.attribution.generator import Generator

Kind = TypeVar("Kind", bound=type[Generator])

REGISTRY: dict[str, type[Generator]] = {}


@dataclass(frozen=True)
class Preset:
    """A method as it is offered: a generator with settings.

    Attributes:
        title: Name on a figure.
        generator: Name of the generator.
        options: Options that differ from the generator's defaults.
    """

    title: str
    generator: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def differentiable(self) -> bool:
        """Whether its generator can be trained through."""
        return REGISTRY[self.generator].differentiable

    def create(self, model: nn.Module, **options: Any) -> Generator:
        """Its generator for a model, with other options where some are given."""
        return create(self.generator, model, **{**self.options, **options})


GROUPS = ("all", "gradient")
"""Names that stand for several methods, see `choose`."""

PRESETS: dict[str, Preset] = {}
"""The methods that are shown to people, in the order in which they are shown."""


def register(
    name: str, *, title: str | None = None, options: Mapping[str, Any] | None = None
) -> Callable[[Kind], Kind]:
    """Register a generator under a name, and as a method of that name.

    Args:
        name: Name that it is asked for by.
        title: Name on a figure; by default the name in words.
        options: Options of the method that differ from the generator's defaults.
    """

    def decorate(cls: Kind) -> Kind:
        cls.name, cls.title = name, title or name.replace("_", " ")
        REGISTRY[name] = cls
        register_method(name, cls.title, name, options)
        return cls

    return decorate


def register_method(name: str, title: str, generator: str, options: Mapping[str, Any] | None = None) -> None:
    """Register a further method of a generator, with options of its own."""
    PRESETS[name] = Preset(title, generator, dict(options or {}))


def names(*, differentiable: bool | None = None) -> tuple[str, ...]:
    """Names of the generators; where asked, those alone that can or cannot be trained through."""
    return tuple(name for name, cls in REGISTRY.items() if differentiable in (None, cls.differentiable))


def methods(model: nn.Module, size: int = 64) -> tuple[str, ...]:
    """Names of the generators that apply to a model, see `Generator.unsupported`.

    Args:
        model: The network.
        size: Side of its images in pixels.
    """
    return tuple(name for name, cls in REGISTRY.items() if cls.unsupported(model, size) is None)


def presets(model: nn.Module, size: int = 64) -> dict[str, Preset]:
    """The methods that apply to a model of images of that side."""
    able = methods(model, size)
    return {name: preset for name, preset in PRESETS.items() if preset.generator in able}


def choose(wanted: Sequence[str], model: nn.Module, size: int = 64) -> tuple[str, ...]:
    """Choose methods for a model, by name or by group, in the order in which they are shown.

    Args:
        wanted: Names of `PRESETS`; "all" for every method that applies to the model, "gradient" for those of
            them that can be trained through.
        model: The network.
        size: Side of its images in pixels.

    Raises:
        ValueError: There is no method of a name, or it does not apply to the model.
    """
    able = presets(model, size)
    chosen: set[str] = set()
    for name in wanted:
        if name in GROUPS:
            chosen |= {each for each, preset in able.items() if name == "all" or preset.differentiable}
        elif name in able:
            chosen.add(name)
        elif name in PRESETS:
            why = REGISTRY[PRESETS[name].generator].unsupported(model, size)
            raise ValueError(f"the method {name} does not apply: {why}")
        else:
            raise ValueError(f"there is no method {name!r}; there are {', '.join((*GROUPS, *PRESETS))}")
    return tuple(name for name in PRESETS if name in chosen)


def create(name: str, model: nn.Module, **given: Any) -> Generator:
    """Create the generator of that name for a model.

    Args:
        name: One of `names()`.
        model: Any network of images (B, C, H, W). Its output is a tensor of logits, a tuple or mapping with
            them first, an object with an attribute `logits`, or anything else with a function as the target.
        **given: Fields of the generator, e.g. `normalise="none"` or `rule_for="relu"`.

    Raises:
        ValueError: There is no generator of that name, it has no such option, or not that value of it.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no generator {name!r}; there are {', '.join(names())}")
    known = options(name)
    for key in given:
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; it has {', '.join(known)}")
    return REGISTRY[name](model, **given)


def options(name: str) -> tuple[str, ...]:
    """Names of the options of a generator."""
    cls = REGISTRY[name]
    return tuple(f.name for f in fields(cls) if f.init and f.name not in ("model", *cls.without))
