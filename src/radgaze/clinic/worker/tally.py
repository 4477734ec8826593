"""Numbers of the images of a worker, and a line about them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from radgaze.words import count


@dataclass
class Tally:
    """Numbers of images of this call.

    Attributes:
        stored: Images whose objects are stored.
        before: Images whose objects were there already, though the journal did not say so.
        refused: Images that are not predicted, such as lateral ones.
        failed: Images of which an attempt failed.
        given_up: Images that the journal has as given up, in this call or an earlier one.
        objects: Objects that were stored.
        busy: Seconds spent on images.
    """

    stored: int = 0
    before: int = 0
    refused: int = 0
    failed: int = 0
    given_up: int = 0
    objects: int = 0
    busy: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def settled(self) -> int:
        """Images for which nothing is left to do."""
        return self.stored + self.before + self.refused

    def in_words(self) -> str:
        """Describe the numbers on one line."""
        parts = [f"{count(self.stored, 'image')} predicted, {count(self.objects, 'object')} stored"]
        if self.before:
            parts.append(f"{self.before} stored before")
        if self.refused:
            parts.append(f"{self.refused} refused")
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.given_up:
            parts.append(f"{self.given_up} given up (`retry` tries again)")
        if self.stored and self.busy:
            parts.append(f"{self.stored / self.busy:.2f} images/s")
        return ", ".join(parts)
