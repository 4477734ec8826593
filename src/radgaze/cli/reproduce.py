"""`radgaze reproduce`: the paper's whole matrix of experiments, to its tables and figures."""

from __future__ import annotations

from argparse import SUPPRESS
from dataclasses import asdict
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from radgaze import experiments
from radgaze.cli.parser import Parser, PositiveInt, Seed

if TYPE_CHECKING:
    from radgaze.reproduction.state import State

HELP = (
    "Run every experiment with every seed, then write tables, figures and a page that holds them all. "
    "A killed grid goes on where it was, and a run that fails stops no other."
)
EXAMPLE = "radgaze reproduce --data STORE --out DIR --protocol honest --seeds 3"

OWN = ("experiment", "protocol", "data", "seed", "selection")
"""Fields of the configuration that are the grid's to set."""


def add_arguments(parser: Parser) -> None:
    from radgaze.runs.config import Config

    parser.add_argument("--data", required=True, metavar="STORE", help="the prepared store")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for runs, tables and figures")
    parser.add_argument(
        "--protocol",
        choices=("faithful", "honest"),
        default="honest",
        help="the paper's, with its published split, or ours, with a split drawn for each seed",
    )
    parser.add_argument(
        "--seeds", type=PositiveInt, metavar="N", help="how many; by default 1 if faithful and 3 if honest"
    )
    parser.add_argument("--seed", type=Seed, default=42, help="the first of the seeds (default 42)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="experiments to run; by default all")
    parser.add_argument(
        "--select",
        choices=("validation", "test"),
        default="validation",
        help="split whose AUC chooses the checkpoint; test is what the original code did, and taints figures",
    )
    parser.add_argument(
        "--cross-validate",
        type=PositiveInt,
        metavar="FOLDS",
        help="cross-validate, as often as there are seeds",
    )
    parser.add_argument(
        "--engine", choices=("local", "ray"), default="local", help="run here, or on a Ray cluster"
    )
    parser.add_argument("--ray-address", metavar="A", help="of the cluster; without it one is made here")
    parser.add_argument(
        "--jobs",
        type=PositiveInt,
        metavar="N",
        help="runs side by side; by default one for each GPU, or one where there is none",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the grid that is in --out")
    parser.add_class_arguments(Config, nested_key=None, skip=set(OWN))
    # Of the configuration only what is given counts: the rest is each experiment's own.
    parser.set_defaults({key: SUPPRESS for key in experiments.flat(asdict(Config())) if key not in OWN})
    parser.usage = "radgaze reproduce --data STORE --out DIR [--option ...] [--FIELD VALUE ...]"
    parser.description = (
        f"{HELP} Experiments: {', '.join(experiments.names())}. "
        "Any field of a run's config.yaml can be given, and is laid over every experiment."
    )


def run(args: Namespace) -> int:
    from pathlib import Path

    from radgaze.console import put
    from radgaze.outputs import check_folder
    from radgaze.reproduction.grid import reproduce
    from radgaze.reproduction.plan import plan
    from radgaze.runs.config import Config

    check_folder(args.out)
    given, fields = args.as_dict(), asdict(Config()).keys() - OWN
    wanted = plan(
        args.data,
        protocol=args.protocol,
        seeds=args.seeds,
        first_seed=args.seed,
        only=args.only,
        selection=args.select,
        folds=args.cross_validate,
        overrides={key: given[key] for key in fields if key in given},
    )
    grid, page = reproduce(
        wanted,
        Path(args.out),
        engine=args.engine,
        side_by_side=args.jobs,
        ray_address=args.ray_address,
        resume=args.resume,
    )
    _show(grid)
    if page is not None:
        put((page.parent / "tables" / "power.md").read_text(encoding="utf-8"), lines=True)
        put(page)
    return 1 if grid.failed else 0


def _show(grid: State) -> None:
    """What is done and what is not, as a short table on standard output; then why."""
    from rich.table import Table

    from radgaze.console import put, results
    from radgaze.reproduction.state import log_file

    table = Table(title=f"{len(grid.done)} of {len(grid.plan.jobs)} runs done")
    for name in ("experiment", "done", "failed"):
        table.add_column(name, justify="left" if name == "experiment" else "right")
    for experiment in dict.fromkeys(job.experiment for job in grid.plan.jobs):
        names = [job.name for job in grid.plan.jobs if job.experiment == experiment]
        table.add_row(experiment, *(str(sum(n in kind for n in names)) for kind in (grid.done, grid.failed)))
    results().print(table)
    for job in grid.plan.jobs:
        if job.name in grid.failed:
            put(f"{job} failed: {grid.failed[job.name]}; see {log_file(grid.out, job)}")
