"""Who trains, who validates and who tests: whole patients, never single cases."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

SHARES = {"train": 0.8, "validate": 0.1, "test": 0.1}

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
    """A split 80/10/10 of the cases with class shares as even as whole patients allow.

    Args:
        patients: The patient of each case.
        classes: The class of each case; or, where it may have several, all of them as a frozenset.
        seed: Of the order.
    """
    return _dealt(patients, classes, SHARES, seed)


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
    validate = min(0.5, SHARES["validate"] / (1 - 1 / folds))
    shares = {"train": 1 - validate, "validate": validate}
    others = _dealt([p for p, _ in rest], [c for _, c in rest], shares, seed + 1)
    return {patient: "test" if own == fold else others[patient] for patient, own in fold_of.items()}


def _dealt(
    patients: Sequence[Patient], classes: Sequence[Hashable], shares: Mapping[Part, float], seed: int
) -> dict[Patient, Part]:
    """Patients in random order, those with most cases first; each goes where its classes are wanted most."""
    if any(isinstance(name, frozenset) for name in classes):
        return _dealt_by_rarest(patients, [frozenset(name) for name in classes], shares, seed)  # type: ignore[call-overload]
    totals = Counter(classes)
    wanted = {part: {name: share * totals[name] for name in totals} for part, share in shares.items()}
    own = _counted(patients, zip(classes))
    order = list(own)
    random.Random(seed).shuffle(order)  # noqa: S311
    order.sort(key=lambda patient: -own[patient].total())
    found: dict[Patient, Part] = {}
    for patient in order:
        found[patient] = max(
            shares, key=lambda part: sum(wanted[part][name] * n for name, n in own[patient].items())
        )
        for name, count in own[patient].items():
            wanted[found[patient]][name] -= count
    return found


def _dealt_by_rarest(
    patients: Sequence[Patient],
    classes: Sequence[frozenset[Hashable]],
    shares: Mapping[Part, float],
    seed: int,
) -> dict[Patient, Part]:
    """Iterative stratification (Sechidis et al. 2011, "On the stratification of multi-label data", alg. 1).

    The class that fewest of the cases left have is dealt out first, each of its cases to the part that wants
    most of it, and of those to the one with most room. Here whole patients are dealt, and what cases have no
    class go last, where there is room.
    """
    wanted = {
        part: defaultdict(
            float, {name: share * n for name, n in Counter(c for own in classes for c in own).items()}
        )
        for part, share in shares.items()
    }
    room = {part: share * len(classes) for part, share in shares.items()}
    own = _counted(patients, classes)
    cases = Counter(patients)
    order = list(own)
    random.Random(seed).shuffle(order)  # noqa: S311
    order.sort(key=lambda patient: -cases[patient])
    found: dict[Patient, Part] = {}

    def deal(patient: Patient, name: Hashable) -> None:
        part = max(shares, key=lambda part: (wanted[part][name], room[part]))
        found[patient] = part
        room[part] -= cases[patient]
        for of_it, count in own[patient].items():
            wanted[part][of_it] -= count

    while left := sum((own[patient] for patient in order if patient not in found), Counter[Hashable]()):
        rarest = min(left, key=lambda name: (left[name], str(name)))
        for patient in order:
            if patient not in found and own[patient][rarest]:
                deal(patient, rarest)
    for patient in order:
        if patient not in found:
            deal(patient, None)
    return found


def _counted(
    patients: Sequence[Patient], classes: Iterable[Iterable[Hashable]]
) -> dict[Patient, Counter[Hashable]]:
    """How often each patient has each class; one counter for all who have the same, as they may be many."""
    own: dict[Patient, tuple[tuple[Hashable, int], ...]] = {}
    same: dict[tuple[tuple[Hashable, int], ...], tuple[tuple[Hashable, int], ...]] = {}
    for patient, names in zip(patients, classes, strict=True):
        seen = dict(own.get(patient, ()))
        for name in names:
            seen[name] = seen.get(name, 0) + 1
        counts = tuple(seen.items())
        own[patient] = same.setdefault(counts, counts)
    counters = {counts: Counter(dict(counts)) for counts in set(own.values())}
    return {patient: counters[counts] for patient, counts in own.items()}
