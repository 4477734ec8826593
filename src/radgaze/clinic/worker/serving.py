"""Serve a PACS: find new radiographs, predict them, and store the results, each exactly once.

Three things together make it once: the journal has what is done; a search of the study shows what is there,
also after a kill between the store and its entry in the journal; and the UIDs of results follow from image,
weights and options, so that even results that are sent twice are one in the PACS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from radgaze.clinic.worker.choosing import check_radiograph, may_be_radiograph, read_header
from radgaze.clinic.worker.faults import AttemptError, AwayError
from radgaze.clinic.worker.journal import short
from radgaze.clinic.worker.making import Made, Maker
from radgaze.clinic.worker.pacs import Instance, Pacs, Study
from radgaze.clinic.worker.patience import Patience
from radgaze.clinic.worker.pipeline import Job, Pipeline
from radgaze.clinic.worker.steps import Outcome, Steps
from radgaze.console import note
from radgaze.dicom.error import DicomError
from radgaze.dicom.guard import errors_only

Value = TypeVar("Value")

TRIES = 3
"""Tries of a request about one image within an attempt, while the PACS answers others."""


@dataclass
class _Progress:
    """A study of which images are on their way."""

    study: Study
    key: bytes
    keys: list[bytes] = field(default_factory=list)
    left: int = 0
    listed: bool = False
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass(frozen=True)
class Server:
    """A worker beside a PACS.

    Attributes:
        pacs: The PACS.
        maker: What makes the objects.
        steps: The journal with the rules of attempts.
        patience: Waiting for a PACS that is away.
        scratch: Folder in which images are kept while they are read.
        tell: Function that is called with a line for each study in which something was done.
        assume_chest: See `choosing.check_radiograph`.
    """

    pacs: Pacs
    maker: Maker
    steps: Steps
    patience: Patience
    scratch: Path
    tell: Callable[[str], object]
    assume_chest: bool = False

    def once(self, days: int | None = None) -> bool:
        """Go through the studies of the PACS, and return whether something was done.

        If so, a study may have been missed: a PACS that sorts studies by their last change moves those that
        got results to other pages.

        Args:
            days: Age in days of the oldest study date; None for all.
        """
        before, pipeline = self.steps.tally.settled, Pipeline(self.maker, self.steps)
        pipeline.run(self._jobs(days, pipeline))
        return self.steps.tally.settled > before

    def _jobs(self, days: int | None, pipeline: Pipeline) -> Iterator[Job]:
        """The new images, each fetched when it is needed."""
        journal = self.steps.journal
        for study in self.pacs.studies(days, self.patience):
            key = journal.key(self.maker.name, study.uid)
            if not journal.is_unchanged(key, study.instances):
                yield from self._jobs_of(_Progress(study, key), pipeline)

    def _jobs_of(self, progress: _Progress, pipeline: Pipeline) -> Iterator[Job]:
        try:
            images, stored = self._tried(lambda: self._instances(progress.study.uid))
        except (AttemptError, AwayError) as error:
            self.steps.tally.failed += 1
            note(f"a study is left out until the next search: {error}")
            return
        progress.keys = [self.steps.journal.key(self.maker.name, image.uid) for image in images]
        for image, key in zip(images, progress.keys, strict=True):
            if pipeline.is_flying(key) or not self.steps.is_open(key):
                continue
            job = self._job(image, key, stored, progress)
            if isinstance(job, Job):
                progress.left += 1
                yield job
            else:
                progress.outcomes.append(job)
        progress.listed = True
        self._finish(progress)

    def _job(self, image: Instance, key: bytes, stored: set[str], progress: _Progress) -> Job | Outcome:
        """An image that was fetched; or what became of it, where nothing is to be made of it.

        Args:
            image: The image.
            key: The image in the journal.
            stored: UIDs in its study.
            progress: Its study.
        """
        expected = set(self.maker.expected(image.uid))
        if expected and expected <= stored:
            return self.steps.end(key, lambda: 0)
        path = self.scratch / key.hex()
        try:
            path.write_bytes(self._tried(lambda: self.pacs.fetch(image)))
            header = read_header(path)
            with errors_only():  # pydicom parses it now, and its message would repeat it
                uid = str(header.get("SOPInstanceUID", ""))
            if uid != image.uid:
                raise AttemptError("the PACS sent another image than the one that was asked for")
            check_radiograph(header, assume_chest=self.assume_chest)
        except (DicomError, AwayError, AttemptError) as fault:
            path.unlink(missing_ok=True)
            return self.steps.judge(key, fault)

        def done(outcome: Outcome) -> None:
            path.unlink(missing_ok=True)
            progress.left -= 1
            progress.outcomes.append(outcome)
            self._finish(progress)

        return Job(key, path, lambda made: self._store(image.study, made, stored), done)

    def _finish(self, progress: _Progress) -> None:
        """When no image of a study is on its way, tell what was done, and record whether anything is left."""
        if progress.left or not progress.listed:
            return
        if progress.outcomes:
            self.tell(f"study {short(progress.key)}: {in_words(progress.outcomes)}")
        if all(map(self.steps.is_settled, progress.keys)):
            self.steps.journal.complete(progress.key, progress.study.instances)

    def _instances(self, study: str) -> tuple[list[Instance], set[str]]:
        """The images of a study that may be radiographs, and the UIDs of what may be results."""
        images, others = dict[str, Instance](), set[str]()
        for each in self.pacs.instances(study):
            if may_be_radiograph(each):
                images[each.uid] = each  # some servers give an instance twice
            if not each.sop_class or not may_be_radiograph(each):
                others.add(each.uid)
        return list(images.values()), others

    def _store(self, study: str, made: Sequence[Made], stored: set[str]) -> int:
        """Store the objects that the study lacks, and return how many; after a failure, search it again."""
        missing = [each for each in made if each.uid not in stored]

        def store() -> None:
            confirmed = self.pacs.store(study, [each.dataset for each in missing]) if missing else set()
            # A server may say nothing of what it stored, and a proxy in between anything at all.
            if not {each.uid for each in missing} <= confirmed:
                search()
                if missing:
                    raise AttemptError(
                        f"the PACS lacks {len(missing)} of {len(made)} objects after it took them"
                    )

        def search() -> None:
            nonlocal missing
            _, present = self._instances(study)
            missing = [each for each in missing if each.uid not in present]

        def search_and_store() -> None:
            search()
            store()

        new = len(missing)
        self._tried(store, again=search_and_store)
        return new

    def _tried(self, call: Callable[[], Value], *, again: Callable[[], Value] | None = None) -> Value:
        """Return the value of a call about one study or image, which is tried a few times.

        Between tries the PACS is waited for, so that its absence is no fault of the image.

        Args:
            call: The call.
            again: What to call from the second try; the same by default.

        Raises:
            AwayError, AttemptError: The last try failed.
        """
        for attempt in range(TRIES):
            try:
                return call() if attempt == 0 or again is None else again()
            except (AwayError, AttemptError) as error:
                if attempt == TRIES - 1:
                    raise
                self.patience.rest(attempt, error.pause if isinstance(error, AwayError) else None)
                self.patience(self.pacs.answers)
        raise AssertionError("unreachable")


def in_words(outcomes: Sequence[Outcome]) -> str:
    """Describe what became of images on one line: `2 stored, 1 refused (not_frontal: …)`."""
    parts = []
    for word in ("stored", "before", "refused", "failed"):
        these = [each for each in outcomes if each.word == word]
        if these:
            reasons = sorted({each.reason for each in these} - {""})
            named = "stored before" if word == "before" else word
            parts.append(f"{len(these)} {named}" + (f" ({'; '.join(reasons)})" if reasons else ""))
    return ", ".join(parts)
