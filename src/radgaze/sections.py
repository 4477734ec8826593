"""Sections of a run's configuration: mutable dataclasses that check their values as `Options` do.

    @dataclass
    class GazeConfig(Section):
        sigma: float = option(0.05, above=0)

A value that is not allowed raises a `FieldError`, whose message names the field: "`sigma` must be above 0,
got -1.0". Where the section is part of a configuration, the field is named with it: "`gaze.sigma` ...".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, get_type_hints

from radgaze.options import FieldError, allows_none, check_bounds, check_type, in_words, rules_of

Plain = bool | int | float | str | None

Value = Plain | list[Plain] | dict[str, Plain]
"""A value of an option: a plain one, several, or several by name."""


_HINTS: dict[type, Mapping[str, Any]] = {}
"""See `hints_of`."""


def hints_of(section: type[Section]) -> Mapping[str, Any]:
    """The types of a section's fields, whose annotations are compiled once, not for each configuration."""
    if section not in _HINTS:
        _HINTS[section] = get_type_hints(section)
    return _HINTS[section]


@dataclass
class Section:
    """Base of a section: checks its values when it is made."""

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check the values, and those of the sections in it; a class with rules of its own extends this.

        None is in every range of a field whose type includes it.

        Raises:
            FieldError: A value is not allowed.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Section):
                _check_inside(each.name, value)
                continue
            if isinstance(value, dict):
                for name, inner in value.items():
                    if isinstance(inner, Section):
                        _check_inside(f"{each.name}.{name}", inner)
                continue
            hint = hints_of(type(self))[each.name]
            if value is not None:
                check_bounds(each.name, value, rules_of(each))
                check_type(each.name, value, hint)
            elif not allows_none(hint):
                raise FieldError(each.name, f"must be {in_words(hint)}, got None")


def to_dict(section: Section) -> dict[str, object]:
    """Convert a section to a nested dictionary, without the `omitted` fields that have their default.

    Hidden fields, which hold objects and no values, are left out.
    """
    named = ((each, getattr(section, each.name)) for each in fields(section) if not rules_of(each).hidden)
    return {each.name: _converted(value) for each, value in named if not is_omitted(each, value)}


def leaves(cls: type[Section], values: Mapping[str, object]) -> dict[str, object]:
    """Flatten nested values of a section as far as the fields of its sections; names are joined by dots.

    Args:
        cls: Class of the section.
        values: Nested dictionary of the values of some fields.
    """
    hints, flat = hints_of(cls), dict[str, object]()
    for name, value in values.items():
        hint = hints.get(name)
        if isinstance(hint, type) and issubclass(hint, Section) and isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": each for inner, each in leaves(hint, value).items()}
        else:
            flat[name] = value
    return flat


def is_omitted(each: Field[Any], value: object = MISSING) -> bool:
    """Whether a field may be missing in a configuration's file or, given its value, is left out of it."""
    if not rules_of(each).omitted:
        return False
    default = each.default if each.default_factory is MISSING else each.default_factory()
    return value is MISSING or value == default


def _converted(value: object) -> object:
    if isinstance(value, Section):
        return to_dict(value)
    if isinstance(value, Mapping):
        return {str(name): _converted(inner) for name, inner in value.items()}
    return value


def _check_inside(name: str, section: Section) -> None:
    try:
        section.check()
    except FieldError as error:
        raise error.inside(name) from None
