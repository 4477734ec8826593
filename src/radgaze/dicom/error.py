"""The one exception of this layer."""

from __future__ import annotations


class DicomError(Exception):
    """A file cannot be read, for whatever reason; neither part holds a path or anything of a patient.

    Attributes:
        reason: Short and stable, for tallies: `truncated`, `no_decoder`, `crashed`, ….
        detail: The same in words.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)  # both in args: that is what pickle gives back to __init__
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason
