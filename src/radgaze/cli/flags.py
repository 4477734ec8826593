"""Spelling of settings and calls in messages: Python's in the library, flags on the command line.

`` `resamples` `` becomes --resamples, `` `overwrite=True` `` --overwrite, `` `input.size=224` ``
--input.size 224, and `` `train(resume='runs/a')` `` radgaze train --resume runs/a.
"""

from __future__ import annotations

import ast
import re
import shlex
from argparse import Action, BooleanOptionalAction
from collections.abc import Callable, Mapping

from radgaze.cli.parser import Parser

QUOTED = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(r"([A-Za-z_][\w.]*)(?:=(.*))?", re.DOTALL)


def spelled(text: str, settings: Mapping[str, Action], parser_of: Callable[[str], Parser | None]) -> str:
    """A message with the flags of the command line.

    Args:
        text: The message. Text in backquotes that is neither a setting nor a call stays as it is.
        settings: The argument of each setting of the verb that is running.
        parser_of: Gives a verb's parser, or None where there is no such verb.
    """

    def replaced(match: re.Match[str]) -> str:
        setting = SETTING.fullmatch(match[1])
        action = None if setting is None else _action(setting[1], settings)
        if setting is not None and action is not None:
            return _argument(action, None if setting[2] is None else _read(setting[2]))
        return _command(match[1], parser_of) or match[0]

    return QUOTED.sub(replaced, text)


def settings_of(*parsers: Parser) -> dict[str, Action]:
    """The argument of each setting that the parsers know."""
    actions = (action for parser in parsers for action in parser._actions)
    return {action.dest: action for action in actions if action.dest != "help"}


def _action(name: str, settings: Mapping[str, Action]) -> Action | None:
    """The argument of a setting, also of one inside a setting that is made of names and values."""
    if name in settings:
        return settings[name]
    parts = name.split(".")
    inside = any(".".join(parts[:count]) in settings for count in range(2, len(parts)))
    return Action([f"--{name}"], name) if inside else None


def _argument(action: Action, value: object) -> str:
    """A setting as an argument; without its value where that is None or True."""
    name = next(
        (one for one in action.option_strings if one.startswith("--")),
        "".join(action.option_strings) or str(action.metavar or action.dest),
    )
    if value is None or value is True:
        return name
    if value is False:
        return action.option_strings[-1] if isinstance(action, BooleanOptionalAction) else f"no {name}"
    words = _words(value)
    if not action.option_strings:
        return " ".join(words)
    if type(action).__name__ == "_AppendAction":
        return " ".join(f"{name} {word}" for word in words)
    return f"{name} {(' ' if action.nargs is not None else ',').join(words)}"


def _words(value: object) -> list[str]:
    return [shlex.quote(str(one)) for one in (value if isinstance(value, (list, tuple)) else (value,))]


def _command(text: str, parser_of: Callable[[str], Parser | None]) -> str | None:
    """A call, `verb(argument, option=value)`, as a command; None where it is no call of a verb."""
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        return None
    parser = parser_of(call.func.id)
    if parser is None:
        return None
    words = ["radgaze", call.func.id]
    for argument in call.args:
        words += _words(_read(ast.unparse(argument)))
        # A source of `prepare` has settings of its own.
        parser = parser_of(f"{call.func.id} {words[-1]}") or parser
    settings = settings_of(parser)
    for keyword in call.keywords:
        name, value = keyword.arg or "", _read(ast.unparse(keyword.value))
        flag = "--" + name.replace("_", "-")
        action = settings.get(name, Action([flag], name))
        words.append(_argument(action, value))
    return " ".join(words)


def _read(text: str) -> object:
    """A string, list or truth value of Python; other text as it is, such as a number or a placeholder."""
    if not text.startswith(("'", '"', "[", "(")) and text not in ("True", "False", "None"):
        return text
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value
