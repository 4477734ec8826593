"""The command line: one thin file for each verb, imported only when it is requested."""

from __future__ import annotations

import errno
import os
import select
import sys
from argparse import Action
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib import import_module
from inspect import signature
from io import TextIOWrapper

from radgaze import plugins
from radgaze.cli.factory import TRUST
from radgaze.cli.flags import settings_of, spelled
from radgaze.cli.parser import Parser
from radgaze.errors import UserError, shortened
from radgaze.models.factories import trusting
from radgaze.version import __version__

DISK_ERRORS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    errno.ESTALE,
)
PATH_ERRORS = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
"""Errors of the environment that any verb may meet: permissions, disk space, an impossible path."""

VERBS = {
    "demo": "run every step on simulated data: phantom, prepare, train, evaluate, compare",
    "phantom": "simulate a data set in the layout of egd-cxr and MIMIC-CXR",
    "prepare": "turn a raw data set into a store",
    "verify": "check a store against its hashes",
    "inspect": "show the content of a store, in words and pictures",
    "experiments": "list the experiments, or print the settings of one",
    "init": "write an experiment's settings as a file to edit, with a comment for each",
    "methods": "list the methods of making heatmaps",
    "encoders": "list the encoders of a U-Net, and their initial weights",
    "train": "train a classifier on a store, guided by gaze as the experiment defines",
    "tune": "search an experiment's settings by validation AUC",
    "evaluate": "measure a run's discrimination and its agreement with gaze",
    "audit": "measure the quality of a run's maps, for several methods",
    "compare": "compare runs, with intervals and paired tests",
    "reproduce": "run the paper's whole matrix of experiments and write its tables",
    "vote": "combine several runs by their mean or majority, evaluated and reported as one",
    "pseudo": "write masks made of a run's maps into a copy of its store",
    "paste": "paste markers into the images of a store, and make twins of its test images",
    "predict": "predict images, with probabilities and which cases to refer, as a table",
    "explain": "compute the maps of images by several methods, as arrays and pictures",
    "export": "write a run as ONNX, TorchScript, a bundle of MONAI or a folder of the Hugging Face hub",
    "card": "write a run's model card",
    "view": "open a page on which a radiologist looks at images, predictions and maps",
    "study": "write the design of a reader study, and measure what its readers did",
    "worker": "predict the radiographs of a PACS or folder, and store the results as DICOM, once",
    "report": "write a run's report again",
    "completion": "print the script by which a shell completes verbs and options",
    "info": "list versions, devices and extras, for a bug report",
}


OF_RUNS = {
    *("evaluate", "audit", "compare", "reproduce", "vote", "pseudo", "report"),
    *("predict", "explain", "view", "worker", "export", "card"),
}
"""Verbs that read runs, whose networks may be made by code that a run names. `train` adds --trust itself."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0 done, 1 some runs failed, 2 a mistake of the user, 130 Ctrl-C, 141 nobody reads the
        output any more, as in `radgaze init set3_guided | head`.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every locale has the signs ∂ and −
    from radgaze.console import messages

    name = "radgaze"
    with messages(), _flags(arguments):
        try:
            arguments = _with_plugins(arguments)
            args = build_parser(arguments).parse_args(arguments)
            if args.command is None:
                build_parser(arguments).print_help()
                return 2
            name = f"radgaze {args.command}"
            verb = import_module(f"radgaze.cli.{args.command}")
            given = args[args.command]
            with trusting() if given.get("trust") else nullcontext():
                return int(verb.run(given))
        except UserError as error:
            _complain(f"{name}: {error}")
            return 2
        except OSError as error:
            if isinstance(error, BrokenPipeError) and _is_output_closed():
                return 141
            if error.errno not in DISK_ERRORS + PATH_ERRORS:
                raise
            parts = (name, shortened(str(error.filename or "")), str(error.strerror))
            _complain(": ".join(part for part in parts if part))
            return 2
        except KeyboardInterrupt as stop:
            _complain(": ".join(part for part in (name, "stopped", str(stop)) if part))
            return 130
        finally:
            _is_output_closed()  # else the interpreter complains when it flushes what is left


def _is_output_closed() -> bool:
    """Whether nobody reads standard output any more; what is left of it is then dropped."""
    try:
        sys.stdout.flush()
        ready = select.poll()
        ready.register(sys.stdout.fileno(), select.POLLOUT)
        closed = any(event & select.POLLERR for _, event in ready.poll(0))
    except BrokenPipeError:
        closed = True
    except (AttributeError, OSError, ValueError):  # no polling on Windows, no descriptor in a notebook
        return False
    if closed:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return closed


def _with_plugins(arguments: Sequence[str]) -> list[str]:
    """Import the plugins that arguments name, and those of installed packages; return the other arguments.

    They are imported before the verb, since they may add to what it offers.
    """
    rest, named = list[str](), list[str]()
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--plugin":
            named.append(next(words, ""))
        elif word.startswith("--plugin="):
            named.append(word.removeprefix("--plugin="))
        else:
            rest.append(word)
    for plugin in named:
        if not plugin or plugin.startswith("-"):
            raise UserError("--plugin needs the name of a module, or the path of a file that ends with .py")
        plugins.load(plugin)
    plugins.ready()
    return rest


def _flags(arguments: Sequence[str]) -> AbstractContextManager[None]:
    """Have messages name settings by the flags of the verb, and of its source, that is running."""
    from radgaze.console import spelling

    @cache
    def parser_of(command: str) -> Parser | None:
        verb, _, source = command.partition(" ")
        if verb not in VERBS:
            return None
        parser = build_parser([verb, source]).parser_of(verb)
        return parser.parser_of(source) if parser is not None and source else parser

    @cache
    def settings() -> dict[str, Action]:
        verb, *others = [argument for argument in arguments if not argument.startswith("-")] or [""]
        parser = parser_of(verb)
        if parser is None:
            return {}
        sources = (parser_of(f"{verb} {other}") for other in others if parser.parser_of(other))
        known = settings_of(parser, *(source for source in sources if source is not None))
        return {**known, "plugin": Action(["--plugin"], "plugin")}

    def with_flags(text: str) -> str:
        return spelled(text, settings(), parser_of) if "`" in text else text

    return spelling(with_flags)


def _complain(message: str) -> None:
    from radgaze.console import complain  # imported here, so that help is quick

    complain(message)


def build_parser(arguments: Sequence[str]) -> Parser:
    """The parser of `radgaze`.

    Only the verb that `arguments` names gets its options, so that help is quick.
    """
    parser = Parser(
        prog="radgaze",
        version=__version__,
        description="Train chest-radiograph classifiers that look where the radiologist looked, "
        "and measure whether they did.",
        epilog="Any verb takes --plugin MODULE, a module that adds to radgaze (docs/plugins.md). "
        "Start with `radgaze demo --out DIR`, or with `radgaze VERB --help`.",
    )
    verbs = parser.add_subcommands(dest="command", metavar="VERB", title="verbs", required=False)
    requested = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, about in VERBS.items():
        if name != requested:
            verbs.add_subcommand(name, Parser(description=about), help=about)
            continue
        verb = import_module(f"radgaze.cli.{name}")
        sub = Parser(description=verb.HELP, epilog=f"Example: {verb.EXAMPLE}")
        verbs.add_subcommand(name, sub, help=about)  # before its arguments: a verb may have verbs of its own
        takes_arguments = len(signature(verb.add_arguments).parameters) > 1
        verb.add_arguments(sub, *([arguments] if takes_arguments else []))
        if name in OF_RUNS:
            sub.add_argument("--trust", action="store_true", help=TRUST)
    return parser
