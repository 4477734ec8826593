"""`radgaze tune`: an experiment's settings, searched by validation AUC."""

from __future__ import annotations

from argparse import SUPPRESS
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from radgaze import experiments
from radgaze.cli.parser import Parser, PositiveInt, Seed

if TYPE_CHECKING:
    import optuna

HELP = (
    "Search an experiment's settings by validation AUC; trials that others outdo are stopped early, and no "
    "test case is looked at. Stopped, it goes on with --resume."
)
EXAMPLE = "radgaze tune --experiment set3_guided --data STORE --trials 60 --out DIR"

SPACE = (
    "Varied are, as far as the experiment's edges need them: lambda (0.1 to 0.9, where there are two edges "
    "or more), objective.gamma (0.05 to 0.95), gaze.sigma (a third to three times the experiment's), each "
    "edge's distance, the heatmap's generator, match, normalise and margin (0 to 0.1), "
    "optimisation.learning_rate and, of AdamW, weight_decay (a tenth to five times the experiment's). Any "
    "field of a run's config.yaml can be given, and is then held. docs/tuning.md describes --space."
)

OWN = ("experiment", "protocol", "data", "seed")
"""Fields of the configuration that stand among the verb's own arguments."""

SHOWN = 5


def add_arguments(parser: Parser) -> None:
    from radgaze.runs.config import Config

    parser.add_argument("--experiment", required=True, metavar="NAME", help="whose settings are searched")
    parser.add_argument("--data", required=True, metavar="STORE", help="the prepared store")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the search")
    parser.add_argument(
        "--trials", type=PositiveInt, required=True, metavar="N", help="in all, those of before included"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the search that is in --out")
    parser.add_argument(
        "--space", metavar="FILE", help="YAML of ranges, laid over the experiment's own space"
    )
    parser.add_argument(
        "--jobs",
        type=PositiveInt,
        default=1,
        metavar="N",
        help="trials side by side, each in a process (default 1)",
    )
    parser.add_argument(
        "--min-epochs",
        type=PositiveInt,
        metavar="N",
        help="epochs before a trial may be stopped (default: a ninth of trainer.max_epochs, and "
        "more than the warm-up); with trainer.max_epochs or more, none is",
    )
    parser.add_argument("--protocol", choices=("honest", "faithful"), default="honest", help="as of train")
    parser.add_argument("--seed", type=Seed, default=42, help="of the search and of every trial (default 42)")
    parser.add_class_arguments(Config, nested_key=None, skip=set(OWN))
    # Of the configuration only what is given counts: the rest is the experiment's own.
    parser.set_defaults({key: SUPPRESS for key in experiments.flat(asdict(Config())) if key not in OWN})
    parser.usage = "radgaze tune --experiment NAME --data STORE --trials N --out DIR [--FIELD VALUE ...]"
    parser.description = f"{HELP} Experiments: {', '.join(experiments.names())}. {SPACE}"


def run(args: Namespace) -> int:
    from radgaze.outputs import check_folder
    from radgaze.runs.config import Config
    from radgaze.tuning.plan import plan

    check_folder(args.out)
    values, fields = args.as_dict(), asdict(Config()).keys() - OWN
    search = plan(
        args.experiment,
        args.data,
        protocol=args.protocol,
        seed=args.seed,
        given={key: values[key] for key in fields if key in values},
        space=None if args.space is None else Path(args.space),
        min_epochs=args.min_epochs,
    )
    from radgaze.console import put
    from radgaze.tuning.search import tune

    out = Path(args.out)
    study = tune(search, out, args.trials, resume=args.resume, jobs=args.jobs)
    show(study)
    for name in ("trials.csv", "history.png", "importance.png", "best.yaml"):
        put(out / name)
    return 0


def show(study: optuna.Study) -> None:
    """The best trials, side by side, on standard output."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from radgaze.console import results
    from radgaze.tuning.study import best, ended

    leaders = best(study, SHOWN)
    shown = Table(title=f"The best of {len(ended(study))} trials", box=SIMPLE_HEAD)
    shown.add_column("trial", no_wrap=True)
    for trial in leaders:
        shown.add_column(str(trial.number), justify="right", overflow="fold")
    shown.add_row("validation AUC", *(f"{trial.value:.4f}" for trial in leaders), end_section=True)
    for name in leaders[0].params:
        shown.add_row(name, *(_short(trial.params[name]) for trial in leaders))
    results().print(shown)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
