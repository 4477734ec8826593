"""Arguments of a verb made from the fields of its `Options`."""

from __future__ import annotations

import re
import types
from argparse import Action, BooleanOptionalAction, Namespace
from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Union, get_args, get_origin, get_type_hints

from radgaze.cli.parser import Parser, listed
from radgaze.errors import UserError, shortened
from radgaze.options import Options, descriptions, is_sequence, literal, rules_of

Chosen = TypeVar("Chosen", bound=Options)


class Settings(TypedDict, total=False):
    """Arguments of `add_argument`."""

    action: str | type[Action]
    choices: tuple[object, ...]
    default: object
    help: str
    metavar: str
    nargs: str
    required: bool
    type: type


def add_options(parser: Parser, cls: type[Options], *, without: Collection[str] = ()) -> None:
    """Add an argument for each field: `without_gaze: bool = False` becomes `--without-gaze`.

    A `Literal` gives the choices and a sequence several values. A `bool` is a flag; where it is true or None
    by default there is `--no-without-gaze` too.

    Args:
        parser: The verb's parser.
        cls: The options.
        without: Fields that get no argument.
    """
    texts, hints = descriptions(cls), get_type_hints(cls)
    # As in the class's call: fields that are given by name only, as of a shared base, come last.
    for each in sorted(fields(cls), key=lambda each: bool(each.kw_only)):
        rules = rules_of(each)
        if each.name in without or rules.hidden:
            continue
        if each.name not in texts:
            raise TypeError(f"{cls.__name__}.{each.name} has no description in the docstring of its class")
        settings = _settings(each, hints[each.name])
        settings["help"] = _help(texts[each.name], cls)
        if rules.positional and not settings.pop("required", False) and "nargs" not in settings:
            settings["nargs"] = "?"
        parser.add_argument(each.name if rules.positional else flag(each.name), **settings)


def chosen(cls: type[Chosen], args: Namespace, **others: object) -> Chosen:
    """The options that the command line gives.

    Args:
        cls: The options.
        args: The parsed arguments.
        others: Values of fields that are not taken from the arguments.

    Raises:
        UserError: A value is not allowed.
    """
    hints = get_type_hints(cls)
    given = {
        each.name: _value(each, getattr(args, each.name), hints[each.name])
        for each in fields(cls)
        if each.name not in others and hasattr(args, each.name)
    }
    return cls(**given, **others)


def flag(name: str) -> str:
    """The flag of a field."""
    return "--" + name.replace("_", "-")


def _settings(each: Field[Any], annotation: object) -> Settings:
    rules, inner, is_several = rules_of(each), _value_type(annotation), is_sequence(annotation)
    settings: Settings = {"required": True} if each.default is MISSING else {"default": each.default}
    if inner is bool:
        action: str | type[Action] = "store_true" if each.default is False else BooleanOptionalAction
        return {**settings, "action": action}
    choices = literal(annotation)
    if rules.choices is not None and rules.show_choices:
        choices = rules.choices()
    if is_several and rules.comma:
        choices, inner = (), str
        if isinstance(each.default, tuple):
            settings["default"] = ",".join(map(str, each.default))
    elif is_several:
        settings |= {"action": "append"} if rules.repeated else {"nargs": "+"}
        if isinstance(each.default, tuple):
            settings["default"] = list(each.default)
    if choices:
        settings["choices"] = choices
    if inner not in (Path, str) or "action" not in settings:  # earlier jsonargparse takes an action alone
        settings["type"] = str if inner is Path else inner
    if rules.metavar is not None:
        settings["metavar"] = rules.metavar
    return settings


def _value_type(annotation: object) -> type:
    """The type of one value."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        return _value_type(next(filter(is_sequence, parts), parts[0]))
    if is_sequence(annotation):
        return _value_type(get_args(annotation)[0])
    if choices := literal(annotation):
        return type(choices[0])
    return annotation if isinstance(annotation, type) else str


def _value(each: Field[Any], value: object, annotation: object) -> object:
    """A value of the command line as its field has it."""
    inner = _value_type(annotation)
    if value is None:
        return None
    if not is_sequence(annotation):
        return Path(str(value)) if inner is Path else value
    parts = listed(value) if isinstance(value, str) else value
    several = parts if isinstance(parts, (list, tuple)) else [parts]
    return tuple(_read(each, inner, one) if isinstance(one, str) else one for one in several)


def _read(each: Field[Any], kind: type, text: object) -> object:
    """One of several values that stood in one argument."""
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(
            f"`{each.name}` must be {NUMBERS.get(kind, kind.__name__)} separated by commas, "
            f"got {shortened(str(text))}"
        ) from error


NUMBERS: dict[type, str] = {int: "whole numbers", float: "numbers"}


def _help(text: str, cls: type[Options]) -> str:
    """A description as help: with flags, a small first letter (unless a name's) and no full stop."""
    flags = {each.name: flag(each.name) for each in fields(cls) if not rules_of(each).positional}
    text = re.sub(r"`(\w+)`", lambda match: flags.get(match[1], match[0]), text)
    if re.match(r"[A-Z][a-z]*\b", text):
        text = text[:1].lower() + text[1:]
    return text.removesuffix(".")
