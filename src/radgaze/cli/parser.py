"""The parser of every verb: a mistake gives one line, not a page of usage, and help one default for each."""

from __future__ import annotations

import json
import re
import sys
from argparse import SUPPRESS, Action, BooleanOptionalAction
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt, restricted_number_type

from radgaze.errors import UserError, close_to

if TYPE_CHECKING:
    from radgaze.sections import Section

__all__ = ["NonNegativeInt", "Parser", "PositiveInt", "Resamples", "Seed"]

Seed = restricted_number_type("Seed", int, [(">=", 0), ("<", 2**32)], docstring="Random seed, 0 to 2³² − 1.")
Resamples = restricted_number_type(
    "Resamples",
    int,
    [(">", 0), ("<=", 1_000_000)],
    docstring="Number of bootstrap resamples, 1 to 1,000,000.",
)


class HelpFormatter(DefaultHelpFormatter):
    """Help with the description of each argument and its default, where it has one."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog.replace(" [options]", ""))  # type: ignore[no-untyped-call]  # jsonargparse's

    def _get_help_string(self, action: Action) -> str:
        text = (action.help or "").replace(" (default: %(default)s)", "").replace("%%", "%")
        if "(default" in text:  # it says so in its own words
            return text
        if action.option_strings and action.required:
            return f"{text} (required)"
        shown = _shown_default(action)
        return f"{text} (default: {shown})" if shown else text


def _shown_default(action: Action) -> str:
    """The default as the command line takes it; empty where there is none."""
    value, is_flag = action.default, action.nargs == 0
    if value is None or value is SUPPRESS or not (action.option_strings or action.nargs):
        return ""
    if isinstance(action, BooleanOptionalAction):
        return action.option_strings[0] if value else action.option_strings[-1]
    if isinstance(value, bool):
        return "" if is_flag else str(value).lower()
    if isinstance(value, (list, tuple)):
        words = [_text(one) for one in value]
        return " ".join(words) if action.nargs is not None else f"[{','.join(words)}]" * bool(words)
    return _text(value)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


class Parser(ArgumentParser):
    """An argument parser that raises `UserError`, which names the verb's own help.

    Options have no abbreviations: a field's name that happens to begin like another's must never set it.
    """

    def __init__(self, **settings: Any) -> None:  # those of `ArgumentParser`, which makes some itself
        super().__init__(**{"allow_abbrev": False, "formatter_class": HelpFormatter, **settings})
        self._named: dict[str, Mapping[str, object]] = {}
        self._sections: dict[str, type[Section]] = {}

    def add_section(self, section: type[Section], *, skip: Sequence[str] = ()) -> None:
        """Add an argument for each field of a configuration, `cli.named_sections` included.

        Args:
            section: Class of the configuration.
            skip: Names of its fields that get no argument.
        """
        from radgaze.cli import named_sections

        self.add_class_arguments(section, nested_key=None, skip=set(skip))
        self._sections = named_sections.fields_of(section)
        self._named = {field: {} for field in self._sections}
        for field in self._sections:
            shown = self._option_string_actions.get(f"--{field}.help")
            if shown is not None:
                shown.help = f"show the fields of each, --{field}.NAME.FIELD VALUE, and exit"

    def set_section(self, values: Mapping[str, object]) -> None:
        """Set the defaults of a configuration's fields, by their dotted names."""
        self.set_defaults(dict(values))
        named = {field: values.get(field) for field in self._named}
        self._named = {field: value if isinstance(value, Mapping) else {} for field, value in named.items()}

    def parse_args(  # type: ignore[override]  # jsonargparse's differs from argparse's, too
        self, args: Sequence[str] | None = None, *rest: Any, **settings: Any
    ) -> Namespace:
        """Parse arguments; those of named sections are laid over their defaults, field by field."""
        arguments = list(sys.argv[1:] if args is None else args)
        verb = next((word for word in arguments if not word.startswith("-")), "")
        parser = self if self._named else self.parser_of(verb)
        if parser is None or not parser._named:
            return super().parse_args(arguments, *rest, **settings)
        for field in parser._sections:
            if f"--{field}.help" in arguments:
                parser._print_fields(field)
                parser.exit()
        from radgaze.cli import named_sections
        from radgaze.experiments import merge

        arguments, given = named_sections.split(arguments, tuple(parser._named))
        values: dict[str, Mapping[str, object]] = dict(parser._named)
        for field, value in (*named_sections.of_files(arguments, tuple(values)), *given.items()):
            values[field] = merge(values[field], value)
        values = {field: value for field, value in values.items() if value}
        if any(word.startswith("--print_config") for word in arguments):
            arguments += [f"--{field}={json.dumps(value)}" for field, value in values.items()]
        parsed = super().parse_args(arguments, *rest, **settings)
        fields = parsed if parser is self else parsed[verb]
        for field, merged in values.items():
            fields[field] = merged
        return parsed

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what is wrong with the arguments as one line."""
        verb = getattr(ex, "subcommand_parser", None) or self
        message = " ".join(message.split()).rstrip(".")
        missing = re.search(r'arguments are required: (.+)$|expected "(\S+)" to be one of', message)
        if missing:  # jsonargparse's top parser names a verb's argument "verb.argument"
            names = [name.strip().split(".") for name in (missing[1] or missing[2]).split(",")]
            for part in names[0][:-1]:
                verb = verb.parser_of(part) or verb
            for *_, name in names if missing[1] else ():
                message = re.sub(rf"(?<=[ ,])\S+\.{name}(?=,|$)", verb._shown(name), message)
        message = _plain(message, verb) + _meant(message, verb)
        prog = verb.prog.replace(" [options]", "")
        raise UserError(f"{message}; see `{prog} --help`") from ex

    def parser_of(self, name: str) -> Parser | None:
        """The parser of a verb, or of a source of `prepare`."""
        action: Any = self._subcommands_action
        parser = None if action is None else action.choices.get(name)
        return parser if isinstance(parser, Parser) else None

    def _print_fields(self, field: str) -> None:
        """Print the help of the fields of a named section."""
        prog, flag = self.prog.replace(" [options]", ""), f"--{field}.NAME"
        fields = Parser(prog=prog, add_help=False, usage=f"{prog} ... [{flag}.FIELD VALUE ...]")
        fields.add_class_arguments(self._sections[field], nested_key=f"{field}.NAME")
        for action in fields._actions:
            if action.dest == f"{field}.NAME":  # a file of it, which is no value of a named section
                action.help = SUPPRESS
        fields.description = (
            f"Fields of each of --{field}; NAME is a name of your own, or of the experiment's."
        )
        fields.print_help()

    def _shown(self, name: str) -> str:
        """An argument as its help shows it: a flag, or the placeholder of a positional one."""
        for action in self._actions:
            if action.dest == name:
                return action.option_strings[-1] if action.option_strings else str(action.metavar or name)
        return name


def _meant(message: str, verb: Parser) -> str:
    """The end of a message about a word that there is not: the one that was perhaps meant."""
    choice = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)$", message)
    if choice is not None:
        return close_to(choice[1], [name.strip(" '") for name in choice[2].split(",")])
    if message.lower().startswith("unrecognized arguments: "):
        options = [each for each in verb._option_string_actions if each.startswith("--")]
        words = [word.split("=")[0] for word in message.split() if word.startswith("--")]
        return next((meant for word in words if (meant := close_to(word, options))), "")
    return ""


KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
BOUNDS = {
    "v>0": "above 0",
    "v>=0": "0 or more",
    "v>=0 and v<4294967296": "0 to 4294967295",
    "v>0 and v<=1000000": "1 to 1000000",
}


def _plain(message: str, verb: Parser) -> str:
    """A message of jsonargparse about a value, in the words of the command line."""
    fault = re.match(r'Parser key "([\w.]+)": (.*)', message)
    if fault is None:
        return message
    option = f"--{fault[1]}" if "." in fault[1] else verb._shown(fault[1])
    out = re.fullmatch(r"Not of type \w+: (.+) does not conform to restriction (.+)", fault[2])
    if out is not None:
        return f"{option} {out[1]}: it must be {BOUNDS.get(out[2], out[2])}"
    text = re.fullmatch(r"Not of type \w+: invalid literal for int\(\) with base 10: '(.*)'", fault[2])
    if text is not None:
        return f"{option} {text[1]}: a whole number is expected"
    kind = re.fullmatch(r"Expected a <class '(\w+)'>\. Got value: (.*)", fault[2])
    if kind is not None and kind[1] in KINDS:
        return f"{option} {kind[2]}: {KINDS[kind[1]]} is expected"
    return f"{option}: {fault[2]}"


def listed(text: str) -> list[str]:
    """Names separated by commas, without spaces around them, and without empty ones."""
    return [name.strip() for name in text.split(",") if name.strip()]
