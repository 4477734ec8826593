"""`--dicom DIR` of `predict` and `explain`: the results of files as DICOM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.clinic.objects.options import ObjectOptions

if TYPE_CHECKING:
    from radgaze.runs.run import Run


def check_dicom(run: Run, images: Sequence[str], out: str, *, overwrite: bool) -> None:
    """Tell a mistake before torch is imported.

    Raises:
        UserError: See `files.check_images`.
    """
    from radgaze.clinic.objects.checking import check_images
    from radgaze.console import silence

    with silence():
        check_images(run, images, Path(out), overwrite=overwrite)


def write_dicom(
    run: Run, images: Sequence[str], out: str, options: ObjectOptions, *, verb: str, overwrite: bool
) -> int:
    """Write the results, and say what was written; return the number of images without any."""
    from radgaze.clinic.objects.files import write_objects
    from radgaze.console import complain, put

    done = write_objects(run, images, Path(out), options, overwrite=overwrite)
    for requested, folder in done.written.items():
        put(f"{requested.path}: {folder}")
    for requested, reason in done.failed.items():
        complain(f"radgaze {verb}: {requested.path} has no results as DICOM: {reason}")
    return len(done.failed)
