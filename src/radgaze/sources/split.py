"""Splits into training, validation and test patients."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from math import floor
from typing import TypeVar

from radgaze.sources.balanced import ZERO, balanced_rounding

SHARE, MOST = 0.1, 0.2
"""Share of the patients in the test split, and in validation: usual, and largest where there are few."""

PATIENTS, CASES = 0, 1
"""The rows of `balanced_rounding` that belong to no class."""

Patient = TypeVar("Patient", bound=Hashable)
Part = TypeVar("Part", bound=Hashable)


def published_split(patient_ids: Sequence[Patient], seed: int = 42) -> dict[Patient, str]:
    """The split of the data set's published baselines: {patient: "train" | "validate" | "test"}.

    Python's `random`, seeded, shuffles the unique patients; the first 80% train, half of the rest
    validates, the remainder tests. The baselines split all rows of the master sheet, so give all of them, in
    the sheet's order, with those of rejected cases.

    Args:
        patient_ids: Patient of each row, in file order.
        seed: Random seed; the baselines' is 42.
    """
    unique = list(dict.fromkeys(patient_ids))
    random.Random(seed).shuffle(unique)  # noqa: S311  no secret
    train = round(0.8 * len(unique))
    validate = round(0.5 * (len(unique) - train))
    return {
        patient: "train" if place < train else "validate" if place < train + validate else "test"
        for place, patient in enumerate(unique)
    }


def stratified_split(
    patients: Sequence[Patient], classes: Sequence[Hashable], seed: int
) -> dict[Patient, str]:
    """A split 80/10/10 of the patients with class shares as even as whole patients allow.

    Each patient is in the test split with the same probability, and in validation with the same, whatever
    number of cases and classes it has. Where there are fewer than ten patients a class, both probabilities
    are higher than a tenth, so that as many patients test as there are classes: see `held_out_share`.

    Args:
        patients: Patient of each case.
        classes: Class of each case; or, where it may have several, all of them as a frozenset.
        seed: Random seed.
    """
    share = held_out_share(patients, classes)
    return _dealt(patients, classes, {"test": share, "validate": share, "train": 1 - 2 * share}, seed)


def held_out_share(patients: Sequence[Hashable], classes: Sequence[Hashable]) -> float:
    """The share of patients in the test split, which is also that of validation.

    A tenth; where that is fewer patients than classes, as many as there are classes, up to a fifth; and one
    patient where there are three or four.

    Args:
        patients: Patient of each case.
        classes: Class of each case, or the frozenset of its classes.
    """
    count = max(1, len(set(patients)))
    names = {name for one in classes for name in (one if isinstance(one, frozenset) else (one,))}
    return max(min(max(SHARE, len(names) / count), MOST), min(1 / count, 1 / 3))


def fold_split(
    patients: Sequence[Patient], classes: Sequence[Hashable], seed: int, *, folds: int, fold: int
) -> dict[Patient, str]:
    """The split of a cross-validation that tests one fold; a tenth of all cases validates, the rest trains.

    Each patient is in exactly one of the folds of a seed.

    Args:
        patients: Patient of each case.
        classes: Class of each case, or the frozenset of its classes.
        seed: Random seed.
        folds: Number of folds, at least 2.
        fold: Index of the test fold, from 0.

    Raises:
        ValueError: There is no such fold.
    """
    if folds < 2 or not 0 <= fold < folds:
        raise ValueError(f"there is no fold {fold} of {folds}; folds are 2 or more, numbered from 0")
    fold_of = _dealt(patients, classes, dict.fromkeys(range(folds), 1 / folds), seed)
    rest = [case for case in zip(patients, classes, strict=True) if fold_of[case[0]] != fold]
    validate = min(0.5, held_out_share(patients, classes) / (1 - 1 / folds))
    shares = {"validate": validate, "train": 1 - validate}
    others = _dealt([p for p, _ in rest], [c for _, c in rest], shares, seed + 1)
    return {patient: "test" if part == fold else others[patient] for patient, part in fold_of.items()}


def _dealt(
    patients: Sequence[Patient],
    classes: Sequence[Hashable],
    shares: Mapping[Part, float],
    seed: int,
) -> dict[Patient, Part]:
    """Deal patients at random: each comes to a part with the probability of its share, whatever its cases.

    Patients with as many cases of the same classes are a kind. Of each kind a part gets its share, rounded
    up or down; which of the two is drawn for all kinds together, so that the parts' numbers of patients, of
    cases and of each class's cases are even (see `balanced_rounding`). Who of a kind comes to it is drawn
    with equal chances. What is left over is dealt to the next part in the same way.

    Args:
        patients: Patient of each case.
        classes: Class of each case, or the frozenset of its classes.
        shares: Share of each part; they sum to 1.
        seed: Random seed.
    """
    kinds, rows = _kinds(patients, classes)
    draw = random.Random(seed)  # noqa: S311  no secret
    order = list(kinds)
    draw.shuffle(order)
    # Patients with many cases first, so that the remainder at the end is of patients with few.
    order.sort(key=lambda kind: -dict(kind)[CASES])
    groups = [(dict(kind), kinds[kind]) for kind in order]
    for _, group in groups:
        draw.shuffle(group)
    *others, last = shares
    part_of: dict[Patient, Part] = {}
    left = 1.0
    for part in others:
        share = shares[part] / left
        left -= shares[part]
        least = [floor(share * len(group) + ZERO) for _, group in groups]
        chances = [share * len(group) - n for n, (_, group) in zip(least, groups, strict=True)]
        more = balanced_rounding(chances, [amounts for amounts, _ in groups], rows, draw)
        for (_, group), n, one in zip(groups, least, more, strict=True):
            for _ in range(n + one):
                part_of[group.pop()] = part
    return part_of | {patient: last for _, group in groups for patient in group}


Kind = tuple[tuple[int, int], ...]
"""Number of patients (1), of cases, and of cases of each class, the rarest first: ((row, number), …)."""


def _kinds(patients: Sequence[Patient], classes: Sequence[Hashable]) -> tuple[dict[Kind, list[Patient]], int]:
    """The patients of each kind, in their order; and the number of rows."""
    listed = [tuple(sorted(name, key=str)) if isinstance(name, frozenset) else (name,) for name in classes]
    totals = Counter(name for names in listed for name in names)
    rank = {name: 2 + place for place, name in enumerate(sorted(totals, key=lambda n: (totals[n], str(n))))}
    # One tuple for all patients of a kind, as they may be many.
    kind_of: dict[Patient, Kind] = {}
    same: dict[Kind, Kind] = {}
    for patient, names in zip(patients, listed, strict=True):
        seen = dict(kind_of.get(patient, ((PATIENTS, 1),)))
        for row in (CASES, *(rank[name] for name in names)):
            seen[row] = seen.get(row, 0) + 1
        kind = tuple(sorted(seen.items()))
        kind_of[patient] = same.setdefault(kind, kind)
    kinds: dict[Kind, list[Patient]] = defaultdict(list)
    for patient, kind in kind_of.items():
        kinds[kind].append(patient)
    return dict(kinds), 2 + len(rank)
