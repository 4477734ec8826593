"""`radgaze vote RUN…`: several runs combined to one, by mean or majority."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.evaluation.options import EvaluationOptions
from radgaze.runs.vote import VoteOptions

HELP = (
    "Combine several runs of one store and split, and evaluate and report them as one. The folder is then "
    "used like a run's: by evaluate, report and explain, and beside runs by compare."
)
EXAMPLE = "radgaze vote runs/seed1 runs/seed2 runs/seed3 --out runs/mean"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folders of trained runs")
    add_options(parser, VoteOptions)
    add_options(parser, EvaluationOptions)


def run(args: Namespace) -> int:
    from pathlib import Path

    options, evaluation = chosen(VoteOptions, args), chosen(EvaluationOptions, args)
    for path in args.runs:
        check_run(path)
    from radgaze.cli.evaluate import evaluate_and_report
    from radgaze.runs.run import Run
    from radgaze.runs.voting import make_vote

    evaluate_and_report(make_vote([Run.open(Path(path)) for path in args.runs], options), evaluation)
    return 0
