"""View and orientation of a radiograph: lateral ones are refused, others turned upright."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from radgaze.dicom.error import DicomError

Scalar = TypeVar("Scalar", bound=np.generic)

LATERAL_POSITIONS = frozenset({"LL", "RL", "LAT", "LATERAL", "LLD", "RLD"})
"""View Position (0018,5101): left and right lateral, and other terms in use for them."""
LATERAL_CODES = frozenset({"399067008", "399173006", "399198007", "R-10236", "R-10232", "R-10228"})
"""Codes of lateral projections in View Code Sequence: SNOMED CT, and the older SNOMED-RT."""
AXES = {"L": "across", "R": "across", "F": "along", "H": "along", "A": "depth", "P": "depth"}


@dataclass(frozen=True)
class Radiograph:
    """An image as it is meant to be seen.

    Attributes:
        pixels: Greys (H, W) in [0, 1], 0 black, upright.
        turned: Whether it was turned, so that coordinates of its pixels differ from those in the file.
        burned_in: Whether the file states that text is burnt into it, which may identify a patient.
    """

    pixels: NDArray[np.float32]
    turned: bool = False
    burned_in: bool = False


def check_frontal(dataset: Dataset) -> None:
    """Refuse an image that the header calls lateral; without a statement it is taken to be frontal.

    Raises:
        DicomError: `not_frontal`.
    """
    position = str(dataset.get("ViewPosition") or "").strip().upper()
    codes = {str(item.get("CodeValue", "")).strip() for item in dataset.get("ViewCodeSequence") or ()}
    # Rows or columns that run from back to front are those of a patient seen from the side.
    depth = "depth" in _axes(_directions(dataset))
    if position in LATERAL_POSITIONS or codes & LATERAL_CODES or depth:
        raise DicomError("not_frontal", "the header says that it is a lateral view")


@dataclass(frozen=True)
class Turn:
    """How an image is turned upright: mirrored at its diagonal, then upside down, then left to right.

    Attributes:
        diagonal: Whether rows become columns.
        vertical: Whether the order of the rows is reversed after that.
        horizontal: Whether the order of the columns is reversed after that.
    """

    diagonal: bool = False
    vertical: bool = False
    horizontal: bool = False

    def __bool__(self) -> bool:
        """Whether anything is turned."""
        return self.diagonal or self.vertical or self.horizontal

    def applied(self, pixels: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn an image (H, W, …) upright."""
        if self.diagonal:
            pixels = pixels.swapaxes(0, 1)
        return np.ascontiguousarray(self._reversed(pixels))

    def undone(self, pixels: NDArray[Scalar]) -> NDArray[Scalar]:
        """Turn an upright image (H, W, …) back to how it is in the file."""
        pixels = self._reversed(pixels)
        return np.ascontiguousarray(pixels.swapaxes(0, 1) if self.diagonal else pixels)

    def _reversed(self, pixels: NDArray[Scalar]) -> NDArray[Scalar]:
        if self.vertical:
            pixels = pixels[::-1]
        return pixels[:, ::-1] if self.horizontal else pixels


def turn_of(dataset: Dataset) -> Turn:
    """How an image is turned so that its columns run from head to foot, by Patient Orientation (0020,0020).

    The first letter of each of its two values counts: the direction of rows (L, R: to the patient's left,
    right) and of columns (F, H: to foot, head). An image on its side is turned by 90°, one on its head upside
    down; a mirrored one (R\\F) stays as it is, since some are shown so. Without the element the image stays
    as it is.

    Raises:
        DicomError: `orientation`, where the letters contradict each other.
    """
    directions = _directions(dataset)
    if not directions:
        return Turn()
    if sorted(_axes(directions)) != ["across", "along"]:
        raise DicomError("orientation", "Patient Orientation is none of a frontal image")
    rows, columns = directions
    if AXES[rows] == "across" and columns == "F":
        return Turn()
    diagonal = AXES[rows] == "along"
    if diagonal:
        rows, columns = columns, rows  # what ran along rows runs along columns
    return Turn(diagonal, vertical=columns == "H", horizontal=rows == "R")


def upright(pixels: NDArray[np.float32], dataset: Dataset) -> Radiograph:
    """Turn an image upright, see `turn_of`.

    Raises:
        DicomError: `orientation`, where the letters of Patient Orientation contradict each other.
    """
    burned = str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES"
    turn = turn_of(dataset)
    return Radiograph(turn.applied(pixels) if turn else pixels, turned=bool(turn), burned_in=burned)


def _directions(dataset: Dataset) -> tuple[str, ...]:
    """The first letters of Patient Orientation's two values; empty without two values."""
    value = dataset.get("PatientOrientation") or ()
    words = [str(word).strip().upper() for word in ([value] if isinstance(value, str) else value)]
    return tuple(word[0] for word in words) if len(words) == 2 and all(words) else ()


def _axes(directions: tuple[str, ...]) -> list[str]:
    return [AXES.get(letter, "?") for letter in directions]
