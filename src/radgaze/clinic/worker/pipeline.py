"""Make and store the objects of images in order, while those that follow are read in other processes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from radgaze.clinic.worker.making import Made, Maker
from radgaze.clinic.worker.steps import Outcome, Steps
from radgaze.dicom.error import DicomError

MOST = 32
"""Images that may wait for one before them, which takes longer to read."""


@dataclass(frozen=True)
class Job:
    """An image whose objects are to be made.

    Attributes:
        key: The image in the journal.
        path: Its file.
        store: Function that stores its objects, and returns how many.
        done: Function that is called with its outcome.
    """

    key: bytes
    path: Path
    store: Callable[[Sequence[Made]], int]
    done: Callable[[Outcome], object]


@dataclass
class Pipeline:
    """Images on their way.

    Attributes:
        maker: What makes the objects.
        steps: The journal with the rules of attempts.
    """

    maker: Maker
    steps: Steps
    _flying: deque[Job] = field(default_factory=deque)

    def is_flying(self, key: bytes) -> bool:
        """Whether an image is on its way."""
        return any(job.key == key for job in self._flying)

    def run(self, jobs: Iterator[Job]) -> None:
        """Make and store the objects of images.

        Only the first of the images on their way counts as begun: it is the one that is predicted, and that
        would kill the process.

        Args:
            jobs: The images; few are taken ahead.
        """
        try:
            while (first := next(jobs, None)) is not None:  # no process is started for none
                began = time.monotonic()
                self._stream(chain([first], jobs))
                self.steps.tally.busy += time.monotonic() - began
        except BaseException:  # Ctrl-C, or a mistake that ends the worker: not the image's fault
            if self._flying:
                self.steps.journal.release(self._flying[0].key)
                self._flying.clear()
            raise

    def _stream(self, jobs: Iterator[Job]) -> None:
        with closing(self.maker.stream(self._paths(jobs))) as results:
            for made in results:
                job = self._flying[0]
                outcome = self.steps.end(job.key, lambda job=job, made=made: job.store(_objects(made)))  # type: ignore[misc]
                self._flying.popleft()
                if self._flying:
                    self.steps.journal.begin(self._flying[0].key)
                job.done(outcome)

    def _paths(self, jobs: Iterator[Job]) -> Iterator[Path]:
        for job in jobs:
            self._flying.append(job)
            if len(self._flying) == 1:
                self.steps.journal.begin(job.key)
            yield job.path
            if len(self._flying) >= MOST:
                return


def _objects(made: Sequence[Made] | DicomError) -> Sequence[Made]:
    if isinstance(made, DicomError):
        raise made
    return made
