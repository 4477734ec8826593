"""Whether a folder can be written to, before the work whose results it is to hold."""

from __future__ import annotations

import os
from pathlib import Path

from radgaze.errors import UserError

STORE = ("manifest.json", "cases.parquet")
RUN = ("config.yaml", ("model", "checkpoints"))


def check_folder(path: str | Path, option: str = "--out", *, may_be: tuple[str, ...] = ()) -> None:
    """Refuse a folder that cannot be written to, or a store's or run's own.

    Args:
        path: The folder; it need not be there.
        option: What names it, for the message.
        may_be: What it may be all the same: "store" or "run". It never lies within a store, and may lie
            within a run.

    Raises:
        UserError: A file is in the way, writing is forbidden, or the folder would damage a store or a run.
    """
    told = f"{option} {path}"
    try:
        real = Path(path).resolve()
        there = next(one for one in (real, *real.parents) if os.path.lexists(one))
        if not there.is_dir():
            raise UserError(f"{told}: {there} is a file, and a folder is wanted; name another")
        if not os.access(there, os.W_OK | os.X_OK):
            raise UserError(f"{told}: {there} cannot be written to; name another folder")
        if is_run(real) and "run" not in may_be:
            raise UserError(f"{told} is a run's own folder; name another, such as {Path(path) / 'results'}")
        if is_store(real) and "store" not in may_be:
            raise UserError(f"{told} is a store, which this would damage; name another folder")
        within = next((one for one in real.parents if is_store(one)), None)
    except (OSError, RuntimeError, ValueError) as error:  # too long, a circle of links, a null character
        raise UserError(
            f"{told}: {getattr(error, 'strerror', None) or error}; name another folder"
        ) from error
    if within is not None:
        raise UserError(f"{told} lies in the store {within}, which this would damage; name another folder")


def is_store(folder: Path) -> bool:
    """Whether a prepared store is there, whole or damaged."""
    return all((folder / name).is_file() for name in STORE)


def is_run(folder: Path) -> bool:
    """Whether a run is there."""
    return (folder / RUN[0]).is_file() and any((folder / name).is_dir() for name in RUN[1])
