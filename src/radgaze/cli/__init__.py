"""The command line: one thin file per verb, each imported only when it is asked for."""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib import import_module
from inspect import signature

from jsonargparse import Namespace

from radgaze import __version__
from radgaze.cli.parser import Parser
from radgaze.errors import UserError, shortened

OF_THE_DISK = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    errno.ESTALE,
)
OF_THE_PATH = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
"""What stands in the way of any verb and is no defect of ours: rights, room, and a path that cannot be."""

VERBS = {
    "demo": "the whole way on made data: phantom, prepare, train, evaluate, compare",
    "phantom": "make a data set that looks like egd-cxr and MIMIC-CXR",
    "prepare": "turn a raw data set into a store",
    "verify": "check that a store is as it was written",
    "inspect": "show what is in a store, in words and pictures",
    "train": "train a classifier on a store, guided by gaze as the experiment says",
    "tune": "search an experiment's settings by validation AUC",
    "evaluate": "measure a run's discrimination and its agreement with gaze",
    "audit": "measure how good a run's maps are, method by method",
    "compare": "compare runs, with intervals and paired tests",
    "reproduce": "run the paper's whole matrix of experiments and write its tables",
    "explain": "make the maps of images by every method, as arrays and pictures",
    "report": "write a run's report anew",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; return its exit code: 0 done, 1 some runs failed, 2 a mistake of the user, 130 Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    name = "radgaze"
    try:
        args = build_parser(arguments).parse_args(arguments)
        if args.command is None:
            build_parser(arguments).print_help()
            return 2
        name = f"radgaze {args.command}"
        verb = import_module(f"radgaze.cli.{args.command}")
        with _flags(arguments, args):
            try:
                return int(verb.run(args[args.command]))
            except UserError as error:
                _complain(f"{name}: {error}")
                return 2
            except KeyboardInterrupt as stop:
                return _stopped(name, stop)
    except UserError as error:
        _complain(f"{name}: {error}")
        return 2
    except OSError as error:
        if error.errno not in OF_THE_DISK + OF_THE_PATH:
            raise
        words = (name, shortened(str(error.filename or "")), str(error.strerror))
        _complain(": ".join(part for part in words if part))
        return 2
    except KeyboardInterrupt as stop:
        return _stopped(name, stop)


def _stopped(name: str, stop: KeyboardInterrupt) -> int:
    _complain(": ".join(part for part in (name, "stopped", str(stop)) if part))
    return 130


def _flags(arguments: Sequence[str], args: Namespace) -> AbstractContextManager[None]:
    """Have messages name settings by the flags of the verb, and of its source, that is running."""
    from radgaze.cli.flags import flags_of, spelled
    from radgaze.console import spelling

    def parser_of(verb: str) -> Parser | None:
        return build_parser([verb]).parser_of(verb) if verb in VERBS else None

    @cache
    def flags() -> dict[str, str]:
        parser = build_parser(arguments).parser_of(args.command)
        source = None if parser is None else parser.parser_of(getattr(args[args.command], "source", ""))
        return flags_of(*(one for one in (parser, source) if one is not None))

    return spelling(lambda text: spelled(text, flags(), parser_of) if "`" in text else text)


def _complain(message: str) -> None:
    from radgaze.console import complain  # not before it is needed: help comes at once

    complain(message)


def build_parser(arguments: Sequence[str]) -> Parser:
    """The parser of `radgaze`.

    Only the verb that `arguments` names is given its options, so that help comes at once.
    """
    parser = Parser(
        prog="radgaze",
        version=__version__,
        description="Train chest-radiograph classifiers that look where the radiologist looked, "
        "and measure whether they did.",
        epilog="Start with `radgaze demo --out DIR`, or with `radgaze VERB --help`.",
    )
    verbs = parser.add_subcommands(dest="command", metavar="VERB", title="verbs", required=False)
    asked = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, about in VERBS.items():
        if name != asked:
            verbs.add_subcommand(name, Parser(description=about), help=about)
            continue
        verb = import_module(f"radgaze.cli.{name}")
        sub = Parser(description=verb.HELP, epilog=f"Example: {verb.EXAMPLE}")
        verbs.add_subcommand(name, sub, help=about)  # before its arguments: a verb may have verbs of its own
        takes_arguments = len(signature(verb.add_arguments).parameters) > 1
        verb.add_arguments(sub, *([arguments] if takes_arguments else []))
    return parser
