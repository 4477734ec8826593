"""`radgaze pseudo RUN`: masks made of a run's maps, in a copy of its store."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.pseudo.options import PseudoOptions

HELP = (
    "Write a copy of a run's store in which masks, made of the run's maps, mark the training cases. To "
    "learn from them, train another run with --gaze.boxes attention."
)
EXAMPLE = "radgaze pseudo runs/no_decoder --methods grad_cam_pp --only-positive --out pseudo"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run, or of a vote")
    add_options(parser, PseudoOptions)


def run(args: Namespace) -> int:
    from pathlib import Path

    options = chosen(PseudoOptions, args)
    check_run(args.path)
    from radgaze.cli.prepare import show
    from radgaze.console import put
    from radgaze.pseudo.making import pseudo
    from radgaze.runs.run import Run

    store = pseudo(Run.open(Path(args.path)), options)
    show(store)
    put(store.path)
    return 0
