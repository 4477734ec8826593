"""`radgaze card RUN`: the model card of a run."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.exporting.options import CardOptions

HELP = (
    "Write the model card of a run: use, data, training, figures with intervals, controls, reliance, "
    "calibration, "
    "limits and licence, in the form of the Hugging Face hub. It has only what is stored in the run, and "
    "says what "
    "is missing. Nothing is sent."
)
EXAMPLE = "radgaze card runs/set3_guided"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a trained run, or of a vote")
    add_options(parser, CardOptions)
    parser.add_argument("--out", metavar="FILE", default=None, help="file of the card (default RUN/card.md)")


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put

    options = chosen(CardOptions, args)
    check_run(args.path)
    from radgaze.runs.run import Run

    run = Run.open(Path(args.path))
    from radgaze.exporting.card import write_card

    put(write_card(run, None if args.out is None else Path(args.out), options))
    return 0
