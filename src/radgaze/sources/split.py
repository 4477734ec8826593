"""Who trains, who validates and who tests: whole patients, never single cases."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

SHARES = {"train": 0.8, "validate": 0.1, "test": 0.1}

Patient = TypeVar("Patient", bound=Hashable)


def published_split(patient_ids: Sequence[Patient]) -> dict[Patient, str]:
    """The split of the data set's published baselines: {patient: "train" | "validate" | "test"}.

    Python's `random`, seeded with 42, shuffles the unique patients; the first 80% train, half of the rest
    validates, the remainder tests. It was taken over all rows of the master sheet, so hand over all of them,
    in the sheet's order, also those of cases that are rejected.

    Args:
        patient_ids: The patient of each row, in file order.
    """
    unique = list(dict.fromkeys(patient_ids))
    random.Random(42).shuffle(unique)  # noqa: S311  a split is no secret
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

    Patients come in random order, those with most cases first; each goes where its classes are wanted most.

    Args:
        patients: The patient of each case.
        classes: The class of each case.
        seed: Of the order.
    """
    cases = list(zip(patients, classes, strict=True))
    totals = Counter(classes)
    wanted = {split: {name: share * totals[name] for name in totals} for split, share in SHARES.items()}
    own: dict[Patient, Counter[Hashable]] = {}
    for patient, name in cases:
        own.setdefault(patient, Counter())[name] += 1
    order = list(own)
    random.Random(seed).shuffle(order)  # noqa: S311
    order.sort(key=lambda patient: -own[patient].total())
    found: dict[Patient, str] = {}
    for patient in order:
        found[patient] = max(
            SHARES, key=lambda split: sum(wanted[split][name] * n for name, n in own[patient].items())
        )
        for name, count in own[patient].items():
            wanted[found[patient]][name] -= count
    return found
