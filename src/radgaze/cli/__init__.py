"""The command line: one thin file per verb, each imported only when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from jsonargparse import ArgumentParser

from radgaze import __version__
from radgaze.errors import UserError

VERBS = ("phantom", "prepare", "train", "evaluate", "compare", "report", "demo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code: 0 done, 2 a mistake of the user, 130 stopped with Ctrl-C."""
    parser = build_parser()
    args = parser.parse_args(arguments)
    verb = import_module(f"radgaze.cli.{args.command}")
    try:
        return int(verb.run(args[args.command]))
    except UserError as error:
        print(f"radgaze {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"radgaze {args.command}: stopped", file=sys.stderr)
        return 130


def build_parser() -> ArgumentParser:
    """The parser of `radgaze`, with every verb's arguments and example."""
    parser = ArgumentParser(
        prog="radgaze",
        version=__version__,
        description="Train chest-radiograph classifiers that look where the radiologist looked, and measure whether they did.",
        epilog="Start with `radgaze demo --out DIR`, or with `radgaze VERB --help`.",
    )
    verbs = parser.add_subcommands(dest="command", metavar="VERB", title="verbs")
    for name in VERBS:
        verb = import_module(f"radgaze.cli.{name}")
        sub = ArgumentParser(description=verb.HELP, epilog=f"Example: {verb.EXAMPLE}")
        verb.add_arguments(sub)
        verbs.add_subcommand(name, sub, help=verb.HELP)
    return parser
