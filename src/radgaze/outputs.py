"""Checks of an output folder, before the work whose results it will hold."""

from __future__ import annotations

import os
from pathlib import Path

from radgaze.errors import UserError

STORE = ("manifest.json", "cases.parquet")
RUN = ("config.yaml", ("model", "checkpoints", "vote.json"))


def check_folder(path: str | Path, setting: str = "out", *, may_be: tuple[str, ...] = ()) -> None:
    """Refuse a folder that cannot be written to, or that is a store's or run's own.

    Args:
        path: The folder, which need not exist.
        setting: Name of the setting that gives it, for messages.
        may_be: Kinds that are allowed all the same: "store" or "run". A folder within a store never is, one
            within a run always.

    Raises:
        UserError: A file is in the way, writing is forbidden, or the folder would damage a store or a run.
    """
    named = f"`{setting}={path}`"
    try:
        real = Path(path).resolve()
        existing = next(one for one in (real, *real.parents) if os.path.lexists(one))
        if not existing.is_dir():
            raise UserError(f"{named}: {existing} is a file, and not a folder; name another one")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(f"{named}: {existing} cannot be written to; name another folder")
        if is_run(real) and "run" not in may_be:
            raise UserError(f"{named} is a run's own folder; name another, such as {Path(path) / 'results'}")
        if is_store(real) and "store" not in may_be:
            raise UserError(f"{named} is a store, which this would damage; name another folder")
        store = next((one for one in real.parents if is_store(one)), None)
    except (OSError, RuntimeError, ValueError) as error:  # too long, a circle of links, a null character
        raise UserError(
            f"{named}: {getattr(error, 'strerror', None) or error}; name another folder"
        ) from error
    if store is not None:
        raise UserError(f"{named} lies in the store {store}, which this would damage; name another folder")


def is_store(folder: Path) -> bool:
    """Whether the folder is a prepared store, complete or damaged."""
    return all((folder / name).is_file() for name in STORE)


def is_run(folder: Path) -> bool:
    """Whether the folder is a run."""
    return (folder / RUN[0]).is_file() and any((folder / name).exists() for name in RUN[1])
