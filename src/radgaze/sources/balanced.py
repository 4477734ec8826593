"""Random selection of a part of a population, with exact probabilities and totals as even as possible."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

ZERO = 1e-9
"""Probabilities below it are 0: they are rounding errors."""

_NONE = 1e-6
"""Amounts below it are 0: exact amounts are integers, with rounding errors of each step."""


def balanced_rounding(
    chances: Sequence[float], amounts: Sequence[Mapping[int, float]], rows: int, draw: random.Random
) -> list[int]:
    """Round each probability to 0 or 1 at random, so that its expected value is exactly the probability.

    The sums over units of amount times probability are preserved as nearly as whole units allow. This is the
    cube method (Deville and Tillé, "Efficient balanced sampling: the cube method", Biometrika 2004) with the
    fast flight of Chauvet and Tillé 2006. When no move preserves all sums, the constraint of the last sum is
    dropped, then that of the one before it, and so on.

    The same probabilities, amounts and seed give the same result on every machine: only additions,
    multiplications and divisions of single numbers are used, whose rounding is standardised.

    Args:
        chances: Probability of each unit, in [0, 1].
        amounts: Contribution of each unit to each sum: {row: amount}, without zeros. Units with large amounts
            should come first, so that the units that remain at the end have small ones.
        rows: Number of sums, the most important first.
        draw: Random generator.

    Returns:
        0 or 1 for each unit.
    """
    x = [0.0 if p < ZERO else 1.0 if p > 1 - ZERO else p for p in chances]
    open_ = [unit for unit, p in enumerate(x) if 0 < p < 1]
    for sums in range(rows, -1, -1):
        open_ = _flight(x, open_, amounts, sums, draw)
    return [round(p) for p in x]


def _flight(
    x: list[float],
    units: Sequence[int],
    amounts: Sequence[Mapping[int, float]],
    rows: int,
    draw: random.Random,
) -> list[int]:
    """Move the probabilities of units at random, preserving the first `rows` sums, until no move is possible.

    Units are added one after another. Those that are not yet 0 or 1 are `held`, and their amounts are
    linearly independent: `reduced` times the amounts of the unit held at a row is 1 at that row and 0 at all
    others. A new unit whose amounts are independent of theirs is held as well; otherwise all of them move
    together until one has reached 0 or 1.

    Returns:
        The units that are not yet 0 or 1, at most as many as rows.
    """
    reduced: NDArray[np.float64] = np.eye(rows)
    held: dict[int, int] = {}
    for unit in units:
        column = np.zeros(rows)
        for row, amount in amounts[unit].items():
            if row < rows:
                column = column + amount * reduced[:, row]
        free = [row for row in range(rows) if row not in held and abs(column[row]) > _NONE]
        if free:
            place = max(free, key=lambda row: abs(column[row]))
        else:
            moves = {unit: 1.0} | {
                other: -float(column[row]) for row, other in held.items() if abs(column[row]) > _NONE
            }
            _move(x, moves, draw)
            ended = [row for row, other in held.items() if not 0 < x[other] < 1]
            for row in ended:
                del held[row]
            if not 0 < x[unit] < 1:
                continue
            place = max(ended, key=lambda row: abs(column[row]))
        pivot = reduced[place] / column[place]
        reduced = reduced - column[:, None] * pivot
        reduced[place] = pivot
        held[place] = unit
    return sorted(held.values())


def _move(x: list[float], moves: Mapping[int, float], draw: random.Random) -> None:
    """Move along a direction or against it until a unit reaches 0 or 1; the expected move is 0."""
    forth = min((1 - x[unit] if by > 0 else x[unit]) / abs(by) for unit, by in moves.items())
    back = min((x[unit] if by > 0 else 1 - x[unit]) / abs(by) for unit, by in moves.items())
    step = forth if draw.random() * (forth + back) < back else -back
    for unit, by in moves.items():
        moved = x[unit] + step * by
        x[unit] = 0.0 if moved < ZERO else 1.0 if moved > 1 - ZERO else moved
