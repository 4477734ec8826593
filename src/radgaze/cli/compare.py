"""`radgaze compare RUN_A RUN_B [...]`: runs on the same test cases, side by side."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from radgaze.cli.folders import check_run
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.evaluation.comparison_options import CompareOptions

if TYPE_CHECKING:
    from pathlib import Path

    from radgaze.runs.run import Run

HELP = "Compare runs with the first one: table, paired differences with p-values, figures."
EXAMPLE = "radgaze compare runs/baseline runs/set3_guided --out comparison"


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", help="folders of evaluated runs; the first is the reference"
    )
    parser.add_argument(
        "--out", required=True, help="folder for compare.md, compare.csv, paired.csv and index.html"
    )
    add_options(parser, CompareOptions)


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import say
    from radgaze.outputs import check_folder

    options = chosen(CompareOptions, args)
    check_folder(args.out)
    for path in args.runs:
        check_run(path)
    from radgaze.runs.run import Run

    runs = [Run.open(Path(path)) for path in args.runs]
    for each in runs:
        note = each.compared()
        if note is not None:
            say(f"{each.path}: {note}")
    compare_and_report(runs, Path(args.out), options)
    return 0


def compare_and_report(runs: Sequence[Run], out: Path, options: CompareOptions | None = None) -> Path:
    """Compare runs, print the tables, write the files and the page; return the page's path."""
    from radgaze.console import put
    from radgaze.evaluation import compare
    from radgaze.reporting.comparison_page import comparison, findings
    from radgaze.reporting.comparison_tables import comparison_markdown, write_markdown

    compared = compare(runs, options)
    tables = compared.write(out)
    markdown = write_markdown(compared, out)
    page = comparison(runs, out, compared)
    put(comparison_markdown(compared), lines=True)
    for sentence in findings(compared):
        put(sentence)
    for path in (markdown, *tables, page):
        put(path)
    return page
