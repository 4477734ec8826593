"""Options of `radgaze paste`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radgaze.options import Options, option


@dataclass(frozen=True)
class PasteOptions(Options):
    """How markers are pasted into the images of a store.

    Attributes:
        path: Folder of the store.
        out: Folder of the copy, with the markers and twins.
        overlay: Marker of a class: a picture file (PNG with transparency), or a text. It may be given several
            times, once for each class.
        strength: Probability, 0 to 1, that a training or validation case of one of these classes has the
            marker of its class. Test cases have none.
        height: Height of a marker, as a share of the image's height.
        seed: Random seed of the places, which are in the corners, and of the cases with a marker.
    """

    path: str | Path = option(metavar="STORE", positional=True)
    out: str | Path = option(metavar="STORE")
    overlay: Sequence[str] = option(repeated=True, metavar="CLASS=FILE|TEXT")
    strength: float = option(0.0, at_least=0, at_most=1)
    height: float = option(0.07, at_least=0.02, at_most=0.3)
    seed: int = option(7, at_least=0, at_most=2**32 - 1)
