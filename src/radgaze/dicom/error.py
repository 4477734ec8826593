"""The exception of this package."""

from __future__ import annotations


class DicomError(Exception):
    """A file cannot be read. Neither part holds a path or data of a patient.

    Attributes:
        reason: Short and stable code, for tallies: `truncated`, `no_decoder`, `crashed`, ….
        detail: The reason in words.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)  # both in args: that is what pickle gives back to __init__
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
