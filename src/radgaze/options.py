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

from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from docstring_parser import parse

from radgaze.errors import UserError, shortened

_RULES = "radgaze.option"


@dataclass(frozen=True)
class Rules:
    """What a field's type does not say.

    Attributes:
        at_least: Lowest value.
        at_most: Highest value.
        choices: Names of the values it may have, called when they are needed.
        metavar: Placeholder of the value in `--help`.
        positional: Whether the command line takes it without a flag.
        comma: Whether the command line takes several values as one argument, separated by commas; without it
            they are separated by spaces.
        hidden: Whether the command line has no argument for it.
    """

    at_least: float | None = None
    at_most: float | None = None
    choices: Callable[[], tuple[str, ...]] | None = None
    metavar: str | None = None
    positional: bool = False
    comma: bool = False
    hidden: bool = False


def option(
    default: Any = MISSING,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: Callable[[], tuple[str, ...]] | None = None,
    metavar: str | None = None,
    positional: bool = False,
    comma: bool = False,
    hidden: bool = False,
) -> Any:
    """A field of an `Options` dataclass; see `Rules` for the arguments. Without a default it is required."""
    rules = Rules(at_least, at_most, choices, metavar, positional, comma, hidden)
    return field(default=default, metadata={_RULES: rules})


def rules(of: Field[Any]) -> Rules:
    """The rules of a field."""
    found: Rules = of.metadata.get(_RULES, Rules())
    return found


def descriptions(cls: type[Options]) -> dict[str, str]:
    """The description of each field, from the docstring of its class, on one line."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        for entry in parse(base.__doc__ or "").params:
            found[entry.arg_name] = " ".join((entry.description or "").split())
    return found


@dataclass(frozen=True)
class Options:
    """Base of options: checks each field against its `Rules` and its `Literal` type."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UserError: A value is outside of its bounds or none of its choices. The message names the field.
        """
        types = get_type_hints(type(self))
        for each in fields(self):
            value, bounds = getattr(self, each.name), rules(each)
            if value is None:
                continue
            _check_bounds(each.name, value, bounds)
            known = _choices(types[each.name], bounds)
            for one in value if isinstance(value, (tuple, list)) else (value,):
                if known and one not in known:
                    raise UserError(
                        f"`{each.name}` must be one of {', '.join(map(str, known))}, "
                        f"got {shortened(str(one))}"
                    )


def _check_bounds(name: str, value: object, bounds: Rules) -> None:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return
    low, high = bounds.at_least, bounds.at_most
    if (low is None or value >= low) and (high is None or value <= high):  # not true of NaN
        return
    if low is not None and high is not None:
        rule = f"from {low:,} to {high:,}"
    else:
        rule = f"at least {low:,}" if low is not None else f"at most {high:,}"
    raise UserError(f"`{name}` must be {rule}, got {value}")


def literal(annotation: object) -> tuple[Any, ...]:
    """The values of a `Literal`, also inside `| None` or a sequence; empty where there is none."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((inner for part in get_args(annotation) if (inner := literal(part))), ())


def _choices(annotation: object, bounds: Rules) -> tuple[Any, ...]:
    return bounds.choices() if bounds.choices is not None else literal(annotation)
