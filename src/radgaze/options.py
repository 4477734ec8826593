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
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import MISSING, Field, dataclass, field, fields
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from docstring_parser import DocstringStyle, parse

from radgaze.errors import UserError, close_to, shortened

Value = TypeVar("Value")
_RULES = "radgaze.option"

KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "Path": "a path",
}
"""Types of fields in words."""

_VALUES: dict[object, tuple[type, ...]] = {
    bool: (bool,),
    int: (int,),
    float: (int, float),
    str: (str, PathLike),
    Path: (str, PathLike),
}
"""What the value of a field of a type may be."""


class FieldError(UserError):
    """Error about a setting with a value that it cannot have.

    Args:
        name: Name of the field, with those of the sections that it is in, joined by dots.
        rule: Rule that the value breaks; the message is the name in backquotes and the rule.
    """

    def __init__(self, name: str, rule: str) -> None:
        super().__init__(name, rule)
        self.name, self.rule = name, rule

    def __str__(self) -> str:
        return f"`{self.name}` {self.rule}"

    def inside(self, section: str) -> FieldError:
        """Return the same error for a section that is part of another one."""
        return FieldError(f"{section}.{self.name}", self.rule)


@dataclass(frozen=True)
class Rules:
    """Properties of a field beyond its type.

    Attributes:
        at_least: Lowest value.
        at_most: Highest value.
        above: Number that the value must exceed.
        below: Number that the value must be less than.
        choices: Function that gives the names of the allowed values, called when a value is checked.
        show_choices: Whether the help of the command line lists the choices. The function must then be
            quick, and import no torch.
        metavar: Placeholder of the value in the help.
        positional: Whether the command line takes it without a flag.
        comma: Whether the command line takes several values as one argument, separated by commas; without it
            they are separated by spaces.
        repeated: Whether the command line takes several values by several flags, one value each.
        hidden: Whether the command line has no argument for it.
        omitted: Whether a configuration's file leaves the field out while it has its default.
        check: Function that checks a value, and raises a `UserError` about it.
    """

    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Callable[[], tuple[str, ...]] | None = None
    show_choices: bool = False
    metavar: str | None = None
    positional: bool = False
    comma: bool = False
    repeated: bool = False
    hidden: bool = False
    omitted: bool = False
    check: Callable[[object], None] | None = None


