"""Who trains, who validates and who tests: whole patients, never single cases."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from math import floor
from typing import TypeVar

from radgaze.sources.balanced import ZERO, balanced_rounding

SHARE, MOST = 0.1, 0.2
"""Of the patients, how many test, and as many validate: as a rule, and at most where there are few."""

PATIENTS, CASES = 0, 1
"""The rows of `balanced_rounding` that are no class's."""

Patient = TypeVar("Patient", bound=Hashable)
Part = TypeVar("Part", bound=Hashable)


def published_split(patient_ids: Sequence[Patient], seed: int = 42) -> dict[Patient, str]:
    """The split of the data set's published baselines: {patient: "train" | "validate" | "test"}.

    Python's `random`, seeded, shuffles the unique patients; the first 80% train, half of the rest
    validates, the remainder tests. It was taken over all rows of the master sheet, so hand over all of them,
    in the sheet's order, also those of cases that are rejected.

    Args:
        patient_ids: The patient of each row, in file order.
        seed: Theirs was 42.
    """
    unique = list(dict.fromkeys(patient_ids))
    random.Random(seed).shuffle(unique)  # noqa: S311  a split is no secret
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

    Every patient tests with the same chance, and validates with the same, whatever number of cases and which
    classes it has. Where there are fewer than ten patients a class, the chance of either is higher than a
    tenth, for all alike, so that as many test as there are classes: see `held_out_share`.

    Args:
        patients: The patient of each case.
        classes: The class of each case; or, where it may have several, all of them as a frozenset.
        seed: Of the order.
    """
    share = held_out_share(patients, classes)
    return _dealt(patients, classes, {"test": share, "validate": share, "train": 1 - 2 * share}, seed)


def held_out_share(patients: Sequence[Hashable], classes: Sequence[Hashable]) -> float:
    """The share of patients that test, and that of those that validate.

    A tenth; where that is fewer patients than classes, as many as there are classes, up to a fifth; and one
    patient where there are three or four.

    Args:
        patients: The patient of each case.
        classes: The class of each case, or the frozenset of its classes.
    """
    count = max(1, len(set(patients)))
    names = {name for own in classes for name in (own if isinstance(own, frozenset) else (own,))}
    return max(min(max(SHARE, len(names) / count), MOST), min(1 / count, 1 / 3))


def fold_split(
    patients: Sequence[Patient], classes: Sequence[Hashable], seed: int, *, folds: int, fold: int
) -> dict[Patient, str]:
    """The split of one fold of a cross-validation: it tests, a tenth of all cases validates, the rest trains.

    Every patient tests in exactly one of the folds of a seed.

    Args:
        patients: The patient of each case.
        classes: The class of each case, or the frozenset of its classes.
        seed: Of the order.
        folds: How many, at least 2.
        fold: Which, from 0.

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
    return {patient: "test" if own == fold else others[patient] for patient, own in fold_of.items()}


def _dealt(
    patients: Sequence[Patient],
    classes: Sequence[Hashable],
    shares: Mapping[Part, float],
    seed: int,
) -> dict[Patient, Part]:
    """Patients dealt at random: each comes to a part with the chance of its share, whatever its cases are.

    Patients with as many cases of the same classes are a kind. Of each kind a part gets its share, rounded
    up or down; which of the two is drawn for all kinds together, so that the parts' numbers of patients, of
    cases and of each class's cases are even (see `balanced_rounding`). Who of a kind comes to it is drawn
    with equal chances. What is left over is dealt to the next part in the same way.

    Args:
        patients: The patient of each case.
        classes: The class of each case, or the frozenset of its classes.
        shares: Of the parts, 1 in all.
        seed: Of the draw.
    """
    kinds, rows = _kinds(patients, classes)
    draw = random.Random(seed)  # noqa: S311  a split is no secret
    order = list(kinds)
    draw.shuffle(order)
    # The more cases, the sooner: what does not come out even at the end is then of patients with few.
    order.sort(key=lambda kind: -dict(kind)[CASES])
    groups = [(dict(kind), kinds[kind]) for kind in order]
    for _, group in groups:
        draw.shuffle(group)
    *others, last = shares
    found: dict[Patient, Part] = {}
    left = 1.0
    for part in others:
        share = shares[part] / left
        left -= shares[part]
        least = [floor(share * len(group) + ZERO) for _, group in groups]
        chances = [share * len(group) - n for n, (_, group) in zip(least, groups, strict=True)]
        more = balanced_rounding(chances, [amounts for amounts, _ in groups], rows, draw)
        for (_, group), n, one in zip(groups, least, more, strict=True):
            for _ in range(n + one):
                found[group.pop()] = part
    return found | {patient: last for _, group in groups for patient in group}


Kind = tuple[tuple[int, int], ...]
"""How many patients (1), cases, and cases of each class, the rarest first: ((row, number), …)."""


def _kinds(patients: Sequence[Patient], classes: Sequence[Hashable]) -> tuple[dict[Kind, list[Patient]], int]:
    """The patients of each kind, in the order in which they come; and how many rows there are."""
    listed = [tuple(sorted(name, key=str)) if isinstance(name, frozenset) else (name,) for name in classes]
    totals = Counter(name for names in listed for name in names)
    rank = {name: 2 + place for place, name in enumerate(sorted(totals, key=lambda n: (totals[n], str(n))))}
    # One tuple for all patients who have the same, as they may be many.
    own: dict[Patient, Kind] = {}
    same: dict[Kind, Kind] = {}
    for patient, names in zip(patients, listed, strict=True):
        seen = dict(own.get(patient, ((PATIENTS, 1),)))
        for row in (CASES, *(rank[name] for name in names)):
            seen[row] = seen.get(row, 0) + 1
        kind = tuple(sorted(seen.items()))
        own[patient] = same.setdefault(kind, kind)
    kinds: dict[Kind, list[Patient]] = defaultdict(list)
    for patient, kind in own.items():
        kinds[kind].append(patient)
    return dict(kinds), 2 + len(rank)
