"""Options of a verb or source: the fields of a frozen dataclass, each described once, in its docstring.

    @dataclass(frozen=True)
    class EvaluationOptions(Options):
        \"\"\"How a run is evaluated.

        Attributes:
            resamples: Number of bootstrap resamples.
        \"\"\"

        resamples: int = option(2000, at_least=1, at_most=1_000_000)

The command line makes an argument of each field (`radgaze.cli.options`), with its description as help.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from docstring_parser import DocstringStyle, parse

from radgaze.errors import UserError, shortened

Value = TypeVar("Value")
_RULES = "radgaze.option"


@dataclass(frozen=True)
class Rules:
    """Properties of a field beyond its type.

    Attributes:
        at_least: Lowest value.
        at_most: Highest value.
        above: Number that the value must exceed.
        choices: Function that gives the names of the allowed values, called when a value is checked.
        show_choices: Whether the help of the command line lists the choices. The function must then be
            quick, and import no torch.
        metavar: Placeholder of the value in the help.
        positional: Whether the command line takes it without a flag.
        comma: Whether the command line takes several values as one argument, separated by commas; without it
            they are separated by spaces.
        repeated: Whether the command line takes several values by several flags, one value each.
        hidden: Whether the command line has no argument for it.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    choices: Callable[[], tuple[str, ...]] | None = None
    show_choices: bool = False
    metavar: str | None = None
    positional: bool = False
    comma: bool = False
    repeated: bool = False
    hidden: bool = False


@overload
def option(  # many arguments: those of `Rules`, given by name
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    choices: Callable[[], tuple[str, ...]] | None = None,
    show_choices: bool = False,
    metavar: str | None = None,
    positional: bool = False,
    comma: bool = False,
    repeated: bool = False,
    hidden: bool = False,
) -> Any: ...
@overload
def option(  # many arguments: those of `Rules`, given by name
    default: Value,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    choices: Callable[[], tuple[str, ...]] | None = None,
    show_choices: bool = False,
    metavar: str | None = None,
    positional: bool = False,
    comma: bool = False,
    repeated: bool = False,
    hidden: bool = False,
) -> Value: ...
def option(default: object = MISSING, **rules: Any) -> object:
    """A field of an `Options` dataclass; see `Rules` for the arguments. Without a default it is required."""
    return field(default=default, metadata={_RULES: Rules(**rules)})


def rules_of(each: Field[Any]) -> Rules:
    """The rules of a field."""
    rules: Rules = each.metadata.get(_RULES, Rules())
    return rules


def descriptions(cls: type[Options]) -> dict[str, str]:
    """The description of each field, from the docstring of its class, on one line."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for entry in parse(base.__doc__ or "", style=DocstringStyle.GOOGLE).params:
            texts[entry.arg_name] = " ".join((entry.description or "").split())
    return texts


@dataclass(frozen=True)
class Options:
    """Base of options: checks each field against its `Rules` and its `Literal` type."""

    def __post_init__(self) -> None:
        """Check the values; defaults and None are taken as they are.

        Raises:
            UserError: A value is outside of its bounds, none of its choices, or a string in place of several
                values. The message names the field.
        """
        hints = get_type_hints(type(self))
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None or value is each.default:
                continue
            if isinstance(value, str) and is_sequence(hints[each.name]):
                raise UserError(f"`{each.name}` must be a sequence of values, got {shortened(value)!r}")
            rules = rules_of(each)
            choices = rules.choices() if rules.choices is not None else literal(hints[each.name])
            for one in value if isinstance(value, (tuple, list)) else (value,):
                _check_bounds(each.name, one, rules)
                if choices and one not in choices:
                    raise UserError(
                        f"`{each.name}` must be one of {', '.join(map(str, choices))}, "
                        f"got {shortened(str(one))}"
                    )


def _check_bounds(name: str, value: object, rules: Rules) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    low, high, above = rules.at_least, rules.at_most, rules.above
    # NaN is in no range.
    if (low is None or value >= low) and (high is None or value <= high) and (above is None or value > above):
        return
    if low is not None and high is not None:
        raise UserError(f"`{name}` must be from {_number(low)} to {_number(high)}, got {value}")
    bounds = {"at least": low, "above": above, "at most": high}
    rule = " and ".join(f"{words} {_number(bound)}" for words, bound in bounds.items() if bound is not None)
    raise UserError(f"`{name}` must be {rule}, got {value}")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def is_sequence(annotation: object) -> bool:
    """Whether an annotation is a sequence of values, also inside `| None`."""
    if get_origin(annotation) in (tuple, Sequence):
        return True
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return is_union and any(map(is_sequence, get_args(annotation)))


def literal(annotation: object) -> tuple[object, ...]:
    """The values of a `Literal`, also inside `| None` or a sequence; empty where there is none."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((inner for part in get_args(annotation) if (inner := literal(part))), ())
