"""Folders of stores with files changed, lost or exchanged, under the verbs that read them."""

from __future__ import annotations

import random
from pathlib import Path

from tests.fuzz.folders import FIELDS, make_store, spoilt
from tests.fuzz.runner import command

setup = make_store


def attempt(folder: Path, draw: random.Random) -> str:
    """Verify, look at or train on a changed store."""
    spoilt(folder / "store", folder / "input" / "store", draw)
    return command(
        draw.choices(
            (
                ["verify", "store"],
                ["inspect", "store", "--out", "seen", "--each", "1"],
                ["train", "--experiment", "set3_guided", "--data", "store", *FIELDS, "--out", "run"],
            ),
            (2, 2, 1),
        )[0]
    )
