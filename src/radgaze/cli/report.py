"""`radgaze report RUN`: make the report anew from what is in the run folder."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import NonNegativeInt, Parser

HELP = "Make RUN/report.html and RUN/figures anew from an evaluated run."
EXAMPLE = "radgaze report runs/set3_guided --each 5"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of a run that `radgaze evaluate` has seen")
    parser.add_argument(
        "--each", type=NonNegativeInt, default=3, help="correct and wrong cases shown per class (default 3)"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.reporting.run_page import report
    from radgaze.runs.run import Run

    put(report(Run.open(Path(args.path)), each=args.each))
    return 0
