"""The methods that a command line names, as generators for a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.generators import Generator
from radgaze.attribution.presets import PRESETS, presets
from radgaze.errors import UserError


def chosen(methods: Sequence[str], model: nn.Module, size: int) -> tuple[str, ...]:
    """Names of methods, in the order in which they are shown; "all" stands for all that apply to the model.

    Args:
        methods: The names.
        model: The network.
        size: Side of its images.

    Raises:
        UserError: There is none of a name, or it does not apply.
    """
    able = presets(model, size)
    if list(methods) == ["all"]:
        return tuple(able)
    for name in methods:
        if name not in PRESETS:
            raise UserError(f"there is no method {name!r}; there are all, {', '.join(PRESETS)}")
        if name not in able:
            why = {
                "pylon": "the model makes no maps of its classes; that takes a run of --experiment pylon",
                "cam": "the model's head is not average pooling and one linear layer; grad_cam takes any",
            }[PRESETS[name].generator]
            raise UserError(f"--methods {name}: {why}")
    return tuple(name for name in PRESETS if name in methods)


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
