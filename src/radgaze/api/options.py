"""Options that a caller gives by name, as keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from radgaze.errors import UserError, shortened
from radgaze.options import Options, rules_of

Chosen = TypeVar("Chosen", bound=Options)


def made(cls: type[Chosen], given: Mapping[str, object], call: str) -> Chosen:
    """Make options of one class.

    Args:
        cls: The class.
        given: Values by the names of its fields.
        call: Name of the function that they were given to, for messages.

    Raises:
        UserError: A name is no field, a field is missing, or a value is not allowed.
    """
    check_names(call, given, [cls])
    return taken(cls, given)


def taken(cls: type[Chosen], given: Mapping[str, object]) -> Chosen:
    """Make options of one class from values of several classes' fields.

    Raises:
        UserError: A field without a default is missing, or a value is not allowed.
    """
    missing = [each.name for each in fields(cls) if each.name not in given and _is_required(each)]
    if missing:
        raise UserError(f"`{missing[0]}` is missing")
    values = {each.name: in_python(given[each.name]) for each in fields(cls) if each.name in given}
    return cls(**{each.name: _several(each, values[each.name]) for each in fields(cls) if each.name in given})


def in_python(value: object) -> object:
    """Convert the scalars of NumPy, also in lists, tuples and dictionaries, to those of Python.

    No number of NumPy can be written to a configuration's file, and its whole numbers are no `int`.
    """
    if isinstance(value, Mapping):
        return {name: in_python(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        values = [in_python(each) for each in value]
        return tuple(values) if isinstance(value, tuple) else values
    return value.item() if isinstance(value, np.generic) else value


def _several(each: Field[Any], value: object) -> object:
    """The value of a field; one name in place of several is one of them, as on the command line."""
    return (value,) if isinstance(value, str) and rules_of(each).comma else value


def check_made(name: str, value: object, cls: type, maker: str) -> None:
    """Check that an argument is the object that another function makes, not its path or name.

    Raises:
        UserError: It is not.
    """
    if not isinstance(value, cls):
        got = shortened(" ".join(repr(value).split()), 80)  # on one line
        raise UserError(f"`{name}` must be a {cls.__name__}, which {maker} makes, got {got}")


def check_names(call: str, given: Mapping[str, object], classes: Sequence[type[Options]]) -> None:
    """Check that each name is a field of one of the classes.

    Raises:
        UserError: A name is none of them.
    """
    names = [each.name for cls in classes for each in fields(cls) if not rules_of(each).hidden]
    for name in given:
        if not any(name in {each.name for each in fields(cls)} for cls in classes):
            close = get_close_matches(name, names, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(sorted(names))}"
            raise UserError(f"{call} has no option `{name}`; {hint}")


def _is_required(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING
