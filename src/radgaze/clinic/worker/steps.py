"""The way of one image through the journal: begun, then done, refused, to be tried again, or given up."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from radgaze.clinic.worker.faults import AttemptError, AwayError
from radgaze.clinic.worker.journal import Journal
from radgaze.clinic.worker.tally import Tally
from radgaze.dicom.error import DicomError

INTERRUPTIONS = 10
"""Times that work on an image may begin without an end, as when it kills its process; then it is given up."""
PASSING = frozenset({"timeout", "out_of_memory", "crashed", "error", "not_a_file", "not_readable"})
"""Reasons of a DicomError that lie perhaps not in the image."""
FIRST_RETRY, LAST_RETRY = 60.0, 6 * 3600.0
"""Seconds until a failed image is tried again while the worker watches: at first, and at most."""

Fault = DicomError | AwayError | AttemptError


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt on an image.

    Attributes:
        word: In one word; "before" where its objects were there already.
        reason: Reason, "" for the first two.
    """

    word: Literal["stored", "before", "refused", "failed"]
    reason: str = ""


@dataclass
class Steps:
    """Lead images through the journal.

    Attributes:
        journal: The journal.
        attempts: Failed attempts after which an image is given up.
        tally: Numbers, which are updated.
        watching: Whether a failed image waits for its time, rather than for the next call.
        failed: Images of which an attempt of this call failed.
    """

    journal: Journal
    attempts: int
    tally: Tally = field(default_factory=Tally)
    watching: bool = False
    failed: set[bytes] = field(default_factory=set)

    def is_open(self, key: bytes) -> bool:
        """Whether something is left to do for an image now."""
        entry = self.journal.entry(key)
        if entry is None:
            return True
        if entry.begun >= INTERRUPTIONS:
            self.journal.end(key, "failed", f"interrupted {entry.begun} times")
            self.tally.failed += 1
            return False
        is_due = entry.due <= time.time() if self.watching else key not in self.failed
        return not entry.settled and is_due

    def is_settled(self, key: bytes) -> bool:
        """Whether nothing will be left to do for an image, now or later."""
        entry = self.journal.entry(key)
        return entry is not None and entry.settled

    def end(self, key: bytes, work: Callable[[], int]) -> Outcome:
        """Do the last work on an image, and record what became of it.

        Args:
            key: The image.
            work: Function that stores its objects, and returns the number of those stored; 0 where they were
                there already.
        """
        try:
            stored = work()
        except (DicomError, AwayError, AttemptError) as fault:
            return self.judge(key, fault)
        self.journal.end(key, "done")
        self.tally.objects += stored
        if not stored:
            self.tally.before += 1
            return Outcome("before")
        self.tally.stored += 1
        return Outcome("stored")

    def judge(self, key: bytes, fault: Fault) -> Outcome:
        """Record a fault of an image: it is refused, tried again, or given up."""
        reason = str(fault)
        if isinstance(fault, DicomError) and fault.reason not in PASSING:
            self.journal.end(key, "refused", reason)
            self.tally.refused += 1
            return Outcome("refused", reason)
        entry = self.journal.entry(key)
        errors = 1 + (0 if entry is None else entry.errors)
        self.tally.failed += 1
        self.failed.add(key)
        if errors >= self.attempts:
            self.journal.end(key, "failed", reason)
            return Outcome("failed", f"{reason}; given up after {errors} attempts")
        wait = min(FIRST_RETRY * 2 ** min(errors - 1, 16), LAST_RETRY)
        self.journal.end(key, "failing", reason, due=time.time() + wait)
        return Outcome("failed", f"{reason}; attempt {errors} of {self.attempts}")
