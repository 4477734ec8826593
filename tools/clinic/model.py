"""The data and the run of the demo: phantom studies, and a small classifier trained on them in minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import polars as pl
import yaml

from radgaze import experiments
from radgaze.clinic.objects import Maker, ObjectOptions
from radgaze.clinic.objects.threshold import FILE as THRESHOLDS
from radgaze.console import say
from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.run import Run
from radgaze.simulation.archive import simulate
from radgaze.simulation.options import SimulationOptions
from radgaze.sources import egd
from radgaze.store.options import PrepareOptions
from radgaze.store.preparation import prepare
from radgaze.store.store import Store
from radgaze.training.train import train

EXPERIMENT = "set3_guided"
SEED = 7


@dataclass(frozen=True)
class Size:
    """Size of the demo.

    Attributes:
        patients: Number of simulated patients.
        pixels: Long side of their radiographs.
        overrides: Settings that override those of `radgaze demo`.
    """

    patients: int
    pixels: int
    overrides: Mapping[str, object]


DEMO = Size(patients=300, pixels=512, overrides={"trainer": {"max_epochs": 12}})
TEST = Size(patients=60, pixels=256, overrides={"trainer": {"max_epochs": 1}})
"""A size for tests: every step runs, and the figures mean nothing."""


def run_and_images(folder: Path, size: Size = DEMO) -> tuple[Path, list[Path]]:
    """Make the run of the demo and the radiographs of its test patients; what is there already is kept.

    Args:
        folder: Folder of the demo.
        size: Size of the demo.

    Returns:
        The folder of the run, and the DICOM files of the test patients.
    """
    phantom, run = folder / "phantom", folder / "run"
    if not (phantom / "planted.json").is_file():  # written last
        say("Simulating radiographs", bold=True)
        simulate(SimulationOptions(phantom, patients=size.patients, seed=SEED, pixels=size.pixels))
    store = _store(phantom, folder / "store")
    if not (run / "metrics.json").is_file():
        say(f"Training {EXPERIMENT}", bold=True)
        evaluate(train(_settings(store, size), run, overwrite=True), EvaluationOptions(device="cpu"))
    if not (run / THRESHOLDS).is_file():
        say("Choosing the thresholds of regions", bold=True)
        Maker.of(Run.open(run), ObjectOptions(device="cpu"))
    return run, _images(phantom, store)


def _store(phantom: Path, path: Path) -> Store:
    if (path / "manifest.json").is_file():  # written last
        return Store.open(path)
    return prepare(
        egd.read(egd.EgdOptions(phantom / "egd", phantom / "mimic")), PrepareOptions(path, size=256)
    )


def _settings(store: Store, size: Size) -> Config:
    fields = yaml.safe_load((files("radgaze.cli") / "demo.yaml").read_text(encoding="utf-8"))
    overrides = experiments.merge(fields, dict(size.overrides))
    data = str(store.path.resolve())
    return settings.resolve(EXPERIMENT, protocol="honest", data=data, seed=SEED, **overrides)


def _images(phantom: Path, store: Store) -> list[Path]:
    cases = store.cases.filter(pl.col("split") == "test")["case_id"].to_list()
    paths = {path.stem: path for path in (phantom / "mimic").rglob("*.dcm")}
    return [paths[case] for case in sorted(cases)]
