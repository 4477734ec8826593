"""The registered generators, and the methods that are shown: generators with settings, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TypeVar

from torch import nn

from radgaze.attribution.generator import Generator

Kind = TypeVar("Kind", bound=type[Generator])

REGISTRY: dict[str, type[Generator]] = {}


@dataclass(frozen=True)
class Preset:
    """A method that is shown: a generator with settings.

    Attributes:
        title: Name on a figure.
        generator: Name of the generator.
        options: Options that differ from the generator's defaults.
    """

    title: str
    generator: str
    options: dict[str, object] = field(default_factory=dict)

    @property
    def differentiable(self) -> bool:
        """Whether its generator can be trained through."""
        return REGISTRY[self.generator].differentiable

    def create(self, model: nn.Module, **options: object) -> Generator:
        """Create the method's generator for a model; `options` take precedence over the method's own."""
        return create(self.generator, model, **{**self.options, **options})


GROUPS = ("all", "gradient")
"""Names of groups of methods, see `choose`."""

PRESETS: dict[str, Preset] = {}
"""The methods that are shown, by name, in the order in which they are shown."""


def register(
    name: str, *, title: str | None = None, options: Mapping[str, object] | None = None
) -> Callable[[Kind], Kind]:
    """Register a generator under a name, and as a method of that name.

    Args:
        name: Name of the generator, for `create`.
        title: Name on a figure; None means the name with spaces in place of underscores.
        options: Options of the method that differ from the generator's defaults; None means none.
    """

    def decorate(cls: Kind) -> Kind:
        cls.name, cls.title = name, title or name.replace("_", " ")
        REGISTRY[name] = cls
        register_method(name, cls.title, name, options)
        return cls

    return decorate


def register_method(
    name: str, title: str, generator: str, options: Mapping[str, object] | None = None
) -> None:
    """Register a further method of a generator.

    Args:
        name: Name of the method.
        title: Name on a figure.
        generator: Name of the generator.
        options: Options that differ from the generator's defaults; None means none.
    """
    PRESETS[name] = Preset(title, generator, dict(options or {}))


def names(*, differentiable: bool | None = None) -> tuple[str, ...]:
    """Names of the registered generators.

    Args:
        differentiable: True for those that can be trained through, False for the others, None for all.
    """
    return tuple(name for name, cls in REGISTRY.items() if differentiable in (None, cls.differentiable))


def methods(model: nn.Module, size: int = 64) -> tuple[str, ...]:
    """Names of the generators that apply to a model, see `Generator.unsupported`.

    Args:
        model: The network.
        size: Side of its images in pixels.
    """
    return tuple(name for name, cls in REGISTRY.items() if cls.unsupported(model, size) is None)


def presets(model: nn.Module, size: int = 64) -> dict[str, Preset]:
    """The methods that apply to a model, by name, in the order in which they are shown.

    Args:
        model: The network.
        size: Side of its images in pixels.
    """
    able = methods(model, size)
    return {
        name: preset
        for name, preset in PRESETS.items()
        if {preset.generator, str(preset.options.get("base", preset.generator))} <= set(able)
    }


def choose(requested: Sequence[str], model: nn.Module, size: int = 64) -> tuple[str, ...]:
    """Choose methods for a model, by name or by group, in the order in which they are shown.

    Args:
        requested: Names of `PRESETS`; "all" for every method that applies to the model, "gradient" for those
            of them that can be trained through.
        model: The network.
        size: Side of its images in pixels.

    Raises:
        ValueError: A method does not exist, or does not apply to the model.
    """
    able = presets(model, size)
    chosen: set[str] = set()
    for name in requested:
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


def create(name: str, model: nn.Module, **given: object) -> Generator:
    """Create a generator for a model.

    Args:
        name: Name of the generator, one of `names()`.
        model: Any network of images (B, C, H, W). Its output is a tensor of logits (B, C), a tuple with the
            logits first, or a mapping or object that has them as `logits`. For any other output give the
            option `output`, or a function as target.
        **given: Options of the generator, e.g. `normalise="none"` or `rule_for="relu"`; `options(name)` lists
            them, and `Generator` describes those of all generators.

    Returns:
        The generator; called on images it returns maps (B, 1, H, W).

    Raises:
        ValueError: There is no such generator, it has no such option, an option has an unknown value, or the
            model is no module.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no generator {name!r}; there are {', '.join(names())}")
    valid = options(name)
    for key in given:
        if key not in valid:
            raise ValueError(f"{name} has no option {key!r}; it has {', '.join(valid)}")
    generator: Callable[..., Generator] = REGISTRY[name]
    return generator(model, **given)


def options(name: str) -> tuple[str, ...]:
    """Names of the options of a registered generator, without those that do not apply to it.

    Raises:
        KeyError: There is no such generator.
    """
    cls = REGISTRY[name]
    return tuple(f.name for f in fields(cls) if f.init and f.name not in ("model", *cls.without))
