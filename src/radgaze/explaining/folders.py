"""The images to explain, with the names of their folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from radgaze.errors import UserError
from radgaze.predicting.finding import Requested, find
from radgaze.runs.run import Run


def folders(images: Sequence[str], run: Run, *, keep_names: bool = False) -> list[Requested]:
    """Find images, with names by which folders can be called.

    Args:
        images: Files, folders and cases, see `finding.find`.
        run: The run.
        keep_names: Whether files keep their own names, rather than numbers.

    Returns:
        The images, in the given order; a repeated case counts once.

    Raises:
        UserError: There is no such file, folder or case, or two images have the same name.
    """
    requested = [
        each if each.case_id is None else replace(each, name=folder_of(each.case_id))
        for each in find(images, run, named_by="file" if keep_names else "number")
    ]
    requested = list(dict.fromkeys(requested))
    twice = sorted(name for name, times in Counter(each.name for each in requested).items() if times > 1)
    if twice:
        raise UserError(f"two images are called {twice[0]}; without `keep_names` they are numbered")
    return requested


def folder_of(name: str) -> str:
    """The name of the folder of an image, such as a case: its name with "_" for special characters."""
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name).lstrip(".") or "case"
