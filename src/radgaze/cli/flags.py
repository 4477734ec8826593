"""Messages of the library name settings and calls as Python does; the command line spells them its own way.

`` `resamples` `` becomes --resamples, `` `overwrite=True` `` --overwrite, `` `input.size=224` ``
--input.size 224, and `` `train(resume='runs/a')` `` radgaze train --resume runs/a.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress

from radgaze.cli.parser import Parser

QUOTED = re.compile(r"`([^`\n]+)`")
SETTING = re.compile(r"([A-Za-z_][\w.]*)(?:=(.*))?", re.DOTALL)


def spelled(text: str, flags: Mapping[str, str], parser_of: Callable[[str], Parser | None]) -> str:
    """A message with the flags of the command line.

    Args:
        text: The message. What stands in backquotes and is neither a setting nor a call stays as it is.
        flags: The flag of each setting of the verb that is running.
        parser_of: Gives a verb's parser, or None where there is no such verb.
    """

    def replaced(match: re.Match[str]) -> str:
        setting = SETTING.fullmatch(match[1])
        if setting is not None and setting[1] in flags:
            return _argument(flags[setting[1]], setting[2])
        return _command(match[1], parser_of) or match[0]

    return QUOTED.sub(replaced, text)


def flags_of(*parsers: Parser) -> dict[str, str]:
    """The flag, or the placeholder of a positional argument, of each setting that the parsers know."""
    actions = [action for parser in parsers for action in parser._actions if action.dest != "help"]
    return {
        each.dest: each.option_strings[-1] if each.option_strings else str(each.metavar or each.dest)
        for each in actions
    }


def _argument(flag: str, value: str | None) -> str:
    if value is None or value == "True":
        return flag
    with suppress(ValueError, SyntaxError):  # a placeholder, such as PATH
        value = str(ast.literal_eval(value))
    return f"{flag} {shlex.quote(value) if value else value}"


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
    flags = flags_of(parser)
    words = ["radgaze", call.func.id, *(_word(argument) for argument in call.args)]
    for keyword in call.keywords:
        name = keyword.arg or ""
        words.append(_argument(flags.get(name, "--" + name.replace("_", "-")), ast.unparse(keyword.value)))
    return " ".join(words)


def _word(argument: ast.expr) -> str:
    return shlex.quote(str(argument.value)) if isinstance(argument, ast.Constant) else ast.unparse(argument)
