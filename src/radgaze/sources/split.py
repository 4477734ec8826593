"""Who trains, who validates and who tests: whole patients, never single cases."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

SHARES = {"train": 0.8, "validate": 0.1, "test": 0.1}

BLOCK = 10
"""Patients in a row of whom every part gets its share."""

DRAWS, WORK = 64, 200_000
"""Draws of which the most even one is taken, and patients dealt in all of them at most."""

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
    """Patients dealt at random, so that the parts are exchangeable, with even classes.

    Patients with the same classes stand together, in random order, and of every ten in a row each part gets
    its share: a patient comes to a part with the probability of its share, however many cases it has. Of
    several such draws the one with the most even classes is taken. Then a class that a part has none of gets
    a patient there, where it has some to spare.
    """
    listed = [tuple(sorted(name, key=str)) if isinstance(name, frozenset) else (name,) for name in classes]
    own = _counted(patients, listed)
    totals = Counter(name for names in listed for name in names)
    draw = random.Random(seed)  # noqa: S311  a split is no secret
    rank = {name: place for place, name in enumerate(sorted(totals, key=lambda n: (totals[n], str(n))))}
    profiles = {id(counts): sorted((rank[name], n) for name, n in counts.items()) for counts in own.values()}
    best: tuple[float, dict[Patient, Part]] | None = None
    for _ in range(max(1, min(DRAWS, WORK // max(1, len(own))))):
        order = list(own)
        draw.shuffle(order)
        order.sort(key=lambda patient: profiles[id(own[patient])])
        found = dict(zip(order, _in_blocks(len(order), shares, draw), strict=True))
        uneven = _unevenness(found, own, totals, shares)
        if best is None or uneven < best[0]:
            best = uneven, found
    assert best is not None
    return _with_every_class(best[1], own, shares, draw)


def _in_blocks(count: int, shares: Mapping[Part, float], draw: random.Random) -> Iterator[Part]:
    """Parts of patients in a row: of each ten every part gets its share, in random order."""
    parts, ends = list(shares), list(accumulate(shares.values()))
    for start in range(0, count, BLOCK):
        for place in draw.sample(range(BLOCK), min(BLOCK, count - start)):
            at = (place + draw.random()) / BLOCK * ends[-1]
            yield parts[min(bisect_right(ends, at), len(parts) - 1)]


def _unevenness(
    found: Mapping[Patient, Part],
    own: Mapping[Patient, Counter[Hashable]],
    totals: Mapping[Hashable, int],
    shares: Mapping[Part, float],
) -> float:
    """χ² of the classes' cases in the parts against their shares."""
    counts: Counter[tuple[Part, Hashable]] = Counter()
    for patient, part in found.items():
        for name, n in own[patient].items():
            counts[part, name] += n
    wanted = {(part, name): share * totals[name] for part, share in shares.items() for name in totals}
    return sum((counts[place] - number) ** 2 / number for place, number in wanted.items())


def _with_every_class(
    found: dict[Patient, Part],
    own: Mapping[Patient, Counter[Hashable]],
    shares: Mapping[Part, float],
    draw: random.Random,
) -> dict[Patient, Part]:
    """A patient of each class in every part, as far as there are as many, taken where the class has most."""
    holders: dict[Hashable, dict[Part, list[Patient]]] = defaultdict(lambda: {part: [] for part in shares})
    for patient, part in found.items():
        for name in own[patient]:
            holders[name][part].append(patient)
    for name in sorted(holders, key=lambda name: (sum(map(len, holders[name].values())), str(name))):
        for part in shares:
            most = max(shares, key=lambda other: len(holders[name][other]))
            # Not the last patient there of any of its classes.
            able = [p for p in holders[name][most] if all(len(holders[c][most]) > 1 for c in own[p])]
            if holders[name][part] or not able:
                continue
            patient = draw.choice(able)
            found[patient] = part
            for of_it in own[patient]:
                holders[of_it][most].remove(patient)
                holders[of_it][part].append(patient)
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
