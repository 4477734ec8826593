"""Arguments of a verb made from the fields of its `Options`."""

from __future__ import annotations

import types
from argparse import Namespace
from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from radgaze.cli.parser import Parser, listed
from radgaze.options import Options, descriptions, literal, rules

Chosen = TypeVar("Chosen", bound=Options)


def add_options(parser: Parser, cls: type[Options], *, without: Collection[str] = ()) -> None:
    """Add an argument for each field: `without_gaze: bool` becomes `--without-gaze`.

    A `Literal` gives the choices, a false `bool` a flag, a sequence several values.

    Args:
        parser: The verb's parser.
        cls: The options.
        without: Fields that get no argument.
    """
    about, hints = descriptions(cls), get_type_hints(cls)
    for each in fields(cls):
        if each.name in without or rules(each).hidden:
            continue
        settings = _settings(each, hints[each.name])
        settings["help"] = _help(about[each.name])
        if rules(each).positional:
            settings.pop("required", None)
            parser.add_argument(each.name, **settings)
        else:
            parser.add_argument(flag(each.name), **settings)


def chosen(cls: type[Chosen], args: Namespace, **others: object) -> Chosen:
    """The options that the command line gives.

    Args:
        cls: The options.
        args: The parsed arguments.
        others: Fields that have no argument.

    Raises:
        UserError: A value is not allowed.
    """
    hints = get_type_hints(cls)
    given = {
        each.name: _value(getattr(args, each.name), hints[each.name], comma=rules(each).comma)
        for each in fields(cls)
        if each.name not in others and hasattr(args, each.name)
    }
    return cls(**given, **others)


def flag(name: str) -> str:
    """The flag of a field."""
    return "--" + name.replace("_", "-")


def _settings(each: Field[Any], annotation: object) -> dict[str, Any]:
    inner, is_several = _unwrapped(annotation)
    settings: dict[str, Any] = {} if each.default is MISSING else {"default": each.default}
    if each.default is MISSING:
        settings["required"] = True
    if inner is bool and each.default is False:
        return {"action": "store_true"}
    if known := literal(annotation):
        settings["choices"] = known
        if not isinstance(known[0], str):
            settings["type"] = type(known[0])
    else:
        settings["type"] = str if inner is Path else inner
    if is_several and rules(each).comma:
        settings["type"] = str
        settings.pop("choices", None)
        if isinstance(each.default, tuple):
            settings["default"] = ",".join(map(str, each.default))
    elif is_several:
        settings["nargs"] = "+"
        if isinstance(each.default, tuple):
            settings["default"] = list(each.default)
    if rules(each).metavar is not None:
        settings["metavar"] = rules(each).metavar
    return settings


def _unwrapped(annotation: object) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several."""
    if get_origin(annotation) in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        several = [part for part in parts if get_origin(part) is tuple]
        return _unwrapped(several[0] if several else parts[0])
    if get_origin(annotation) is tuple:
        return get_args(annotation)[0], True
    return annotation, False


def _value(value: object, annotation: object, *, comma: bool) -> object:
    inner, is_several = _unwrapped(annotation)
    if value is None:
        return None
    if is_several:
        parts = listed(value) if comma and isinstance(value, str) else value
        return tuple(parts) if isinstance(parts, (list, tuple)) else (parts,)
    return Path(str(value)) if inner is Path else value


def _help(about: str) -> str:
    text = about[:1].lower() + about[1:] if about[1:2].islower() else about
    return text.rstrip(".")
