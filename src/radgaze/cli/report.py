"""`radgaze report RUN`: make the report again from the files of the run's folder."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
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

    options = chosen(ReportOptions, args)
    check_run(args.path)
    from radgaze.evaluation.results import read_results
    from radgaze.runs.run import Run

    run = Run.open(Path(args.path))
    results = read_results(run.path)
    from radgaze.reporting.run_page import report  # imports torch: a run without results is told before

    put(report(run, results, options))
    return 0
