"""Time and memory of the commands on a data set as large as MIMIC-CXR, of tiny images."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from benchmarks.many import measured
from benchmarks.preparation_memory import DIFFERENT, draw_images
from benchmarks.results import Cell, Result
from benchmarks.streaming import measured as an_epoch

VALIDATION, TEST = 2_991, 5_159
"""Radiographs of MIMIC-CXR's splits for validation and testing."""


def run(
    *,
    cases: int = 377_110,
    looks: int = 6,
    side: int = 32,
    batch: int = 128,
    encoder: str = "tu-test_efficientnet",
    workers: int = 2,
) -> Result:
    """Prepare, load, train for an epoch, evaluate, report and inspect, each in a process of its own.

    Args:
        cases: Number of radiographs; without a number, that of MIMIC-CXR 2.0.0.
        looks: Fixations on each.
        side: Side of the images in pixels; a multiple of 32.
        batch: Cases in a batch.
        encoder: Network that is trained, without a decoder.
        workers: Processes that read images.
    """
    settings = (
        f"--model.encoder {encoder} --model.weights none --input.size {side} --trainer.max_epochs 1 "
        f"--trainer.accelerator cpu --optimisation.batch_size {batch} --evaluate=false"
    )
    commands = (
        "prepare table --table cases.csv --images images --fixations looks.csv --out store "
        f"--size {side} --workers {workers}",
        f"train --experiment no_decoder --data store --out run {settings}",
        "evaluate run",
        "report run",
        "inspect store --out inspection",
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, cases, looks, side)
        rows: list[dict[str, Cell]] = [measured(command.split(), folder) for command in commands]
        loaded = an_epoch(folder / "store", batch, cache=False)
    return Result(
        f"The commands on {cases:,} images",
        f"A table of {cases:,} PNGs of {side} × {side} pixels with {looks} fixations each, of which "
        f"{VALIDATION:,} are for validation and {TEST:,} for testing; {encoder} without a decoder, trained "
        "for one epoch. Each command runs in a process of its own; memory is its greatest resident set, with "
        "the pages of files that the kernel keeps in memory as long as nobody else needs it.",
        rows,
        {"batch": batch, "workers": workers},
        [
            "Loading alone, images and gaze maps, shuffled, by one process: "
            f"{loaded['cases/s']:.0f} cases/s, {loaded['own memory (MiB)']:.0f} MiB of its own, "
            f"{loaded['seconds to open']:.2f} s to open the store."
        ],
    )


def _write(folder: Path, cases: int, looks: int, side: int) -> None:
    draw_images(folder / "drawn", side)
    (folder / "images").mkdir()
    for k in range(cases):
        (folder / "images" / f"{k}.png").hardlink_to(folder / "drawn" / f"{k % DIFFERENT}.png")
    number = np.arange(cases)
    split = np.where(number < cases - VALIDATION - TEST, "train", "validate")
    split[cases - TEST :] = "test"
    images = pl.format("{}.png", pl.Series("image", number))
    pl.select(image=images, patient=number, label=number % 3, split=split).write_csv(folder / "cases.csv")
    places, order = np.tile(np.linspace(1, side - 1, looks), cases), np.tile(np.arange(looks), cases)
    pl.select(
        image=pl.format("{}.png", pl.Series("image", np.repeat(number, looks))),
        x=places,
        y=places,
        onset=0.3 * order,
        duration=0.3,
    ).write_csv(folder / "looks.csv")
