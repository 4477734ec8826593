"""`radgaze report RUN`: make the report again from the files of the run's folder."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.reporting.options import ReportOptions

HELP = "Make RUN/report.html and RUN/figures again from an evaluated run."
EXAMPLE = "radgaze report runs/set3_guided --each 5"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("path", metavar="RUN", help="folder of an evaluated run")
    add_options(parser, ReportOptions)


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.reporting.run_page import report
    from radgaze.runs.run import Run

    put(report(Run.open(Path(args.path)), options=chosen(ReportOptions, args)))
    return 0
