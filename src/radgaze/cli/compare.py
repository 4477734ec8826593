"""`radgaze compare RUN_A RUN_B [...]`: runs on the same test cases, side by side."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from radgaze.cli.parser import Parser, Resamples

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
    parser.add_argument(
        "--resamples", type=Resamples, default=2000, help="resamples of the bootstrap (default 2000)"
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import say
    from radgaze.outputs import check_folder
    from radgaze.runs.run import Run

    check_folder(args.out)
    runs = [Run.open(Path(path)) for path in args.runs]
    for each in runs:
        note = each.compared()
        if note is not None:
            say(f"{each.path}: {note}")
    compare_and_report(runs, Path(args.out), resamples=args.resamples)
    return 0


def compare_and_report(runs: Sequence[Run], out: Path, **options: Any) -> Path:
    """Compare runs, print the tables, write and return the page; options as of `compare`."""
    from radgaze.console import put
    from radgaze.evaluation import compare
    from radgaze.reporting.comparison import comparison, findings

    compared = compare(runs, out, **options)
    page = comparison(runs, out, compared)
    put(compared.markdown(), lines=True)
    for sentence in findings(compared):
        put(sentence)
    for path in (out / "compare.md", out / "compare.csv", out / "paired.csv", page):
        put(path)
    return page
