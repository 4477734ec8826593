"""Checks before DICOM objects are written. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from radgaze.clinic.objects.library import check_installed
from radgaze.errors import UserError
from radgaze.outputs import check_folder
from radgaze.predicting.finding import Requested, find
from radgaze.runs.run import Run


def check_images(run: Run, images: Sequence[str], out: Path, *, overwrite: bool) -> list[Requested]:
    """Find the files, and check that their objects can be written.

    Args:
        run: The run.
        images: Files and folders, see `finding.find`.
        out: The folder.
        overwrite: Whether objects that are in it are replaced.

    Raises:
        UserError: There is no such file, a case is no file, the folder cannot be written to or holds objects,
            or highdicom is missing.
    """
    check_installed()
    check_folder(out, "dicom")
    requested = find(images, run)
    for each in requested:
        if each.path is None:
            raise UserError(
                f"{each.case_id} is a case of the store, which keeps no DICOM file: name files for `dicom`"
            )
        if (out / each.name).exists() and not overwrite:
            raise UserError(
                f"{out / each.name} exists, perhaps of another image: name another folder, or set "
                "`overwrite=True`"
            )
    return requested
