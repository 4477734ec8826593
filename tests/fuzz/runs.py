"""Folders of runs with files changed, lost or exchanged, under the verbs that read them."""

from __future__ import annotations

import random
from pathlib import Path

from tests.fuzz.folders import make_run, spoilt
from tests.fuzz.runner import command

setup = make_run


def attempt(folder: Path, draw: random.Random) -> str:
    """Evaluate, report, compare, explain, audit, make masks or go on with a changed run."""
    spoilt(folder / "run", folder / "input" / "run", draw)
    return command(
        draw.choice(
            (
                ["evaluate", "run", "--resamples", "20"],
                ["report", "run"],
                ["compare", "run", str(folder / "run"), "--out", "compared", "--resamples", "20"],
                ["explain", "run", "case-01", "--methods", "grad_cam", "--out", "maps"],
                [
                    "audit",
                    "run",
                    "--methods",
                    "grad_cam",
                    "--cases",
                    "2",
                    "--out",
                    "audited",
                    "--resamples",
                    "20",
                ],
                ["train", "--resume", "run"],
                ["pseudo", "run", "--methods", "grad_cam", "--out", "masks"],
            )
        )
    )
