"""The tiny store and the tiny run that folders and command lines are tried on."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from tests.fuzz.mutate import spoil_file
from tests.fuzz.runner import Fault, command
from tests.store.cohorts import make_cohort
from tests.stores import prepare

FIELDS = (
    *("--model.encoder", "tu-test_efficientnet", "--model.weights", "none", "--model.decoder_channels"),
    *("[16,8,8,4,4]", "--input.size", "32", "--optimisation.batch_size", "8", "--trainer.max_epochs", "1"),
    *("--trainer.patience", "0", "--trainer.accelerator", "cpu", "--trainer.logger", "none"),
)


def make_store(folder: Path) -> None:
    prepare(make_cohort(folder / "images", cases=24, shape=(40, 40)), folder / "store", size=32, workers=1)


def make_run(folder: Path) -> None:
    make_store(folder)
    train = ["train", "--experiment", "set3_guided", "--data", str(folder / "store"), *FIELDS]
    for arguments in ([*train, "--out", str(folder / "run")],):
        if (outcome := command(arguments)) != "read":
            raise Fault(f"the run cannot be made: {outcome}")


def spoilt(original: Path, copy: Path, draw: random.Random) -> None:
    """A copy of a folder of which one or two files are changed."""
    shutil.copytree(original, copy)
    for _ in range(draw.choice((1, 1, 2))):
        files = [path for path in sorted(copy.rglob("*")) if path.is_file()]
        if files:
            # A manifest, configuration or checkpoint is worth more tries than one of many shards or pages.
            weights = [4 if path.suffix in (".json", ".yaml", ".ckpt", ".parquet") else 1 for path in files]
            spoil_file(draw.choices(files, weights)[0], files, draw)
