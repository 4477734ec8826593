"""`radgaze train`: one run, from a store to a folder with model, predictions and report."""

from __future__ import annotations

import re
from argparse import SUPPRESS
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse import Namespace

from radgaze import experiments
from radgaze.cli.factory import TRUST
from radgaze.cli.folders import check_store
from radgaze.cli.parser import Parser
from radgaze.devices import HELP as HELP_OF_DEVICE
from radgaze.devices import of_trainer
from radgaze.errors import UserError
from radgaze.models import factories
from radgaze.outputs import check_folder
from radgaze.sections import leaves

HELP = "Train a classifier on a prepared store, guided by gaze as the experiment defines; then evaluate it."
EXAMPLE = "radgaze train --experiment set3_guided --data STORE --out RUN --trainer.max_epochs 20"


OF_RUN = ("store.json", "model", "checkpoints", "predictions.parquet")
"""Files and folders beside the config.yaml of a run."""

OF_VERB = ("out", "resume", "overwrite", "evaluate", "config", "trust", "device")
"""Arguments of the verb that are not fields of the configuration."""


def add_arguments(parser: Parser, arguments: Sequence[str] = ()) -> None:
    """Add the verb's arguments, and the configuration's fields with the experiment's values as defaults."""
    from radgaze.runs.config import Config

    _add_fields(parser)
    parser.set_section(leaves(Config, _defaults(parser, arguments)))
    names = ", ".join(experiments.names())
    parser.usage = "radgaze train --experiment NAME --data STORE --out RUN [--FIELD VALUE ...]"
    parser.description = f"{HELP} Experiments: {names}. Any field of a run's config.yaml can be given."


def _add_fields(parser: Parser) -> None:
    from radgaze.runs.config import Config

    parser.add_argument("--out", metavar="RUN", help="folder of the run")
    parser.add_argument("--resume", metavar="RUN", help="folder of an interrupted run to continue")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in --out")
    parser.add_argument("--evaluate", type=bool, default=True, help="evaluate and report the trained run")
    parser.add_argument("--trust", action="store_true", help=TRUST)
    parser.add_argument("--device", metavar="DEVICE", default="auto", help=HELP_OF_DEVICE)
    parser.add_argument("--config", action="config", help="YAML of fields, e.g. the best.yaml of a search")
    parser.add_section(Config)
    for action in parser._actions:
        if action.dest == "plugins":  # what a run needs; the user names plugins by --plugin
            action.help = SUPPRESS


def _defaults(parser: Parser, arguments: Sequence[str]) -> dict[str, object]:
    """The defaults of the fields: those of the given experiment and protocol, or of the run to resume.

    The arguments are parsed once without these defaults, so that experiment and protocol are those that the
    run will record, whether they are given on the command line or in a file given as --config.

    Args:
        parser: The verb's parser, whose fields have no experiment's defaults yet.
        arguments: The arguments of the command line.
    """
    rest = [a for a in arguments if not re.fullmatch(r"-h|--([\w.]+\.)?help|--print_config.*", a)]
    try:
        named = parser.parse_args(rest[rest.index("train") + 1 :] if "train" in rest else rest)
    except UserError:
        return {}  # the final parser reports the same mistake
    if named.resume is not None:
        from radgaze.runs import settings

        return dict(settings.to_dict(settings.read(Path(named.resume) / "config.yaml")))
    loaded = experiments.load(named.experiment, named.protocol)
    unchanged = named.model.encoder == parser.get_defaults().model.encoder
    return experiments.for_encoder(loaded, None if unchanged else named.model.encoder)


def _is_of_run(files: Sequence[object] | None) -> bool:
    """Whether a file given as --config lies in the folder of a run, which somebody else may have made."""
    folders = [Path(str(file)).absolute().parent for file in files or ()]
    return any((folder / name).exists() for folder in folders for name in OF_RUN)


def _of_device(args: Namespace, given: Mapping[str, object]) -> dict[str, object]:
    """Settings of the trainer that train on the device of `--device`.

    Raises:
        UserError: There is no such device, or one of these settings is given too, with another value.
    """
    from radgaze.runs import settings

    made = of_trainer(args.device)
    if not made:
        return made
    if args.resume:
        default: Mapping[str, object] = settings.to_dict(settings.read(Path(args.resume) / "config.yaml"))
    else:
        default = experiments.load(args.experiment, args.protocol)
    usual, now = experiments.flat(default), experiments.flat(given)
    for name, value in made.items():
        field = f"trainer.{name}"
        if str(now[field]) not in (str(value), str(usual.get(field, "auto"))):
            raise UserError(
                f"`device={args.device}` means `{field}={value}`, and `{field}={now[field]}` is given: leave "
                "out one of the two"
            )
    return made


def run(args: Namespace) -> int:
    """Train, then evaluate and report."""
    from radgaze.runs import settings

    given = {k: v for k, v in args.as_dict().items() if k not in OF_VERB}
    if not args.resume:
        settings.check_terms(args.experiment, experiments.load(args.experiment, args.protocol), given)
    given = experiments.merge(given, {"trainer": _of_device(args, given)})
    config = settings.from_dict(given)
    if not args.resume:
        settings.check_used(config)
    if args.resume and (args.out or args.overwrite):
        option = "out" if args.out else "overwrite"
        raise UserError(f"`resume` goes on with the run in its own folder: leave out `{option}`, or `resume`")
    out = args.resume or args.out
    if out is None:
        raise UserError("name the run's folder with `out=RUN`, or an interrupted run with `resume=RUN`")
    check_folder(out, "resume" if args.resume else "out", may_be=("run",))
    if not config.data:
        raise UserError("name the store to train on with `data=STORE` (made by `radgaze prepare`)")
    config.data = str(Path(config.data).resolve())
    check_store(config.data)
    if config.model.factory is not None and not (args.resume or _is_of_run(args.config)):
        factories.allow(config.model.factory)  # the user has named it

    from radgaze.training.train import train

    trained = train(config, Path(out), resume=args.resume is not None, overwrite=args.overwrite)
    from radgaze.training.fitting import is_first  # imports torch, as training has

    if args.evaluate and is_first():
        from radgaze.cli.evaluate import evaluate_and_report
        from radgaze.evaluation.options import EvaluationOptions

        evaluate_and_report(trained, EvaluationOptions(device=args.device))
    return 0
