"""Time and memory of the commands that follow `prepare`, on a store as large as MIMIC-CXR."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.many import measured
from benchmarks.results import Cell, Result
from benchmarks.streaming import measured as an_epoch
from benchmarks.streaming import write_store

RADIOGRAPHS, VALIDATION, TEST = 377_110, 2_991, 5_159
"""Radiographs of MIMIC-CXR 2.0.0, and of its splits for validation and testing."""


def run(*, side: int = 32, batch: int = 128, encoder: str = "tu-test_efficientnet") -> Result:
    """Load, train for an epoch, evaluate, report and inspect, each in a process of its own.

    Args:
        side: Side of the images in pixels; a multiple of 32.
        batch: Cases in a batch.
        encoder: Network that is trained, without a decoder.
    """
    settings = (
        f"--model.encoder {encoder} --model.weights none --input.size {side} --trainer.max_epochs 1 "
        f"--trainer.accelerator cpu --optimisation.batch_size {batch} --evaluate=false"
    )
    commands = (
        f"train --experiment no_decoder --data store --out run {settings}",
        "evaluate run",
        "report run",
        "inspect store --out inspection",
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder / "store", RADIOGRAPHS, side, (VALIDATION, TEST))
        loaded = an_epoch(folder / "store", batch, cache=False)
        rows: list[dict[str, Cell]] = [measured(command.split(), folder) for command in commands]
    return Result(
        f"A store of {RADIOGRAPHS:,} images",
        f"A made store of {side} × {side} pixels with six fixations on each image, of which {VALIDATION:,} "
        f"are for validation and {TEST:,} for testing; {encoder} without a decoder, trained for one epoch. "
        "Each command runs in a process of its own; memory is its greatest resident set, with the pages of "
        "the store that the kernel keeps in memory as long as nobody else needs it.",
        rows,
        {"batch": batch},
        [
            "Loading alone, images and gaze maps, shuffled, by one process: "
            f"{loaded['cases/s']:.0f} cases/s, {loaded['own memory (MiB)']:.0f} MiB of its own, "
            f"{loaded['seconds to open']:.2f} s to open the store."
        ],
    )
