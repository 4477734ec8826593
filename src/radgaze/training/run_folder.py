"""The folder of a run that is trained: what may be in it before, and what is removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from radgaze import locks
from radgaze.console import note
from radgaze.errors import UserError, shortened
from radgaze.files import clear_leftovers, is_any_leftover, stay_within
from radgaze.runs import (
    dates,
    initial_weights,
    origin,
    resumed,
    settings,
    training_images,
    vote,
    without_gaze,
)
from radgaze.runs.history import HISTORY, read_history
from radgaze.runs.run import PREDICTIONS
from radgaze.training.checkpoint_files import FOLDER, LAST, resumable

EVALUATED = {
    *("metrics.json", "agreement.parquet", "class_agreement.parquet", "localisation.parquet"),
    *("curves.parquet", "reliance.parquet", "selective.json", "decisions.parquet", "map_thresholds.json"),
    *(f"rejection.{kind}" for kind in ("json", "md", "csv", "html")),
    *("report.html", "figures", without_gaze.FOLDER),
}
"""Files and folders that are measured on a run's weights, and hold for no others."""

FILES = {
    *("config.yaml", origin.FILE, vote.FILE, HISTORY, FOLDER, "model", PREDICTIONS),
    *("tensorboard", "csv", "mlruns", "wandb"),
    *(dates.FILE, initial_weights.FILE, resumed.FILE),
    *EVALUATED,
    training_images.FILE,
}
"""Files and folders that training, evaluating and reporting write into a run's folder."""

LOCK = "train.lock"
"""File that is in a run's folder while a training is at work there, and after it was killed."""


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a lock that keeps a second training out of a run's folder.

    The folder is made for it; where the block leaves nothing in it, it is removed again.

    Args:
        out: Folder of the run.

    Raises:
        UserError: Another training holds the lock.
    """
    missing = [each for each in (out, *out.parents) if not each.exists()]
    out.mkdir(parents=True, exist_ok=True)
    try:
        message = f"another training is at work in {out}; wait for it, or stop it"
        with locks.temporary(out / LOCK, message):
            yield
    finally:
        with suppress(OSError):  # one that is not empty stays
            for each in missing:  # the innermost first
                each.rmdir()


def check_resumable(out: Path) -> None:
    """Check that the run in a folder can be resumed.

    Raises:
        UserError: There is no checkpoint, a link leads out of the folder, or the history is damaged.
    """
    if not resumable(out):
        raise UserError(f"{out} cannot be resumed: it has no {FOLDER}/{LAST}")
    stay_within(out)
    if (out / HISTORY).is_file():
        read_history(out / HISTORY)


def check_new(out: Path, overwrite: bool) -> None:
    """Check that a new run can be written to a folder.

    Raises:
        UserError: The folder is not empty, and `overwrite` is not set, it holds no run, or it is a link.
    """
    if out.exists() and any(each.name != LOCK and not is_any_leftover(each) for each in out.iterdir()):
        if not overwrite:
            raise UserError(f"{out} is not empty; give another `out`, `resume={out}`, or `overwrite=True`")
        try:
            settings.read(out / "config.yaml")
        except UserError as error:
            raise UserError(
                f"{out} is not empty and not a run, so `overwrite=True` does not replace it ({error}); give "
                "another `out`"
            ) from error
        if out.is_symlink():
            raise UserError(
                f"{out} is a link, so `overwrite=True` does not replace it; give the folder it points to"
            )


def drop_measured(out: Path) -> None:
    """Remove the predictions, and what was measured on them, of weights that a resumed training replaces."""
    for name in (PREDICTIONS, *sorted(EVALUATED)):
        _remove(out / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make(out: Path, *, resume: bool) -> None:
    """Make the folder of a run, or remove from it what an interrupted training left.

    Args:
        out: Folder of the run.
        resume: Whether the run in the folder is continued; otherwise `FILES` in it are removed, and no other
            file.
    """
    for folder in (out, out / FOLDER):  # now that it is locked
        clear_leftovers(folder)
    if out.exists() and not resume:
        remaining = []
        # The settings last: without them what a kill leaves is no run, which nothing replaces.
        for path in sorted(out.iterdir(), key=lambda path: (path.name == "config.yaml", path)):
            if path.name in FILES:
                _remove(path)
            elif path.name != LOCK:
                remaining.append(shortened(path.name, 40))
        if remaining:
            names = ", ".join(remaining[:3]) + (", …" if remaining[3:] else "")
            note(f"{out}: {names} is left as it is, for training and evaluating do not write it")
    out.mkdir(parents=True, exist_ok=True)
