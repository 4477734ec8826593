"""An image that is shown, with what is known about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from radgaze.predicting.inputs import Subject
from radgaze.viewing.decoding import Decoded, Way

UPLOADED = "image"
"""Name of an image that was sent: it has no other."""


@dataclass(frozen=True)
class Mark:
    """A box, in pixels of the shown image.

    Attributes:
        label: Name of what is in it.
        corners: Left, top, right and bottom.
        ellipse: Whether it stands for the ellipse that fills it.
        finding: Whether it is that of a finding, not of an organ.
    """

    label: str
    corners: tuple[float, float, float, float]
    ellipse: bool
    finding: bool


@dataclass(frozen=True)
class Fixation:
    """A fixation of a reader.

    Attributes:
        x, y: Position in pixels of the shown image.
        duration: Duration in seconds.
    """

    x: float
    y: float
    duration: float


@dataclass(frozen=True)
class Shown:
    """An image.

    Attributes:
        key: Key by which the page names it.
        pixels: Greys (h, w), 0 black and 65,535 white.
        window: Greys that are first shown as black and white.
        rows, columns: Size of the original image in pixels.
        scale: Pixels of `pixels` to a pixel of the original image.
        squares: For an image that was sent, its stored square for each way in which a run needs it.
        case_id: Id of a case of the store; None for an image that was sent.
        truth: Names of the true classes; None where they are not known.
        marks: Boxes.
        fixations: The readers' fixations.
        turned: Whether the image was turned to be upright.
        burned_in: Whether the file states that text is burnt into the image.
    """

    key: str
    pixels: NDArray[np.uint16]
    window: tuple[float, float]
    rows: int
    columns: int
    scale: float = 1.0
    squares: Mapping[Way, NDArray[np.uint8]] = field(default_factory=dict)
    case_id: str | None = None
    truth: tuple[str, ...] | None = None
    marks: tuple[Mark, ...] = ()
    fixations: tuple[Fixation, ...] = ()
    turned: bool = False
    burned_in: bool = False

    @classmethod
    def sent(cls, key: str, decoded: Decoded) -> Shown:
        """Return an image that was sent."""
        rows, columns = decoded.pixels.shape
        return cls(
            key,
            decoded.pixels,
            decoded.window,
            rows,
            columns,
            squares=decoded.squares,
            turned=decoded.turned,
            burned_in=decoded.burned_in,
        )

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        return self.pixels.nbytes + sum(square.nbytes for square in self.squares.values()) + 1024


def place_of(subject: Subject, scale: float) -> tuple[float, float, float, float]:
    """Return where a map of an image lies on the shown pixels: left, top, right and bottom.

    Args:
        subject: The image as input of the model.
        scale: Pixels of the shown image to a pixel of the original, see `Shown`.
    """
    size = subject.image.shape[-1]
    on_map = subject.frame.geometry(subject.fit, size)
    edges = (
        -on_map.shift_x / on_map.scale_x,
        -on_map.shift_y / on_map.scale_y,
        (size - on_map.shift_x) / on_map.scale_x,
        (size - on_map.shift_y) / on_map.scale_y,
    )
    left, top, right, bottom = (edge * scale for edge in edges)
    return left, top, right, bottom
