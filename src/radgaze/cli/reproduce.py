"""`radgaze reproduce`: all experiments of the paper for several seeds, with tables and figures."""

from __future__ import annotations

from argparse import SUPPRESS
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from radgaze import experiments
from radgaze.cli.factory import allow_given
from radgaze.cli.folders import check_store
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.devices import HELP as HELP_OF_DEVICE
from radgaze.devices import given_by_device
from radgaze.reproduction.options import ReproduceOptions
from radgaze.sections import leaves

if TYPE_CHECKING:
    from radgaze.reproduction.state import State

HELP = (
    "Run every experiment with every seed, then write tables, figures and a page with all of them. "
    "An interrupted grid can be resumed, and a failed run does not stop the others."
)
EXAMPLE = "radgaze reproduce --data STORE --out DIR --protocol honest --seeds 3"

SET_BY_GRID = ("experiment", "protocol", "data", "seed", "selection", "plugins")
"""Fields of the configuration that the grid sets."""


def add_arguments(parser: Parser) -> None:
    from radgaze.runs.config import Config

    parser.add_argument("--data", metavar="STORE", help="the prepared store; --stores names several")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for runs, tables and figures")
    add_options(parser, ReproduceOptions)
    parser.add_argument("--device", metavar="DEVICE", default="auto", help=HELP_OF_DEVICE)
    parser.add_section(Config, skip=SET_BY_GRID)
    # Only the given fields of the configuration count: each experiment sets the others.
    fields = [key for key in leaves(Config, asdict(Config())) if key not in SET_BY_GRID]
    parser.set_section(dict.fromkeys(fields, SUPPRESS))
    parser.usage = (
        "radgaze reproduce (--data STORE | --matrix reasons --stores NAME=STORE ...) --out DIR "
        "[--option ...] [--FIELD VALUE ...]"
    )
    parser.description = (
        f"{HELP} Experiments: {', '.join(experiments.names())}. "
        "Any field of a run's config.yaml can be given; it replaces the field of every experiment."
    )


def run(args: Namespace) -> int:
    from radgaze.outputs import check_folder
    from radgaze.runs.config import Config

    options = chosen(ReproduceOptions, args)
    check_folder(args.out)
    if args.data is not None:
        check_store(args.data)
    from radgaze.reproduction.grid import reproduce
    from radgaze.reproduction.planning import plan

    given, fields = args.as_dict(), asdict(Config()).keys() - SET_BY_GRID
    overrides = {key: given[key] for key in fields if key in given}
    allow_given(overrides)
    overrides = experiments.merge(overrides, given_by_device(args.device))
    planned = plan(args.data, options, overrides=overrides)
    grid, page = reproduce(planned, Path(args.out), options)
    _show(grid)
    if page is not None:
        show_tables(page, options.matrix)
    return 1 if grid.failed else 0


def show_tables(page: Path, matrix: str) -> None:
    """Print the tables beside a grid's page that its runs allow, and the page's path."""
    from radgaze.console import put

    for name in ("reasons",) if matrix == "reasons" else ("controls", "power"):
        table = page.parent / "tables" / f"{name}.md"
        if table.is_file():
            put(table.read_text(encoding="utf-8"), lines=True)
    put(page)


def _show(grid: State) -> None:
    """Print how many runs of each experiment are done and failed, then why they failed."""
    from rich.table import Table

    from radgaze.console import put, results
    from radgaze.reproduction.state import log_file

    table = Table(title=f"{len(grid.done)} of {len(grid.plan.jobs)} runs done")
    for name in ("experiment", "done", "failed"):
        table.add_column(name, justify="left" if name == "experiment" else "right")
    for row in dict.fromkeys(job.row for job in grid.plan.jobs):
        names = [job.name for job in grid.plan.jobs if job.row == row]
        table.add_row(row, *(str(sum(n in kind for n in names)) for kind in (grid.done, grid.failed)))
    results().print(table)
    for job in grid.plan.jobs:
        if job.name in grid.failed:
            put(f"{job} failed: {grid.failed[job.name]}; see {log_file(grid.out, job)}")
