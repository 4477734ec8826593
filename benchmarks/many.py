"""Time and memory of the commands after training, on very many cases."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from benchmarks.preparation_memory import DIFFERENT, draw_images
from benchmarks.results import Cell, Result

MIB = 2**20
LEARNT = 500
"""Cases in training, and as many in validation; all others are test cases."""


def run(
    *, cases: int = 10_000, side: int = 128, size: int = 64, classes: int = 3, workers: int = 2
) -> Result:
    """Prepare, train briefly, evaluate, report, inspect and predict, each in a process of its own.

    Args:
        cases: Number of test cases, and of files that are predicted.
        side: Side of the images in pixels.
        size: Side of the stored images in pixels.
        classes: Number of classes.
        workers: Processes that read images.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, cases, side, classes)
        rows = [measured(words, folder) for words in _commands(size, workers)]
    return Result(
        f"The commands after training, on {cases:,} test cases",
        f"A table of {cases + 2 * LEARNT:,} PNGs of {side} × {side} pixels, stored at {size} px; a ResNet-18 "
        "without decoder, trained for one epoch; intervals from 2,000 resamples of patients, who have two "
        "cases each; no case has gaze, so that `evaluate` makes no maps. Seconds of the wall clock and of "
        "all processes' CPUs; memory is the greatest resident set of one process.",
        rows,
        {"cases": cases, "classes": classes, "workers": workers},
    )


def _commands(size: int, workers: int) -> list[list[str]]:
    prepare = f"prepare table --table cases.csv --images images --out store --size {size} --workers {workers}"
    small = f"--input.size {size} --trainer.max_epochs 1 --model.weights none --model.encoder resnet18"
    return [
        command.split()
        for command in (
            prepare,
            f"train --experiment no_decoder --data store --out run {small} --evaluate=false",
            "evaluate run",
            "report run",
            "inspect store --out inspection",
            "predict run files --out predictions.csv",
        )
    ]


def _write(folder: Path, cases: int, side: int, classes: int) -> None:
    draw_images(folder / "drawn", side)
    (folder / "images").mkdir()
    (folder / "files").mkdir()
    labels = np.random.default_rng(1).integers(0, classes, cases + 2 * LEARNT)
    with (folder / "cases.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "patient", "label", "split"])
        for i, label in enumerate(labels):
            split = "train" if i < LEARNT else "validate" if i < 2 * LEARNT else "test"
            table.writerow([f"i{i}.png", f"{split}{i // 2}", f"class{label}", split])
            drawn = folder / "drawn" / f"{i % DIFFERENT}.png"
            (folder / "images" / f"i{i}.png").hardlink_to(drawn)
            if split == "test":
                (folder / "files" / f"i{i}.png").hardlink_to(drawn)


def measured(words: Sequence[str], folder: Path) -> dict[str, Cell]:
    """Run a command of radgaze in a folder, in a process of its own, and return its time and memory."""
    start = perf_counter()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "radgaze", *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=log
        )
        _, status, used = os.wait4(process.pid, 0)
    print(f"benchmarks: {words[0]} took {perf_counter() - start:.0f} s", file=sys.stderr)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        said = (folder / "log").read_text(encoding="utf-8")[-2000:]
        raise SystemExit(f"benchmarks: radgaze {' '.join(words)} ended with {process.returncode}: {said}")
    return {
        "command": words[0],
        "wall (s)": round(perf_counter() - start, 1),
        "CPU (s)": round(used.ru_utime + used.ru_stime, 1),
        "memory (MiB)": round(used.ru_maxrss * 1024 / MIB),
    }
