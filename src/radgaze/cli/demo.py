"""`radgaze demo`: the main job on made data, from a phantom to a comparison of two runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from radgaze.cli.parser import Parser, Seed

if TYPE_CHECKING:
    from radgaze.runs.config import Config
    from radgaze.runs.run import Run
    from radgaze.store.store import Store

HELP = (
    "Make a phantom whose classes are confounded with a marker, prepare it, train the baseline and set 3 "
    "guided, compare and report them. Stopped, it goes on where it was."
)
EXAMPLE = "radgaze demo --out demo-out"

EXPERIMENTS = ("baseline", "set3_guided")


@dataclass(frozen=True)
class Scale:
    """How much a demonstration does.

    Attributes:
        patients: Of the phantom.
        confounding: How strongly the marker follows the class, except in test patients.
        pixels: Long side of the phantom's images.
        overrides: Laid over `demo.yaml`.
    """

    patients: int
    confounding: float
    pixels: int
    overrides: dict[str, Any]


FULL = Scale(patients=1200, confounding=0.9, pixels=512, overrides={})
QUICK = Scale(patients=60, confounding=0.9, pixels=160, overrides={"trainer": {"max_epochs": 1}})
"""Whether the way holds together, in seconds; its figures mean nothing."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for everything the demo makes")
    parser.add_argument("--seed", type=Seed, default=7, help="of the phantom and of the training")
    parser.add_argument(
        "--quick", action="store_true", help="a few patients and one epoch: the way, not the figures"
    )


def run(args: Namespace) -> int:
    from radgaze.console import put, say
    from radgaze.outputs import check_folder

    check_folder(args.out)
    started = time.monotonic()
    pages = demonstrate(Path(args.out), seed=args.seed, scale=QUICK if args.quick else FULL)
    say(f"Done in {(time.monotonic() - started) / 60:.1f} minutes. Open these in a browser:")
    for page in pages:
        put(page)
    return 0


def demonstrate(out: Path, *, seed: int = 7, scale: Scale = FULL) -> list[Path]:
    """The whole way in one folder; return the pages that were written, the comparison last.

    What is there already, of the same seed and scale, is not made again.

    Raises:
        UserError: The folder holds something else.
    """
    from radgaze.cli.compare import compare_and_report
    from radgaze.cli.evaluate import evaluate_and_report
    from radgaze.console import say

    store, runs = make_store(out, seed=seed, scale=scale), []
    say(f"3 of 4  {' and '.join(EXPERIMENTS)}: trained, evaluated, reported", bold=True)
    pages = []
    for experiment in EXPERIMENTS:
        run = _train(_config(experiment, store, seed, scale), out / experiment)
        pages.append(evaluate_and_report(run))
        runs.append(run)
    say("4 of 4  The two compared on the test patients, whose markers tell nothing", bold=True)
    pages.append(compare_and_report(runs, out / "comparison"))
    return pages


def make_store(out: Path, *, seed: int = 7, scale: Scale = FULL) -> Store:
    """The first half of `demonstrate`: the phantom and its store."""
    from radgaze.console import say

    phantom = out / "phantom"
    say("1 of 4  A phantom: made radiographs, and where made radiologists looked", bold=True)
    _simulate(phantom, seed, scale)
    say("2 of 4  Its store, as of the real archives", bold=True)
    return _prepare(phantom, out / "store")


def _simulate(out: Path, seed: int, scale: Scale) -> None:
    from radgaze.console import say
    from radgaze.errors import UserError
    from radgaze.files import read_json
    from radgaze.simulation import simulate

    planted = out / "planted.json"  # written last: where it is, the phantom is whole
    if not planted.is_file():
        simulate(out, seed=seed, patients=scale.patients, pixels=scale.pixels, confounding=scale.confounding)
        return
    found = read_json(planted, _is_planted, "name another --out")
    wanted = {"patients": scale.patients, "pixels": scale.pixels, "confounding": scale.confounding}
    if found["seed"] != seed or any(found["parameters"].get(k) != v for k, v in wanted.items()):
        raise UserError(f"{out.parent} holds a demo of another seed or size; name another --out")
    say(f"{out} was made before: left as it is")


def _is_planted(found: Any) -> bool:
    return isinstance(found, dict) and "seed" in found and isinstance(found.get("parameters"), dict)


def _prepare(phantom: Path, out: Path) -> Store:
    from radgaze.cli.prepare import show
    from radgaze.sources import egd
    from radgaze.store.preparation import prepare

    store = prepare(egd.read(phantom / "egd", phantom / "mimic"), out, size=256)
    show(store)
    return store


def _config(experiment: str, store: Store, seed: int, scale: Scale) -> Config:
    import yaml

    from radgaze import experiments
    from radgaze.runs import settings

    own = yaml.safe_load((files("radgaze.cli") / "demo.yaml").read_text(encoding="utf-8"))
    overrides = experiments.merge(own, scale.overrides)
    path = str(store.path.resolve())
    return settings.resolve(experiment, protocol="honest", data=path, seed=seed, **overrides)


def _train(config: Config, out: Path) -> Run:
    from radgaze.console import say
    from radgaze.runs import settings
    from radgaze.runs.run import Run
    from radgaze.training.checkpoints import resumable
    from radgaze.training.fitting import train

    same = (out / "config.yaml").is_file() and settings.read(out / "config.yaml") == config
    if same and (out / "predictions.parquet").is_file():
        say(f"{out} was trained before: left as it is")
        return Run.open(out)
    return train(config, out, resume=same and resumable(out), overwrite=True)