@overload
def option(  # many arguments: those of `Rules`, given by name
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Callable[[], tuple[str, ...]] | None = None,
    show_choices: bool = False,
    metavar: str | None = None,
    positional: bool = False,
    comma: bool = False,
    repeated: bool = False,
    hidden: bool = False,
    omitted: bool = False,
    check: Callable[[object], None] | None = None,
) -> Any: ...
@overload
def option(  # many arguments: those of `Rules`, given by name
    default: Value,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Callable[[], tuple[str, ...]] | None = None,
    show_choices: bool = False,
    metavar: str | None = None,
    positional: bool = False,
    comma: bool = False,
    repeated: bool = False,
    hidden: bool = False,
    omitted: bool = False,
    check: Callable[[object], None] | None = None,
) -> Value: ...
def option(default: object = MISSING, **rules: Any) -> object:
    """A field of an `Options` dataclass; see `Rules` for the arguments. Without a default it is required."""
    metadata = {_RULES: Rules(**rules)}
    if default is not MISSING and type(default).__hash__ is None:  # mutable: each instance has its own
        return field(default_factory=lambda: copy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def rules_of(each: Field[Any]) -> Rules:
    """The rules of a field."""
    rules: Rules = each.metadata.get(_RULES, Rules())
    return rules


def descriptions(cls: type) -> dict[str, str]:
    """The description of each field, from the docstring of its class, on one line."""
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for entry in parse(base.__doc__ or "", style=DocstringStyle.GOOGLE).params:
            texts[entry.arg_name] = " ".join((entry.description or "").split())
    return texts


@dataclass(frozen=True)
class Options:
    """Base of options: checks each field against its `Rules` and its type."""

    def __post_init__(self) -> None:
        """Check the values; defaults are taken as they are, and None where the type has it.

        Raises:
            FieldError: A value is outside of its bounds, none of its choices, of another type, or a string in
                place of several values.
        """
        hints = get_type_hints(type(self))
        for each in fields(self):
            value = getattr(self, each.name)
            if value is each.default:
                continue
            if value is None:
                if not allows_none(hints[each.name]):
                    raise FieldError(each.name, f"must be {in_words(hints[each.name])}, got None")
                continue
            if is_sequence(hints[each.name]) and (isinstance(value, str) or not isinstance(value, Iterable)):
                raise FieldError(each.name, f"must be a sequence of values, got {shortened(repr(value))}")
            rules = rules_of(each)
            choices = rules.choices() if rules.choices is not None else literal(hints[each.name])
            check_bounds(each.name, value, rules)
            if rules.check is not None:
                rules.check(value)
            for one in value if isinstance(value, (tuple, list)) else (value,):
                if choices:
                    check_choice(each.name, one, choices)
            if not choices:
                check_type(each.name, value, hints[each.name])


def changed(options: Options, names: Iterable[str]) -> list[str]:
    """Return those of the named fields that differ from their defaults, in the order of the fields."""
    names = set(names)
    values = {each.name: (getattr(options, each.name), each.default) for each in fields(options)}
    return [
        name
        for name, (value, default) in values.items()
        if name in names and (tuple(value) if isinstance(value, list) else value) != default
    ]


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Check that a value is one of several.

    Raises:
        FieldError: The value is none of them.
    """
    choices = tuple(choices)
    if value not in choices:
        close = close_to(str(value), map(str, choices))
        rule = f"must be one of {', '.join(map(str, choices))}, got {shortened(str(value))}{close}"
        raise FieldError(name, rule)


def check_bounds(name: str, value: object, rules: Rules) -> None:
    """Check that a number, or each of several, is within the bounds of a field.

    Raises:
        FieldError: A value is outside of the bounds, or no number where there are bounds.
    """
    bounds = {
        "at least": rules.at_least,
        "above": rules.above,
        "at most": rules.at_most,
        "below": rules.below,
    }
    stated = {words: bound for words, bound in bounds.items() if bound is not None}
    if not stated:
        return
    if set(stated) == {"at least", "at most"}:
        rule = f"from {_number(stated['at least'])} to {_number(stated['at most'])}"
    else:
        rule = " and ".join(f"{words} {_number(bound)}" for words, bound in stated.items())
    for one in value if isinstance(value, (tuple, list)) else (value,):
        if not _is_within(one, rules):
            raise FieldError(name, f"must be {rule}, got {shortened(str(one))}")


def check_type(name: str, value: object, annotation: object) -> None:
    """Check that a value is a truth value, number or text where its field is one; others are not looked at.

    A path is also text, and a whole number a number.

    Raises:
        FieldError: It is not.
    """
    kinds = [part for part in _parts(annotation) if part is not type(None)]
    if not all(part in _VALUES for part in kinds):
        return
    is_truth = isinstance(value, bool)
    if not any((part is bool) == is_truth and isinstance(value, _VALUES[part]) for part in kinds):
        raise FieldError(name, f"must be {in_words(annotation)}, got {shortened(repr(value))}")


def in_words(annotation: object) -> str:
    """The values of a field in words, without None."""
    parts = [part for part in _parts(annotation) if part is not type(None)]
    names = [
        f"one of {', '.join(map(str, get_args(part)))}"
        if get_origin(part) is Literal
        else "a sequence of values"
        if is_sequence(part)
        else KINDS.get(getattr(part, "__name__", ""), "a value")
        for part in parts
    ]
    return " or ".join(dict.fromkeys(names))


def allows_none(annotation: object) -> bool:
    """Whether an annotation has `| None`."""
    return type(None) in _parts(annotation)


def _parts(annotation: object) -> tuple[object, ...]:
    """The parts of a union; an annotation that is none is its only part."""
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _is_within(value: object, rules: Rules) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not isfinite(value):
        return False
    return (
        (rules.at_least is None or value >= rules.at_least)
        and (rules.above is None or value > rules.above)
        and (rules.at_most is None or value <= rules.at_most)
        and (rules.below is None or value < rules.below)
    )


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def is_sequence(annotation: object) -> bool:
    """Whether an annotation is a sequence of values, also inside `| None`."""
    if get_origin(annotation) in (tuple, Sequence):
        return True
    parts = _parts(annotation)
    return len(parts) > 1 and any(map(is_sequence, parts))


def literal(annotation: object) -> tuple[object, ...]:
    """The values of a `Literal`, also inside `| None` or a sequence; empty where there is none."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((inner for part in get_args(annotation) if (inner := literal(part))), ())
