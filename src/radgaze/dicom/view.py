"""How a radiograph was taken and lies in its file: lateral ones are refused, others set upright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from radgaze.dicom.error import DicomError

LATERAL_POSITIONS = frozenset({"LL", "RL", "LAT", "LATERAL", "LLD", "RLD"})
"""View Position (0018,5101): left and right lateral, and what is written for them beside these terms."""
LATERAL_CODES = frozenset({"399067008", "399173006", "399198007", "R-10236", "R-10232", "R-10228"})
"""Codes of lateral projections in View Code Sequence: SNOMED CT, and the older SNOMED-RT."""
AXES = {"L": "across", "R": "across", "F": "along", "H": "along", "A": "depth", "P": "depth"}


@dataclass(frozen=True)
class Radiograph:
    """An image as it is to be seen.

    Attributes:
        pixels: (H, W) greys in [0, 1], 0 black, upright.
        turned: Whether that is not how it lies in the file, so that coordinates of its pixels are others.
        burned_in: Whether the file says that words are burnt into it, which may be a patient's.
    """

    pixels: NDArray[np.float32]
    turned: bool = False
    burned_in: bool = False


def check_frontal(dataset: Dataset) -> None:
    """Refuse what the header calls lateral; where it says nothing the image is taken for frontal.

    Raises:
        DicomError: `not_frontal`.
    """
    position = str(dataset.get("ViewPosition") or "").strip().upper()
    codes = {str(item.get("CodeValue", "")).strip() for item in dataset.get("ViewCodeSequence") or ()}
    # Rows or columns that run from back to front are those of a patient seen from the side.
    depth = "depth" in _axes(_directions(dataset))
    if position in LATERAL_POSITIONS or codes & LATERAL_CODES or depth:
        raise DicomError("not_frontal", "the header says that it is a lateral view")


def upright(pixels: NDArray[np.float32], dataset: Dataset) -> Radiograph:
    """An image turned so that its columns run from head to foot, as Patient Orientation (0020,0020) tells.

    The first letter of each of its two values counts: which way rows run (L, R: to the patient's left, right)
    and which way columns do (F, H: to foot, head). An image on its side is turned by 90°, one on its head is
    turned upside down; a mirrored one (R\\F) stays as it is, since that is how some are shown. Without the
    element the image is as it is.

    Raises:
        DicomError: `orientation`, where the letters contradict each other.
    """
    burned = str(dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES"
    directions = _directions(dataset)
    if not directions:
        return Radiograph(pixels, burned_in=burned)
    if sorted(_axes(directions)) != ["across", "along"]:
        raise DicomError("orientation", "Patient Orientation is none of a frontal image")
    rows, columns = directions
    if AXES[rows] == "across" and columns == "F":
        return Radiograph(pixels, burned_in=burned)
    if AXES[rows] == "along":
        pixels, rows, columns = pixels.T, columns, rows  # what ran along rows runs along columns
    if columns == "H":
        pixels = pixels[::-1]
    if rows == "R":
        pixels = pixels[:, ::-1]
    return Radiograph(np.ascontiguousarray(pixels), turned=True, burned_in=burned)


def _directions(dataset: Dataset) -> tuple[str, ...]:
    """The first letters of Patient Orientation's two values; empty where it has not two."""
    value = dataset.get("PatientOrientation") or ()
    words = [str(word).strip().upper() for word in ([value] if isinstance(value, str) else value)]
    return tuple(word[0] for word in words) if len(words) == 2 and all(words) else ()


def _axes(directions: tuple[str, ...]) -> list[str]:
    return [AXES.get(letter, "?") for letter in directions]
