"""Arguments of named sections, such as `--objective.terms.NAME.weight 2`.

A field such as `objective.terms` holds sections by name, which a parser cannot know beforehand. Their values
are laid over those of the experiment one by one: a field that was not given keeps its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import yaml

from radgaze.errors import UserError
from radgaze.experiments import merge
from radgaze.files import read_yaml
from radgaze.sections import Section

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)

Values = dict[str, object]
"""Nested values of a field's sections."""


def fields_of(section: type[Section], within: str = "") -> dict[str, type[Section]]:
    """The fields of a configuration that hold sections by name: the class of these by the dotted name."""
    classes: dict[str, type[Section]] = {}
    for name, hint in get_type_hints(section).items():
        if isinstance(hint, type) and issubclass(hint, Section):
            classes |= fields_of(hint, f"{within}{name}.")
        elif get_origin(hint) is dict:
            inner = get_args(hint)[1]
            classes |= (
                {within + name: inner} if isinstance(inner, type) and issubclass(inner, Section) else {}
            )
    return classes


def split(arguments: Sequence[str], fields: Sequence[str]) -> tuple[list[str], dict[str, Values]]:
    """Separate the arguments of named sections from the others.

    Args:
        arguments: Arguments of the command line.
        fields: Dotted names of the fields that hold sections by name.

    Returns:
        The other arguments, and the given values of each field.

    Raises:
        UserError: A value is missing, or is not made of names and values.
    """
    others: list[str] = []
    given: dict[str, Values] = {}
    words = iter(arguments)
    for word in words:
        flag, has_value, text = word.partition("=")
        field = next((each for each in fields if f"{flag}.".startswith(f"--{each}.")), None)
        if field is None:
            others.append(word)
            continue
        value = _read(text if has_value else _next(words, flag))
        for name in reversed(flag.removeprefix(f"--{field}").split(".")[1:]):
            value = {name: value}
        if not isinstance(value, Mapping):
            raise UserError(f"{flag} is not made of names and values, as in {flag}.NAME.FIELD VALUE")
        given[field] = merge(given.get(field, {}), value)
    return others, given


def of_files(arguments: Sequence[str], fields: Sequence[str]) -> Iterator[tuple[str, Values]]:
    """The values of named sections in the files of `--config`, in order; a file that cannot be read has none.

    Args:
        arguments: Arguments of the command line.
        fields: Dotted names of the fields that hold sections by name.
    """
    for position, word in enumerate(arguments):
        flag, has_value, path = word.partition("=")
        if flag != "--config" or not (has_value or position + 1 < len(arguments)):
            continue
        try:
            content: object = read_yaml(Path(path if has_value else arguments[position + 1]))
        except (UserError, OSError):  # the parser reports it
            continue
        for field in fields:
            value = content
            for name in field.split("."):
                value = value.get(name) if isinstance(value, Mapping) else None
            if isinstance(value, Mapping):
                yield field, dict(value)


def _next(words: Iterator[str], flag: str) -> str:
    word = next(words, None)
    if word is None or word.startswith("--"):
        raise UserError(f"{flag} has no value")
    return word


def _read(text: str) -> object:
    """A value of the command line: a number, a truth value, null, a mapping or list in braces, or text."""
    if text[:1] not in ("{", "["):
        if _NUMBER.fullmatch(text):
            return int(text) if text.lstrip("+-").isdecimal() else float(text)
        return {"true": True, "false": False, "null": None}.get(text.lower(), text)
    try:
        value: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{text[:80]!r} cannot be read as YAML") from error
    return value
