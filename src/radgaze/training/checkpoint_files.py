"""The files of the checkpoints in a run's folder. Does not import torch."""

from __future__ import annotations

from pathlib import Path

FOLDER = "checkpoints"
BEST, LAST, BEFORE = "best.ckpt", "last.ckpt", "before-last.ckpt"


def resumable(run: Path) -> bool:
    """Whether a run's folder has a checkpoint from which training can be resumed; it is not read."""
    return any((run / FOLDER / name).is_file() for name in (LAST, BEFORE))
