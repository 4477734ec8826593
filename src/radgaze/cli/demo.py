"""`radgaze demo`: every step on simulated data, up to a comparison of three runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from radgaze.cli.demo_sizes import FULL, SIZES, Scale, config_of
from radgaze.cli.options import add_options, chosen
from radgaze.cli.parser import Parser
from radgaze.devices import check_device
from radgaze.options import Options, option
from radgaze.simulation.options import SimulationOptions
from radgaze.words import listed

if TYPE_CHECKING:
    from radgaze.store.store import Store

HELP = (
    "Simulate a data set whose classes are confounded with a marker, prepare it, train the baseline, set 3 "
    "guided, and set 3 guided on counterfactual images, compare and report them. An interrupted demo "
    "continues when it is started again."
)
EXAMPLE = "radgaze demo --out demo-out"

EXPERIMENTS = ("baseline", "set3_guided", "exchange_guided")


@dataclass(frozen=True)
class DemoOptions(Options):
    """A demo.

    Attributes:
        out: Folder for all files of the demo.
        seed: Random seed of the simulation and of the training.
        device: Device: auto (default), a GPU if there is one; cpu; cuda, or one of several such as cuda:1; or
            mps.
        quick: Use few patients and one epoch: every step runs, but the figures are meaningless.
    """

    out: str = option(metavar="DIR")
    seed: int = option(7, at_least=0, at_most=2**32 - 1)
    device: str = option("auto", check=check_device)
    quick: bool = False


def add_arguments(parser: Parser) -> None:
    add_options(parser, DemoOptions)


def run(args: Namespace) -> int:
    from radgaze.console import put, say
    from radgaze.outputs import check_folder

    options = chosen(DemoOptions, args)
    check_folder(options.out)
    started = time.monotonic()
    size = "quick" if options.quick else "full"
    pages = demonstrate(Path(options.out), seed=options.seed, size=size, device=options.device)
    say(f"Done in {(time.monotonic() - started) / 60:.1f} minutes. Open these in a browser:")
    for page in pages:
        put(page)
    return 0


def demonstrate(out: Path, *, seed: int = 7, size: str = "full", device: str = "auto") -> list[Path]:
    """Run every step in one folder; return the pages, the comparison last.

    Results of the same seed and size that are there already are kept.

    Raises:
        UserError: The folder holds something else, or a run failed.
    """
    from radgaze.cli.compare import compare_and_report
    from radgaze.cli.demo_runs import make_runs
    from radgaze.cli.evaluate import show_results
    from radgaze.console import say
    from radgaze.evaluation.results import read_results
    from radgaze.runs.run import Run

    scale = SIZES[size]
    store = make_store(out, seed=seed, scale=scale)
    say(f"3 of 4  Training, evaluating and reporting {listed(EXPERIMENTS)}", bold=True)
    configs = {name: config_of(name, store.path, seed, scale, device) for name in EXPERIMENTS}
    make_runs(out, configs, seed=seed, size=size, device=device)
    runs = [Run.open(out / experiment) for experiment in EXPERIMENTS]
    for run in runs:
        show_results(read_results(run.path), run)
    say("4 of 4  Comparing them on the test patients, whose markers are independent of the class", bold=True)
    return [*(run.path / "report.html" for run in runs), compare_and_report(runs, out / "comparison")]


def make_store(out: Path, *, seed: int = 7, scale: Scale = FULL) -> Store:
    """Run the first half of `demonstrate`: the simulation and its store."""
    from radgaze.console import say

    phantom = out / "phantom"
    say("1 of 4  Simulating radiographs and the gaze of radiologists", bold=True)
    _simulate(scale.simulation(phantom, seed))
    say("2 of 4  Preparing a store", bold=True)
    return _prepare(phantom, out / "store")


def _simulate(options: SimulationOptions) -> None:
    from radgaze.console import say
    from radgaze.errors import UserError
    from radgaze.exporting.folder import new_folder
    from radgaze.files import read_json
    from radgaze.simulation.archive import simulate

    out = Path(options.out)
    path = out / "planted.json"  # moved there after the data: where it exists, they are complete
    if not path.is_file():
        with new_folder(out) as folder:  # complete or not at all, so that a stopped demo continues
            simulate(replace(options, out=folder))
        return
    planted = read_json(path, _is_planted, "name another `out`")
    expected = {name: getattr(options, name) for name in ("patients", "pixels", "confounding", "twins")}
    if planted["seed"] != options.seed or not expected.items() <= planted["parameters"].items():
        raise UserError(f"{out.parent} holds a demo of another seed or size; name another `out`")
    say(f"{out} exists: it is kept")


def _is_planted(content: object) -> bool:
    return isinstance(content, dict) and "seed" in content and isinstance(content.get("parameters"), dict)


def _prepare(phantom: Path, out: Path) -> Store:
    from radgaze.cli.prepare import show
    from radgaze.sources import egd
    from radgaze.store.options import PrepareOptions
    from radgaze.store.preparation import prepare

    cohort = egd.read(egd.EgdOptions(phantom / "egd", phantom / "mimic"))
    store = prepare(cohort, PrepareOptions(out, size=256))
    show(store)
    return store
