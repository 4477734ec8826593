"""A new folder that appears complete, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from radgaze import locks
from radgaze.errors import UserError
from radgaze.outputs import check_folder

PART = ".export.part"
"""Folder within the new one in which files are written first, so that nothing is written beside it."""


def check_new(path: str | Path) -> None:
    """Refuse a folder that holds anything, or that cannot be written to.

    Raises:
        UserError: It does, or cannot.
    """
    check_folder(path)
    folder = Path(path)
    if folder.is_dir() and any(each.name != PART for each in folder.iterdir()):
        raise UserError(f"`out={path}` holds files; name a new or empty folder")


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Write a folder: yield one within it, whose content moves up when the block succeeds.

    After an error, what was made is removed; after a kill, the next call removes it.

    Raises:
        UserError: The folder holds files, cannot be written to, or is being written by another process.
    """
    check_new(path)
    folder = Path(path)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    part = folder / PART
    new = part / "new"
    part.mkdir(parents=True, exist_ok=True)
    busy = f"`out={path}` is being written; wait for it, or name another folder"
    with locks.exclusive(part / "lock", busy, required=False):
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            yield new
            for each in sorted(new.iterdir()):
                each.replace(folder / each.name)
            shutil.rmtree(part, ignore_errors=True)
        except BaseException as error:
            if isinstance(error, OSError) and error.filename is not None:
                at_fault = Path(os.fsdecode(error.filename))
                if at_fault.is_relative_to(new):  # a message names the file that the user will look for
                    error.filename = str(folder / at_fault.relative_to(new))
            shutil.rmtree(part, ignore_errors=True)
            with suppress(OSError):
                for each in missing:  # the innermost first
                    each.rmdir()
            raise
