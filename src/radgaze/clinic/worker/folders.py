"""Serve a folder: predict its DICOM files, and write the results to another folder, each image once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from radgaze.clinic.worker.choosing import check_radiograph, read_header
from radgaze.clinic.worker.faults import AttemptError
from radgaze.clinic.worker.making import Made, Maker
from radgaze.clinic.worker.pipeline import Job, Pipeline
from radgaze.clinic.worker.steps import Outcome, Steps
from radgaze.console import Bar, progress, silence
from radgaze.dicom.error import DicomError
from radgaze.dicom.image import DIRECTORY
from radgaze.store.digest import file_digest

QUIET = 2.0
"""Seconds for which a file must not have changed, since one that is being copied is cut."""
DIGITS = 16
"""Hexadecimal digits of the hash that names the folder of an image's results."""
ASIDE = ".part-"
"""Beginning of the name of a folder that is being written."""


@dataclass(frozen=True)
class Found:
    """A file in the folder.

    Attributes:
        path: Its path.
        key: Words that name this version of it in the journal.
    """

    path: Path
    key: tuple[str, ...]


@dataclass(frozen=True)
class FolderServer:
    """A worker between two folders.

    Attributes:
        folder: Folder of the images.
        out: Folder for the results.
        maker: What makes the objects.
        steps: The journal with the rules of attempts.
        tell: Function that is called with the path of each file, the name of its results' folder ("" where
            there is none), and its outcome.
        assume_chest: See `choosing.check_radiograph`.
    """

    folder: Path
    out: Path
    maker: Maker
    steps: Steps
    tell: Callable[[Path, str, Outcome], object]
    assume_chest: bool = False

    def once(self) -> bool:
        """Go through all files of the folder; return False, since none can have been missed."""
        for left in self.out.glob(f"{ASIDE}*"):  # of a killed worker
            shutil.rmtree(left, ignore_errors=True)
        pipeline, watching = Pipeline(self.maker, self.steps), self.steps.watching
        total = None if watching else sum(1 for _ in self._files())
        with silence() if watching else nullcontext(), progress("Predicting", total, of="images") as bar:
            pipeline.run(self._jobs(bar))
        return False

    def _jobs(self, bar: Bar) -> Iterator[Job]:
        """The new files."""
        for each in self._files():
            key = self.steps.journal.key(self.maker.name, *each.key)
            if not self.steps.is_open(key):
                bar.advance()
                continue
            job = self._job(each.path, key, bar)
            if job is not None:
                yield job

    def _job(self, path: Path, key: bytes, bar: Bar) -> Job | None:
        """A file whose objects are to be made; None where nothing is to be made of it.

        Args:
            path: The file.
            key: The file in the journal.
            bar: The progress.
        """

        def done(outcome: Outcome) -> None:
            self.tell(path, name if outcome.word in ("stored", "before") else "", outcome)
            bar.advance()

        name = ""
        try:
            check_radiograph(read_header(path), assume_chest=self.assume_chest)
            name = _name(path, self.maker)
        except DicomError as fault:
            done(self.steps.judge(key, fault))
            return None
        if (self.out / name).is_dir():  # the same content
            done(self.steps.end(key, lambda: 0))
            return None
        return Job(key, path, lambda made: self._write(path, self.out / name, made), done)

    def _files(self) -> Iterator[Found]:
        """The files of the folder and its subfolders in order, hidden ones and those in `out` left out."""
        out = self.out.resolve()
        for folder, subfolders, names in os.walk(self.folder):
            subfolders[:] = sorted(
                name
                for name in subfolders
                if not name.startswith(".") and (Path(folder) / name).resolve() != out
            )
            for name in sorted(names):
                if name.startswith(".") or name == DIRECTORY:
                    continue
                path = Path(folder) / name
                try:
                    status = path.stat()
                except OSError:  # gone meanwhile, or a link to nothing
                    continue
                # A date far in the future, as of another machine's clock, does not say that the file changes.
                is_quiet = abs(time.time() - status.st_mtime) >= QUIET
                if not S_ISREG(status.st_mode) or (self.steps.watching and not is_quiet):
                    continue
                where = str(path.relative_to(self.folder))
                yield Found(path, (where, str(status.st_size), str(status.st_mtime_ns)))

    def _write(self, path: Path, place: Path, made: Sequence[Made]) -> int:
        """Write objects to a new folder, which appears with all of them at once; return their number.

        Args:
            path: The image.
            place: The folder, which is named after the image's content.
            made: The objects.

        Raises:
            AttemptError: The file is another one than when the folder was named, so that the objects may be
                another patient's.
        """
        if _name(path, self.maker) != place.name:
            raise AttemptError("the file changed while it was read")
        if place.is_dir():  # of a file with the same content, which was on its way
            return 0
        aside = place.with_name(f"{ASIDE}{place.name}")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        for each in made:
            with (aside / f"{each.kind}.dcm").open("xb") as file:
                each.dataset.save_as(file, enforce_file_format=True)
                file.flush()
                os.fsync(file.fileno())
        _sync(aside)
        aside.rename(place)
        _sync(place.parent)
        return len(made)


def _name(path: Path, maker: Maker) -> str:
    """Name of the folder of an image's results, which does not identify a patient."""
    try:
        return f"{file_digest(path)[:DIGITS]}-{maker.short}"
    except OSError as error:
        raise DicomError("not_readable", error.strerror or "the file cannot be read") from error


def _sync(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    with suppress(OSError):  # not every system can
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
