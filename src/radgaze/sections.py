"""Sections of a run's configuration: mutable dataclasses that check their values as `Options` do.

    @dataclass
    class GazeConfig(Section):
        sigma: float = option(0.05, above=0)

A value that is not allowed raises a `FieldError`, whose message names the field: "`sigma` must be above 0,
got -1.0". Where the section is part of a configuration, the field is named with it: "`gaze.sigma` ...".
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from radgaze.options import FieldError, check_bounds, rules_of


@dataclass
class Section:
    """Base of a section: checks its values when it is made."""

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check the values, and those of the sections in it; a class with rules of its own extends this.

        None is in every range.

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
            elif value is not None:
                check_bounds(each.name, value, rules_of(each))
