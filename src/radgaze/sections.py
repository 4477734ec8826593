"""Sections of a run's configuration: dataclasses that check their own values.

    @dataclass
    class GazeConfig(Section):
        sigma: float = within("(0, inf)", 0.05)

A value outside of its interval raises a `FieldError`, whose message names the field: "`sigma` must be above
0, got -1.0". Where the section is part of a configuration, the field is named with it: "`gaze.sigma` ...".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TypeVar

from radgaze.errors import UserError, shortened

T = TypeVar("T")

_INTERVAL = "radgaze.interval"


class FieldError(UserError):
    """A setting has a value that it cannot have.

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
        """Add the name of the section that holds the field."""
        return FieldError(f"{section}.{self.name}", self.rule)


def within(interval: str, default: T) -> T:
    """Make a field whose value, or each of whose values, lies in an interval, such as "[0, 1)".

    None is in every interval.
    """
    return field(default=default, metadata={_INTERVAL: interval})


@dataclass
class Section:
    """Base of a section: checks its values when it is made."""

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check the values, and those of the sections in it. A class with rules of its own extends it.

        Raises:
            FieldError: A value is not allowed.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Section):
                try:
                    value.check()
                except FieldError as error:
                    raise error.inside(each.name) from None
            elif _INTERVAL in each.metadata:
                _check_interval(each.name, value, each.metadata[_INTERVAL])


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Check that a value is one of several.

    Raises:
        FieldError: It is none of them.
    """
    choices = tuple(choices)
    if value not in choices:
        raise FieldError(name, f"must be one of {', '.join(choices)}, got {shortened(str(value))}")


def _check_interval(name: str, value: object, interval: str) -> None:
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if numbers and all(each is None or _is_inside(each, interval) for each in numbers):
        return
    rule = _in_words(interval) + (", for each of them" if isinstance(value, (list, tuple)) else "")
    raise FieldError(name, f"must be {rule}, got {shortened(str(value))}")


def _is_inside(value: object, interval: str) -> bool:
    if not isinstance(value, (int, float)) or math.isnan(value):
        return False
    low, high = (float(end) for end in interval[1:-1].split(","))
    is_above = value >= low if interval[0] == "[" else value > low
    return is_above and (value <= high if interval[-1] == "]" else value < high)


def _in_words(interval: str) -> str:
    low, high = (end.strip() for end in interval[1:-1].split(","))
    lower = f"{'at least' if interval[0] == '[' else 'above'} {low}"
    return lower if high == "inf" else f"{lower} and {'at most' if interval[-1] == ']' else 'below'} {high}"
