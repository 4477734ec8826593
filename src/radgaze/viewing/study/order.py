"""The order of a reader's cases: counterbalanced, and the same for a seed and a reader's place in the list.

Over a number of readers that is a multiple of the rows of the square, each case is read equally often in each
condition and, in a crossover, in each order of any two conditions in successive sessions (Williams 1949).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from radgaze.viewing.study.design import Design
from radgaze.words import count

RESTARTS = 200
"""Attempts to find a sequence whose pairs of successive conditions are equally frequent."""


@dataclass(frozen=True)
class Trial:
    """One case to be read by one reader.

    Attributes:
        session: Number of the session, from 1.
        place: Number of the case within the session, from 1, practice included.
        case_id: Id of the case.
        condition: Name of the condition.
        practice: Whether the case is for practice.
    """

    session: int
    place: int
    case_id: str
    condition: str
    practice: bool = False


def williams(conditions: int) -> list[list[int]]:
    """Make a Latin square in which each condition follows each other one equally often (Williams 1949).

    Returns:
        As many rows as conditions for an even number, twice as many for an odd one.
    """
    first, low, high = [0], 1, conditions - 1
    while low <= high:
        first.append(low)
        if low != high:
            first.append(high)
        low, high = low + 1, high - 1
    rows = [[(c + shift) % conditions for c in first] for shift in range(conditions)]
    return rows if conditions % 2 == 0 else rows + [row[::-1] for row in rows]


def rows_of(design: Design) -> int:
    """Number of readers that a balanced design needs, or a multiple of it."""
    return len(williams(len(design.conditions))) if design.sessions > 1 else len(design.conditions)


def trials(design: Design, case_ids: Sequence[str], practice: Sequence[str], reader: str) -> list[Trial]:
    """The trials of a reader, in their order.

    Args:
        design: The design.
        case_ids: Cases that count, sorted so that those of a class stand together.
        practice: Cases for practice.
        reader: Code of the reader.
    """
    # The rank of a case among all is what spreads the conditions over the cases of each class.
    rank = _ranks(design, case_ids)
    number = design.readers.index(reader)
    names = [each.name for each in design.conditions]
    square = williams(len(names)) if design.sessions > 1 else [[k] for k in range(len(names))]
    ordered = list[Trial]()
    for session in range(1, design.sessions + 1):
        rng = np.random.default_rng([design.seed, 1, number, session])
        shown = [(each, names[k % len(names)], True) for k, each in enumerate(practice) if session == 1]
        of_condition: dict[str, list[str]] = {name: [] for name in names}
        for case_id in case_ids:
            row = square[(rank[case_id] + number) % len(square)]
            of_condition[names[row[session - 1]]].append(case_id)
        for members in of_condition.values():
            rng.shuffle(members)
        sequence = _sequence(design, {name: len(of_condition[name]) for name in names}, number, session, rng)
        shown += [(of_condition[name].pop(), name, False) for name in sequence]
        ordered += [
            Trial(session, place, case_id, name, is_practice)
            for place, (case_id, name, is_practice) in enumerate(shown, 1)
        ]
    return ordered


def imbalance(design: Design, cases: int) -> str | None:
    """Say what keeps a design from being balanced exactly; None where it is."""
    parts = list[str]()
    readers, conditions = len(design.readers), len(design.conditions)
    if readers % rows_of(design):
        parts.append(
            f"{count(readers, 'reader')} is no multiple of {rows_of(design)}, so that cases are not read "
            "equally often in each " + ("order of the conditions" if design.sessions > 1 else "condition")
        )
    if cases % conditions:
        parts.append(
            f"{count(cases, 'case')} is no multiple of {conditions}, so that a reader has not as many of "
            "each condition"
        )
    return "; ".join(parts) or None


def _ranks(design: Design, case_ids: Sequence[str]) -> dict[str, int]:
    """The place of each case within a random order of each run of as many cases as the square has rows."""
    rng = np.random.default_rng([design.seed, 0])
    rows = rows_of(design)
    ranks = np.concatenate([rng.permutation(rows) for _ in range(0, len(case_ids), rows)])
    return dict(zip(case_ids, ranks[: len(case_ids)].tolist(), strict=True))


def _sequence(
    design: Design, counts: dict[str, int], number: int, session: int, rng: np.random.Generator
) -> list[str]:
    """Conditions of the cases of a session, in their order."""
    names = list(counts)
    if design.order == "blocks":
        blocks = williams(len(names))
        row = blocks[(number + session - 1) % len(blocks)]
        return [names[k] for k in row for _ in range(counts[names[k]])]
    best, least = list[str](), len(names) ** 2 * max(1, sum(counts.values()))
    for _ in range(RESTARTS):
        sequence = _draw(counts, rng)
        uneven = unevenness(sequence, names)
        if uneven < least:
            best, least = sequence, uneven
        if least <= 1:
            break
    return best


def _draw(counts: dict[str, int], rng: np.random.Generator) -> list[str]:
    """Draw a sequence, each time among the conditions that followed the last one least often so far."""
    left, followed, sequence = dict(counts), Counter[tuple[str, str]](), list[str]()
    while any(left.values()):
        possible = [name for name, number in left.items() if number]
        rng.shuffle(possible)
        last = sequence[-1] if sequence else ""
        following = min(possible, key=lambda name: (followed[last, name], -left[name]))
        followed[last, following] += 1
        left[following] -= 1
        sequence.append(following)
    return sequence


def unevenness(sequence: Sequence[str], names: Sequence[str]) -> int:
    """Difference between the most and the least frequent pair of successive conditions."""
    pairs = Counter(pairwise(sequence))
    numbers = [pairs[a, b] for a in names for b in names]
    return max(numbers) - min(numbers)
