"""Faults that may pass: the PACS is away, or one attempt on an image failed.

Their messages hold no address, UID or text of the server, since a log must not identify a patient.
"""

from __future__ import annotations


class AwayError(Exception):
    """The PACS does not answer, or asks for a pause.

    Attributes:
        reason: Reason, in words.
        pause: Seconds that the PACS asks to wait; None where it does not say.
    """

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason, pause)
        self.reason, self.pause = reason, pause

    def __str__(self) -> str:
        return self.reason


class AttemptError(Exception):
    """An attempt on one image failed, and another one may succeed."""
