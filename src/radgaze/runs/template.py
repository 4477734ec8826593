"""A configuration as a file to edit: every setting with its value, below its description as a comment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from textwrap import wrap
from typing import get_type_hints

import yaml

from radgaze.options import descriptions, literal
from radgaze.records import plain
from radgaze.runs.config import Config
from radgaze.sections import Section

WIDTH = 100
"""Columns of a line of comment."""

NOT_SET = ("data", "plugins")
"""Fields that stand as comments: they are given for each run, or found by the training."""


def template(config: Config, head: str) -> str:
    """Write a configuration as YAML with comments.

    Args:
        config: The configuration.
        head: Text of the comment at the beginning.
    """
    return "\n".join([*_comment(head, ""), "", *_lines(config, "")]) + "\n"


def _lines(section: Section, indent: str) -> Iterator[str]:
    texts, hints = descriptions(type(section)), get_type_hints(type(section))
    for each in fields(section):
        value = getattr(section, each.name)
        yield from _comment(_description(texts.get(each.name, ""), hints[each.name]), indent)
        if isinstance(value, Section):
            yield f"{indent}{each.name}:"
            yield from _lines(value, indent + "  ")
        elif isinstance(value, Mapping) and any(isinstance(inner, Section) for inner in value.values()):
            yield f"{indent}{each.name}:"
            for name, inner in value.items():
                yield f"{indent}  {name}:"
                yield from _lines(inner, indent + "    ")
        else:
            mark = "# " if not indent and each.name in NOT_SET else ""
            yield f"{indent}{mark}{each.name}: {_value(value)}"
        if not indent:
            yield ""


def _description(text: str, annotation: object) -> str:
    """The description of a field, with its choices where it does not name them itself."""
    choices = [_value(choice) for choice in literal(annotation)]
    if all(choice in text for choice in choices):
        return text
    return f"{text} One of {', '.join(choices)}."


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in wrap(text, WIDTH - len(indent) - 2, break_on_hyphens=False)]


def _value(value: object) -> str:
    text: str = yaml.safe_dump(plain(value), default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
