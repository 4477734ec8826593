"""The methods of an explanation, as generators for a model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.generator import Generator
from radgaze.attribution.registry import PRESETS
from radgaze.errors import UserError


def chosen(methods: Sequence[str], model: nn.Module, size: int) -> tuple[str, ...]:
    """Return names of methods in the order in which they are shown; see `attribution.choose`.

    Args:
        methods: The names.
        model: The network.
        size: Side of its images, in pixels.

    Raises:
        UserError: There is no such method, or it does not apply to the model.
    """
    try:
        return attribution.choose(methods, model, size)
    except ValueError as error:
        raise UserError(str(error)) from error


def generators(
    names: Sequence[str], model: nn.Module, *, seed: int, reference: str | Tensor | None
) -> dict[str, Generator]:
    """Make the generators of methods.

    Args:
        names: Names of methods in `PRESETS`.
        model: Network that gives the class scores.
        seed: Random seed.
        reference: Reference image without information, for methods that use one: the name of one of
            `REFERENCES`, or an image (1, S, S); None for the default of each method.
    """
    return {
        name: PRESETS[name].create(model, **_overrides(name, seed=seed, reference=reference))
        for name in names
    }


def settings(name: str, *, seed: int, reference: str | None) -> dict[str, object]:
    """Return the generator and options of a method, for explanation.json."""
    preset = PRESETS[name]
    return {
        "generator": preset.generator,
        **preset.options,
        **_overrides(name, seed=seed, reference=reference),
    }


def _overrides(name: str, *, seed: int, reference: str | Tensor | None) -> dict[str, object]:
    """The options of a method that a call sets."""
    options = attribution.options(PRESETS[name].generator)
    overrides: dict[str, object] = {}
    if "seed" in options:
        overrides["seed"] = seed
    if reference is not None and "reference" in options:
        overrides["reference"] = reference
    return overrides
