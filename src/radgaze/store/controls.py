"""Controls: what stands in for the gaze on a case in training, to tell what a run owes to that case's gaze.

    shuffled            the gaze on a case of another patient
    shuffled_in_class   the same, of a case with the same labels
    mean                the mean gaze map of the training cases
    lungs               the shape of the lungs: the case's own where the store has their masks
    uniform             a constant map
    box                 the boxes and masks of findings of the case

Cases without gaze stay without, so that a run and its controls learn from the same cases. With the control
`box`, and with `shuffled_in_class` if no other patient has the same labels, further cases are without.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from radgaze.errors import UserError
from radgaze.gaze.spec import Control, Geometry
from radgaze.store.lungs import Lungs
from radgaze.store.placement import Fit, Frame

SHUFFLED: tuple[Control, ...] = ("shuffled", "shuffled_in_class")
"""The controls that are gaze of other cases: sequences of fixations. The others are maps."""

STREAM = 0x9A2E
"""Number that keeps the random stream of the exchange apart from others of the same seed."""


@dataclass(frozen=True)
class StandIns:
    """Replacement of the gaze on each of N cases.

    Attributes:
        donors: Index of the case whose fixations, or boxes in place of gaze, a case gets, (N,); −1 for none.
        has_map: Whether a map stands in for the gaze on a case, (N,).
        same: The map (S, S) uint8 that is the same for all these cases; None where each has another.
        lungs: Maps of lungs, where those are the maps; else they are boxes and masks of the donor, or of the
            case itself.
    """

    donors: NDArray[np.int64]
    has_map: NDArray[np.bool_]
    same: NDArray[np.uint8] | None
    lungs: Lungs | None


def donors(patients: NDArray[np.int64], groups: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw for each case another case of the same group and of another patient.

    The cases of a group are sorted by patients in random order, and each gets the case that is as many places
    ahead as one patient has cases at most. So each case is drawn exactly once, unless one patient has more
    than half of the cases of a group: then they are drawn with repetition.

    Args:
        patients: Patient of each case, (N,).
        groups: Group of each case, (N,); −1 for cases that neither give nor get.
        seed: Random seed.

    Returns:
        Index of the drawn case, (N,); −1 for a case of no group, or of a group of one patient.
    """
    draw = np.random.default_rng([STREAM, seed])
    drawn = np.full(len(patients), -1, dtype=np.int64)
    for group in np.unique(groups[groups >= 0]):
        members = np.flatnonzero(groups == group)
        _, patient, counts = np.unique(patients[members], return_inverse=True, return_counts=True)
        rank, most = draw.permutation(len(counts)), int(counts.max())
        order = members[np.lexsort((draw.random(len(members)), rank[patient]))]
        if 2 * most <= len(members):
            drawn[order] = np.roll(order, -most)
        elif len(counts) > 1:
            for member, number in zip(members, patient, strict=True):
                drawn[member] = draw.choice(members[patient != number])
    return drawn


def groups(
    control: Control, gazed: NDArray[np.bool_], attended: NDArray[np.bool_], labels: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Group the cases that exchange their gaze, (N,): by labels if the control says so; −1 without gaze.

    Cases with boxes in place of gaze exchange these among themselves, so that the same cases have fixations.

    Args:
        control: One of `SHUFFLED`.
        gazed: Whether a case has a fixation, (N,).
        attended: Whether a case has a fixation, or boxes in place of gaze, (N,).
        labels: Labels (N, C).
    """
    group = np.where(gazed, 0, 1)
    if control == "shuffled_in_class" and len(labels):
        _, same = np.unique(labels, axis=0, return_inverse=True)
        group = group + 2 * same.reshape(-1)
    return np.where(attended, group, -1).astype(np.int64)


def given(ends: NDArray[np.int64], donors: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give each case the rows of its donor.

    Args:
        ends: Ends (N + 1,) of the rows of each case.
        donors: Donor of each case, (N,); −1 for none.

    Returns:
        The rows of all cases, in order, and their ends (N + 1,).
    """
    rows = [np.arange(*((ends[d], ends[d + 1]) if d >= 0 else (0, 0)), dtype=np.int64) for d in donors]
    return np.concatenate(rows or [donors[:0]]), np.cumsum([0, *map(len, rows)])


def scaled(where: Geometry, rows: int, columns: int) -> Geometry:
    """Place an image of another size where a case's image lies on a map, scaled to its size."""
    return replace(
        where,
        rows=rows,
        columns=columns,
        scale_x=where.scale_x * where.columns / columns,
        scale_y=where.scale_y * where.rows / rows,
    )


def moved(square: NDArray[np.uint8], donor: Frame, receiver: Frame, fit: Fit) -> NDArray[np.uint8]:
    """Move a map (S, S) of one case's image to where another's lies, scaled to that image's size."""
    if fit == "stretch":
        return square
    size = len(square)
    (left, top, right, bottom), place = (_seen(frame, fit, size) for frame in (donor, receiver))
    image = Image.fromarray(square).crop((left, top, right, bottom))
    resized = image.resize((place[2] - place[0], place[3] - place[1]), Image.Resampling.BILINEAR)
    drawn = np.zeros_like(square)
    drawn[place[1] : place[3], place[0] : place[2]] = np.asarray(resized)
    return drawn


def check(control: Control, had: NDArray[np.bool_], has: NDArray[np.bool_]) -> None:
    """Check that a control leaves some case with gaze.

    Args:
        control: The control.
        had: Whether each case has gaze, (N,).
        has: Whether each case has something that stands in for it, (N,).

    Raises:
        UserError: Some cases have gaze, and none of them has anything that stands in for it.
    """
    if not had.any() or has.any():
        return
    why = {
        "shuffled": "it is all of one patient",
        "shuffled_in_class": "no two patients have the same labels",
        "box": "the store has no boxes or masks of findings of these cases",
    }
    raise UserError(
        f"`gaze.control={control}` leaves none of {had.sum():,} cases with gaze: "
        f"{why.get(control, 'there is nothing to stand in for it')}; give another control"
    )


def _seen(frame: Frame, fit: Fit, size: int) -> tuple[int, int, int, int]:
    """The part of the model's input that shows the image: left, top, right, bottom in whole pixels."""
    where = frame.geometry(fit, size)
    left, top = round(where.shift_x), round(where.shift_y)
    right = round(where.shift_x + where.columns * where.scale_x)
    bottom = round(where.shift_y + where.rows * where.scale_y)
    return left, top, max(left + 1, right), max(top + 1, bottom)
