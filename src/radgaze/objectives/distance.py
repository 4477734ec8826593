"""A distance between two maps, and the registry of distances."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, get_type_hints, overload

from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor

from radgaze.options import FieldError, check_choice

Formula = Callable[..., Tensor]

Share = Annotated[float, Field(ge=0, le=1)]
"""An option in [0, 1]."""

Positive = Annotated[float, Field(gt=0)]
"""An option above 0."""

Weight = Annotated[float, Field(ge=0)]
"""An option of at least 0."""

Count = Annotated[int, Field(ge=1)]
"""An option that is a number of things."""


@dataclass(frozen=True)
class Distance:
    """A registered distance.

    Attributes:
        name: Name, that of its function.
        formula: Function of two maps `p` and `q`, (B, 1, H, W) each, and of options by name, whose values are
            checked against its annotations; it returns one number for each case, (B,). A distance that can
            weight pixels has an option `within`, a map (B, 1, H, W) in [0, 1].
        raw: Whether it takes the heatmap as it was made, neither smoothed nor scaled (see `matching.match`)
            and with negative values if its read-out is signed.
        effect: Words between the predicted map and its target that say what training does, such as
            `PENALISED`; None where it pulls the one towards the other.
    """

    name: str
    formula: Formula
    raw: bool = False
    effect: str | None = None

    def __call__(self, p: Tensor, q: Tensor, /, **options: object) -> Tensor:
        """The distance of each case, (B,)."""
        return self.formula(p, q, **options)

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its options."""
        return tuple(inspect.signature(self.formula).parameters)[2:]


PENALISED = "was penalised for values outside of"
"""`Distance.effect` of distances that say where a map may have no values, and not which it should have."""

REGISTRY: dict[str, Distance] = {}


@overload
def register(formula: Formula) -> Formula: ...
@overload
def register(*, raw: bool = False, effect: str | None = None) -> Callable[[Formula], Formula]: ...
def register(
    formula: Formula | None = None, *, raw: bool = False, effect: str | None = None
) -> Formula | Callable[[Formula], Formula]:
    """Register a distance under its function's name, as `@register` or `@register(raw=True)`.

    Args:
        formula: The function, see `Distance`.
        raw: Whether it takes the heatmap as it was made.
        effect: What training does to the predicted map, see `Distance`.
    """

    def decorate(formula: Formula) -> Formula:
        REGISTRY[formula.__name__] = Distance(formula.__name__, formula, raw, effect)
        return formula

    return decorate if formula is None else decorate(formula)


def find(name: str) -> Distance:
    """Find a distance by its name.

    Raises:
        ValueError: There is no such distance.
    """
    if name not in REGISTRY:
        raise ValueError(f"there is no map distance {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]


def check(name: str, options: Mapping[str, object], *, within: bool = False) -> None:
    """Check the options of a distance.

    Args:
        name: Name of the distance.
        options: Values of its options, by name.
        within: Whether it has to weight pixels by a third map.

    Raises:
        FieldError: There is no such distance or option, a value is not allowed, or the distance cannot weight
            pixels.
    """
    check_choice("distance", name, REGISTRY)
    has = REGISTRY[name].options
    for option in options:
        if option not in has or option == "within":
            allowed = ", ".join(each for each in has if each != "within") or "none"
            raise FieldError("parameters", f"has no {option!r}; the options of {name} are {allowed}")
        _check_value(REGISTRY[name], option, options[option])
    if within and "within" not in has:
        raise FieldError("within", f"cannot be used: the distance {name} weights no places")


def _check_value(distance: Distance, option: str, value: object) -> None:
    """Check a value of an option by its annotation, if it has one."""
    try:
        hints = get_type_hints(distance.formula, include_extras=True)
        if option in hints:
            checked = TypeAdapter(hints[option]).validate_python(value)
            if isinstance(checked, int) and type(value) is not int:
                raise FieldError("parameters", f"cannot have {option}={value!r}: it is a whole number")
    except NameError:  # an annotation that is imported for type checkers alone
        return
    except ValidationError as error:
        said = error.errors(include_url=False, include_input=False)[-1]["msg"]
        raise FieldError("parameters", f"cannot have {option}={value!r}: {said}") from None
