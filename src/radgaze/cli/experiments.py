"""`radgaze experiments`: list the experiments, grouped, with one line each."""

from __future__ import annotations

from argparse import Namespace

from radgaze.cli.parser import Parser

HELP = (
    "List the experiments that `radgaze train` knows, grouped by family, with one line each; or print the "
    "settings of one, with the sources of its constants."
)
EXAMPLE = "radgaze experiments set3_guided"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="experiment whose settings file is printed")


def run(args: Namespace) -> int:
    from radgaze import experiments
    from radgaze.console import put

    if args.name is not None:
        put(experiments.source(args.name), lines=True)
        return 0
    catalogue = experiments.catalogue()
    width = max(len(each.name) for each in catalogue)
    for family in dict.fromkeys(each.family for each in catalogue):
        rows = [f"  {each.name:<{width}}  {each.summary}" for each in catalogue if each.family == family]
        put("\n".join([family, *rows, ""]), lines=True)
    put(
        "docs/methods.md and docs/counterfactual.md describe them; `radgaze experiments NAME` prints the "
        "settings of one."
    )
    return 0
