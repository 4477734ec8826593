"""Splits into training, validation and test patients."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from math import floor
from typing import TypeVar

from radgaze.sources.balanced import ZERO, balanced_rounding

SHARE, MOST = 0.1, 0.2
"""Share of the patients in the test split, and in the validation split: usual share, and largest share where
there are few patients."""

PATIENTS, CASES = 0, 1
"""Rows of `balanced_rounding` for the numbers of patients and of cases; the rows of classes follow."""

Patient = TypeVar("Patient", bound=Hashable)
Part = TypeVar("Part", bound=Hashable)


def published_split(patient_ids: Sequence[Patient], seed: int = 42) -> dict[Patient, str]:
    """Split patients as the published baselines of egd-cxr do.

    The unique patients are shuffled by Python's `random` with the seed; the first 80% are the training split,
    half of the others the validation split, and the rest the test split. The baselines split all rows of the
    master sheet, so `patient_ids` must be those of all rows, including rejected cases.

    Args:
        patient_ids: Patient of each row, in the order of the file.
        seed: Random seed; that of the baselines is 42.

    Returns:
        The split of each patient, "train", "validate" or "test".
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
    """Split patients 80/10/10, with class shares as even as whole patients allow.

    Each patient is in the test split with the same probability, and in the validation split with the same
    probability, whatever their number of cases and classes. With fewer than ten patients per class, both
    probabilities are above a tenth, see `held_out_share`.

    Args:
        patients: Patient of each case.
        classes: Class of each case; for classes that are not exclusive, the frozenset of its classes.
        seed: Random seed.

    Returns:
        The split of each patient, "train", "validate" or "test".
    """
    share = held_out_share(patients, classes)
    return _dealt(patients, classes, {"test": share, "validate": share, "train": 1 - 2 * share}, seed)


def held_out_share(patients: Sequence[Hashable], classes: Sequence[Hashable]) -> float:
    """Compute the share of patients in the test split, which is also that of the validation split.

    It is a tenth or, where that is fewer patients than there are classes, the share of as many patients as
    classes, up to a fifth. With three or four patients it is the share of one patient.

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
    """Split patients for one fold of a cross-validation.

    The fold is the test split; about a tenth of all patients are the validation split (`held_out_share`), and
    the rest the training split. For a given seed each patient is in exactly one fold.

    Args:
        patients: Patient of each case.
        classes: Class of each case, or the frozenset of its classes.
        seed: Random seed.
        folds: Number of folds, at least 2.
        fold: Index of the test fold, from 0.

    Returns:
        The split of each patient, "train", "validate" or "test".

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


def validation_split(
    patients: Sequence[Patient], classes: Sequence[Hashable], seed: int
) -> dict[Patient, str]:
    """Split patients that are not tested: about a tenth of them (`held_out_share`) for validation.

    Args:
        patients: Patient of each case.
        classes: Class of each case, or the frozenset of its classes.
        seed: Random seed.

    Returns:
        The split of each patient, "train" or "validate".
    """
    share = held_out_share(patients, classes)
    return _dealt(patients, classes, {"validate": share, "train": 1 - share}, seed)


def _dealt(
    patients: Sequence[Patient],
    classes: Sequence[Hashable],
    shares: Mapping[Part, float],
    seed: int,
) -> dict[Patient, Part]:
    """Assign patients to parts at random, with the parts' shares as probabilities, whatever their cases.

    Patients with the same number of cases of each class are of one kind. A part gets its share of each kind,
    rounded up or down. The rounding is drawn for all kinds jointly, so that the numbers of patients, of cases
    and of cases of each class are even between parts (see `balanced_rounding`). The patients of a kind have
    equal chances. The remaining patients are assigned to the next part in the same way.

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
    # Patients with many cases come first, so that those that remain at the end have few.
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
"""Numbers of patients (1), of cases, and of cases of each class, the rarest first, as ((row, number), …)."""


def _kinds(patients: Sequence[Patient], classes: Sequence[Hashable]) -> tuple[dict[Kind, list[Patient]], int]:
    """The patients of each kind, in order; and the number of rows."""
    listed = [tuple(sorted(name, key=str)) if isinstance(name, frozenset) else (name,) for name in classes]
    totals = Counter(name for names in listed for name in names)
    rank = {name: 2 + place for place, name in enumerate(sorted(totals, key=lambda n: (totals[n], str(n))))}
    # One tuple for all patients of a kind, to save memory.
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
