"""The methods that a command line names, as generators for a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.generator import Generator
from radgaze.attribution.registry import PRESETS
from radgaze.errors import UserError


def chosen(methods: Sequence[str], model: nn.Module, size: int) -> tuple[str, ...]:
    """Names of methods, in the order in which they are shown; see `attribution.choose`.

    Args:
        methods: The names.
        model: The network.
        size: Side of its images.

    Raises:
        UserError: There is none of a name, or it does not apply.
    """
    try:
        return attribution.choose(methods, model, size)
    except ValueError as error:
        raise UserError(str(error)) from error


def generators(
    names: Sequence[str], model: nn.Module, *, seed: int, reference: str | Tensor | None
) -> dict[str, Generator]:
    """The generators of these methods.

    Args:
        names: Of `PRESETS`.
        model: What makes the class scores.
        seed: Of whatever is drawn.
        reference: The image that shows nothing, for those that compare with one; None for each one's own.
    """
    made = {}
    for name in names:
        preset, given = PRESETS[name], dict[str, Any]()
        if takes(name, "seed"):
            given["seed"] = seed
        if reference is not None and takes(name, "reference"):
            given["reference"] = reference
        made[name] = preset.create(model, **given)
    return made


def takes(name: str, option: str) -> bool:
    """Whether a method has an option."""
    return option in attribution.options(PRESETS[name].generator)


def settings(name: str, *, seed: int, reference: str | None) -> Mapping[str, Any]:
    """A method's generator and options, for the record."""
    found: dict[str, Any] = {"generator": PRESETS[name].generator, **PRESETS[name].options}
    if takes(name, "seed"):
        found["seed"] = seed
    if reference is not None and takes(name, "reference"):
        found["reference"] = reference
    return found
