"""Tries that fail in every way, for the test of the runner."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path


def setup(folder: Path) -> None:
    """Nothing is needed."""


def attempt(folder: Path, draw: random.Random) -> str:
    (folder / "input" / "made").touch()
    match draw.randrange(5):
        case 0:
            os._exit(9)
        case 1:
            time.sleep(600)
        case 2:
            return str(1 // 0)
        case 3:
            return "refused"
    return "read"
