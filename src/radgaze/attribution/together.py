"""Maps of several generators, made of the same forward passes of a model.

Generators with the same options that look at the same images need one forward pass for all their maps, and
those that need the same gradient one backward pass. A generator that runs the model on images of its own,
such as noisy copies, shares these with generators of the same copies.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from torch import Tensor

from radgaze.attribution.generator import Generator
from radgaze.attribution.generators.composed import SHARED
from radgaze.attribution.targets import Target


def shared(generators: Mapping[str, Generator]) -> list[tuple[str, ...]]:
    """Group generators by the forward passes that they share.

    Args:
        generators: The generators, by any names.

    Returns:
        The names of each group, groups and names in the order given.
    """
    groups: dict[Hashable, list[str]] = {}
    for name, generator in generators.items():
        groups.setdefault(_passes(generator), []).append(name)
    return [tuple(group) for group in groups.values()]


def together(
    generators: Mapping[str, Generator],
    images: Tensor,
    target: Target = "predicted",
    labels: Tensor | None = None,
    *,
    also: Sequence[Tensor] = (),
) -> dict[str, Tensor]:
    """Make the detached maps (B, 1, H, W) of several generators, by their names.

    They equal those of each generator by itself, up to rounding. The other arguments are those of a
    generator (`Generator.__call__`).
    """
    maps: dict[str, Tensor] = {}
    for group in shared(generators):
        first, *others = (generators[name] for name in group)
        made = first.explain([first, *others], images, target, labels, also)
        maps |= zip(group, made, strict=True)
    return {name: maps[name] for name in generators}


_OPTIONS = tuple(name for name in SHARED if name != "readout")


def _passes(generator: Generator) -> Hashable:
    """A key that is equal for generators that share their forward passes; those of another kind are alone."""
    kind = type(generator)
    if kind.look is not Generator.look or kind.map is not Generator.map or generator.reads_attention:
        return id(generator)
    options = tuple(getattr(generator, name) for name in _OPTIONS)
    return (id(generator.model), generator.sampled, *options)
