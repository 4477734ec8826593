"""Write the DICOM objects of files to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from radgaze.clinic.objects.checking import check_images
from radgaze.clinic.objects.library import quiet
from radgaze.clinic.objects.making import Maker
from radgaze.clinic.objects.options import KINDS, ObjectOptions
from radgaze.clinic.objects.result import Result
from radgaze.console import progress
from radgaze.dicom.error import DicomError
from radgaze.files import written
from radgaze.predicting.finding import Requested, replaced
from radgaze.runs.run import Run


@dataclass(frozen=True)
class WrittenObjects:
    """Objects that were written.

    Attributes:
        written: Folder of each image's objects.
        failed: For each image without any, the reason.
    """

    written: dict[Requested, Path]
    failed: dict[Requested, str]


def write_objects(
    run: Run,
    images: Sequence[str],
    out: Path,
    options: ObjectOptions = ObjectOptions(),  # noqa: B008 - frozen
    *,
    overwrite: bool = False,
) -> WrittenObjects:
    """Write the objects of files, OUT/image-001/sr.dcm and so on, whose names say nothing about the patient.

    Args:
        run: The run.
        images: Files and folders, see `finding.find`.
        out: The folder.
        options: The options.
        overwrite: Whether objects that are in it are replaced; those of an image that fails are removed,
            since they may be another image's.

    Raises:
        UserError: As `check_images`, or the run cannot be used.
    """
    requested = check_images(run, images, out, overwrite=overwrite)
    done = WrittenObjects({}, {})
    paths = [each.path for each in requested if each.path is not None]
    maker = Maker.of(run, options)
    with (
        progress("Writing DICOM", total=len(requested), of="images") as bar,
        closing(maker.stream(paths)) as made,
    ):
        names = [each.name for each in requested]
        for name in replaced(names, out) if overwrite else names:
            clear(out / name)  # all of them first: when this is stopped, none is left of other images
        for each, results in zip(requested, made, strict=True):
            if isinstance(results, DicomError):
                done.failed[each] = str(results)
            else:
                done.written[each] = save(results, out / each.name)
            bar.advance(1)
    return done


def clear(folder: Path) -> None:
    """Remove the objects of all kinds from the folder of an image."""
    for kind in KINDS:
        (folder / f"{kind}.dcm").unlink(missing_ok=True)


def save(results: Sequence[Result], folder: Path) -> Path:
    """Write objects as FOLDER/<kind>.dcm, in a folder that only its owner can enter; return the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with quiet():
        for result in results:
            with written(folder / f"{result.kind}.dcm") as aside:
                result.dataset.save_as(aside, enforce_file_format=True)
    return folder
