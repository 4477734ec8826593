"""`radgaze tune`: search an experiment's settings by the validation AUC."""

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
from radgaze.sections import leaves
from radgaze.tuning.options import TuneOptions

if TYPE_CHECKING:
    import optuna

HELP = (
    "Search an experiment's settings by validation AUC. Trials with a low AUC are stopped early, and no test "
    "case is read. An interrupted search is continued with --resume."
)
EXAMPLE = "radgaze tune --experiment set3_guided --data STORE --trials 60 --out DIR"

SPACE = (
    "The search varies, where the experiment uses them: lambda (0.1 to 0.9, for two or more edges), "
    "objective.gamma (0.05 to 0.95), gaze.sigma (a third to three times the experiment's), each edge's "
    "distance, the heatmap's generator, match, normalise and margin (0 to 0.1), "
    "optimisation.learning_rate and, of AdamW, weight_decay (a tenth to five times the experiment's). Any "
    "field of a run's config.yaml can be given, and is then not varied. docs/tuning.md describes --space."
)

SET_BY_VERB = ("experiment", "protocol", "data", "seed", "plugins")
"""Fields of the configuration that are arguments of the verb."""

SHOWN = 5
"""Number of trials in the table."""


def add_arguments(parser: Parser) -> None:
    from radgaze.runs.config import Config

    parser.add_argument(
        "--experiment", required=True, metavar="NAME", help="experiment whose settings are searched"
    )
    parser.add_argument("--data", required=True, metavar="STORE", help="the prepared store")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the search")
    add_options(parser, TuneOptions)
    parser.add_argument("--device", metavar="DEVICE", default="auto", help=HELP_OF_DEVICE)
    parser.add_section(Config, skip=SET_BY_VERB)
    # Only the given fields of the configuration count: the experiment sets the others.
    fields = [key for key in leaves(Config, asdict(Config())) if key not in SET_BY_VERB]
    parser.set_section(dict.fromkeys(fields, SUPPRESS))
    parser.usage = "radgaze tune --experiment NAME --data STORE --trials N --out DIR [--FIELD VALUE ...]"
    parser.description = f"{HELP} Experiments: {', '.join(experiments.names())}. {SPACE}"


def run(args: Namespace) -> int:
    from radgaze.outputs import check_folder
    from radgaze.runs.config import Config

    options = chosen(TuneOptions, args)
    check_folder(args.out)
    values, fields = args.as_dict(), asdict(Config()).keys() - SET_BY_VERB
    given = {key: values[key] for key in fields if key in values}
    given = experiments.merge(given, given_by_device(args.device))
    experiments.load(args.experiment, options.protocol)
    check_store(args.data)
    allow_given(given)
    from radgaze.tuning.planning import plan

    search = plan(args.experiment, args.data, options, given=given)
    from radgaze.console import put
    from radgaze.tuning.search import tune

    out = Path(args.out)
    show(tune(search, out, options))
    for name in ("trials.csv", "history.png", "importance.png", "best.yaml", "tuning.html"):
        if (out / name).is_file():
            put(out / name)
    return 0


def show(study: optuna.Study) -> None:
    """Print the best trials, side by side, on standard output."""
    from radgaze.cli import tables
    from radgaze.console import results
    from radgaze.tuning.study import best, ended

    leaders = best(study, SHOWN)
    rows = [("validation AUC", [f"{trial.value:.4f}" for trial in leaders])]
    rows += [(name, [_short(trial.params[name]) for trial in leaders]) for name in leaders[0].params]
    columns = [str(trial.number) for trial in leaders]
    tables.show(results(), f"The best of {len(ended(study))} trials", "trial", columns, rows)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
