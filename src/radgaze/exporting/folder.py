"""A new folder that appears complete, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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
        UserError: The folder holds files, or cannot be written to.
    """
    check_new(path)
    folder = Path(path)
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    part = folder / PART
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for each in sorted(part.iterdir()):
            each.replace(folder / each.name)
        part.rmdir()
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):
            for each in missing:  # the innermost first
                each.rmdir()
        raise
