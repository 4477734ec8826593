"""Splits: the published one in its exact order, and one with even classes; patients always apart."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pytest

from radgaze.sources.split import fold_split, held_out_share, published_split, stratified_split


def reference(ids: list[int]) -> tuple[list[int], list[int], list[int]]:
    """The published steps, typed again: seed, shuffle the unique ids in file order, cut twice."""
    unique = []
    for patient in ids:
        if patient not in unique:
            unique.append(patient)
    random.seed(42)
    random.shuffle(unique)
    n_train = round(0.8 * len(unique))
    n_val = round(0.5 * (len(unique) - n_train))
    return unique[:n_train], unique[n_train : n_train + n_val], unique[n_train + n_val :]


@pytest.mark.parametrize(
    ("rows", "patients"), [(1083, 1038), (1083, 1083), (7, 3), (1, 1), (23, 13), (31, 25)]
)
def test_published_split_is_the_reference_code_to_the_order(rows: int, patients: int) -> None:
    draw = np.random.default_rng(rows + patients)
    ids = [*range(patients), *draw.integers(0, patients, rows - patients)]
    ids = [10_000_000 + int(i) * 7 for i in draw.permutation(ids)]
    train, validate, test = reference(ids)
    found = published_split(ids)
    assert list(found) == train + validate + test
    assert list(found.values()) == (
        ["train"] * len(train) + ["validate"] * len(validate) + ["test"] * len(test)
    )


def test_published_split_of_the_first_ten_patients_never_changes() -> None:
    # Written down once: a Python that shuffles otherwise would silently move patients into the test set.
    assert [p for p, split in published_split(range(10)).items() if split == "train"] == [
        7,
        3,
        2,
        8,
        5,
        6,
        9,
        4,
    ]


def test_published_split_leaves_the_global_random_state_alone() -> None:
    random.seed(3)
    expected = random.random()
    random.seed(3)
    published_split(range(100))
    stratified_split(range(100), ["a"] * 100, 1)
    assert random.random() == expected


def real_like(seed: int) -> tuple[list[int], list[str]]:
    """1,083 cases of about 1,000 patients, some of them with two or more cases of any class."""
    draw = np.random.default_rng(seed)
    classes = ["CHF"] * 363 + ["pneumonia"] * 360 + ["Normal"] * 360
    patients = [int(i) for i in draw.permutation([*range(1000), *draw.integers(0, 60, 83)])]
    return patients, classes


@pytest.mark.parametrize("seed", range(4))
def test_stratified_split_has_even_shares_of_every_class(seed: int) -> None:
    patients, classes = real_like(seed)
    split = stratified_split(patients, classes, seed)
    counts = Counter((split[p], c) for p, c in zip(patients, classes, strict=True))
    for (part, name), count in counts.items():
        share = {"train": 0.8, "validate": 0.1, "test": 0.1}[part]
        # A patient's chance is a tenth exactly, so no draw is thrown away for being less even than others.
        assert abs(count - share * classes.count(name)) < 3.5
    assert len(counts) == 9
    assert set(split) == set(patients)


def several_each(seed: int) -> tuple[list[int], list[str]]:
    """300 patients of 1 to 7 cases, four of five of which have the patient's own class."""
    draw = np.random.default_rng(seed)
    patients = [patient for patient in range(300) for _ in range(int(draw.integers(1, 8)))]
    own = draw.integers(0, 3, 300)
    return patients, ["abc"[own[p] if draw.random() < 0.8 else draw.integers(3)] for p in patients]


def in_several_classes(seed: int) -> tuple[list[int], list[frozenset[str]]]:
    draw = np.random.default_rng(seed)
    has = {name: draw.random(500) < share for name, share in {"a": 0.5, "b": 0.2, "c": 0.03}.items()}
    classes = [frozenset(name for name in has if has[name][case]) for case in range(500)]
    return draw.integers(0, 350, 500).tolist(), classes


def with_very_many_images(seed: int) -> tuple[list[int], list[str]]:
    """200 patients: 120 of one image, 60 of 10 to 49, and 20 of 50 to 89."""
    draw = np.random.default_rng(seed)
    images = [1] * 120 + draw.integers(10, 50, 60).tolist() + draw.integers(50, 90, 20).tolist()
    patients = [patient for patient, count in enumerate(images) for _ in range(count)]
    return patients, draw.choice(["a", "b", "c"], len(patients)).tolist()


def of_tiny_classes(seed: int) -> tuple[list[int], list[str]]:
    """90 cases of 15 classes, of some 50 patients."""
    patients = np.random.default_rng(seed).integers(0, 60, 90).tolist()
    return patients, [f"class {case % 15}" for case in range(90)]


def of_classes_large_and_tiny(seed: int) -> tuple[list[int], list[str]]:
    """400 cases: two classes of 160 and ten of eight, of patients with one case or a few."""
    draw = np.random.default_rng(seed)
    classes = ["a"] * 160 + ["b"] * 160 + [f"class {case % 10}" for case in range(80)]
    return draw.integers(0, 300, 400).tolist(), classes


@pytest.mark.parametrize(
    ("make", "share"),
    [
        (in_several_classes, 0.1),
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                (real_like, 0.1),
                (several_each, 0.1),
                (with_very_many_images, 0.1),
                (of_tiny_classes, 0.2),
                (of_classes_large_and_tiny, 0.1),
            )
        ),
    ],
)
def test_a_patients_chance_is_the_share_whatever_its_cases_are(
    make: Callable[[int], tuple[list[int], Sequence[str | frozenset[str]]]], share: float
) -> None:
    """In each part, of each group and of each patient, over 250 seeds, within the simulation's own error."""
    seeds = 250
    patients, classes = make(0)
    assert held_out_share(patients, classes) == share
    cases = Counter(patients)
    has: dict[int, set[str]] = {patient: set() for patient in cases}
    for patient, own in zip(patients, classes, strict=True):
        has[patient] |= {own} if isinstance(own, str) else own
    rarest = sorted(Counter(name for own in has.values() for name in own).items(), key=lambda c: c[1])[0][0]
    here = Counter(
        item for seed in range(seeds) for item in stratified_split(patients, classes, seed).items()
    )
    groups = {
        "one case": [p for p in cases if cases[p] == 1],
        "several": [p for p in cases if 1 < cases[p] < 10],
        "many": [p for p in cases if 10 <= cases[p] < 50],
        "very many": [p for p in cases if cases[p] >= 50],
        "several classes": [p for p in cases if len(has[p]) > 1],
        "the rarest class": [p for p in cases if rarest in has[p]],
        **{str(patient): [patient] for patient in cases},
    }
    for (name, group), part in product(groups.items(), ("test", "validate")):
        if group:
            found, count = sum(here[p, part] for p in group) / len(group) / seeds, len(group) * seeds
            bound = 4.5 if len(group) == 1 else 3.5  # of thousands of patients some are off by chance
            assert abs(found - share) < bound * (share * (1 - share) / count) ** 0.5, (part, name, found)


def test_a_patient_tests_in_any_of_the_folds_and_validates_with_the_same_chance() -> None:
    seeds, (patients, classes) = 80, several_each(0)
    cases = Counter(patients)
    here: Counter[tuple[bool, str]] = Counter()
    for seed in range(seeds):
        found = fold_split(patients, classes, seed, folds=4, fold=2)
        here.update((cases[patient] > 1, part) for patient, part in found.items())
    for several in (False, True):
        count = seeds * sum((n > 1) == several for n in cases.values())
        for part, share in (("test", 0.25), ("validate", 0.1)):
            error = (share * (1 - share) / count) ** 0.5
            assert here[several, part] / count == pytest.approx(share, abs=3.5 * error), (several, part)


def test_as_many_patients_test_as_there_are_classes_up_to_a_fifth() -> None:
    classes = [f"class {case % 15}" for case in range(90)]
    for seed in range(5):
        split = stratified_split(range(90), classes, seed)
        assert Counter((split[case], name) for case, name in enumerate(classes)) == {
            (part, name): count
            for part, count in (("train", 4), ("validate", 1), ("test", 1))
            for name in classes
        }


@pytest.mark.parametrize(
    ("patients", "classes", "share"),
    [(1000, 3, 0.1), (30, 3, 0.1), (20, 3, 0.15), (12, 3, 0.2), (5, 2, 0.2), (4, 2, 1 / 4), (3, 3, 1 / 3)],
)
def test_a_tenth_tests_or_as_much_as_few_patients_need(patients: int, classes: int, share: float) -> None:
    names = [f"class {patient % classes}" for patient in range(patients)]
    assert held_out_share(range(patients), names) == share
    counts = Counter(stratified_split(range(patients), names, 0).values())
    assert all(counts[part] == pytest.approx(share * patients, abs=0.99) for part in ("test", "validate"))
    assert held_out_share([*range(patients)] * 2, [frozenset([name]) for name in names] * 2) == share


def test_a_class_of_one_case_patients_has_its_share_rounded_up_or_down() -> None:
    classes = [name for name, count in {"a": 200, "b": 73, "c": 19, "d": 10}.items() for _ in range(count)]
    for seed in range(20):
        counts = Counter(
            (part, classes[p]) for p, part in stratified_split(range(302), classes, seed).items()
        )
        for name, least in {"a": 20, "b": 7, "c": 1, "d": 1}.items():
            most = least + (name in "bc")
            assert least <= counts["test", name] <= most
            assert least <= counts["validate", name] <= most


def test_a_split_of_a_seed_never_changes() -> None:
    # A constant: a split is drawn again where a run is evaluated, perhaps on another machine.
    split = stratified_split(*several_each(0), 7)
    assert digest(split) == "c6fa7aabef74233c"
    split = fold_split(*in_several_classes(0), 7, folds=5, fold=3)
    assert digest(split) == "40474551c1a7612a"


def digest(split: dict[int, str]) -> str:
    return hashlib.sha256(repr(sorted(split.items())).encode()).hexdigest()[:16]


def test_stratified_split_follows_its_seed_alone() -> None:
    patients, classes = real_like(0)
    assert stratified_split(patients, classes, 1) == stratified_split(patients, classes, 1)
    assert stratified_split(patients, classes, 1) != stratified_split(patients, classes, 2)


def test_published_order_of_another_seed_is_another() -> None:
    assert published_split(range(50), seed=1) != published_split(range(50))


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_each_patient_tests_in_exactly_one_fold(folds: int) -> None:
    draw = np.random.default_rng(folds)
    patients = draw.integers(0, 150, 300).tolist()
    classes = draw.choice(["a", "b", "c"], 300).tolist()
    splits = [fold_split(patients, classes, 3, folds=folds, fold=fold) for fold in range(folds)]
    assert all(set(split) == set(patients) for split in splits)
    assert all(sum(split[patient] == "test" for split in splits) == 1 for patient in set(patients))
    for split in splits:
        counts = Counter((split[p], c) for p, c in zip(patients, classes, strict=True))
        for name in "abc":
            total = classes.count(name)
            # Whole patients of one to six cases, and no draw is thrown away for being uneven.
            assert counts["test", name] == pytest.approx(total / folds, abs=5)
            assert counts["validate", name] == pytest.approx(0.1 * total, abs=4)
    assert splits[0] == fold_split(patients, classes, 3, folds=folds, fold=0)
    assert splits[0] != fold_split(patients, classes, 4, folds=folds, fold=0)


@pytest.mark.parametrize(("folds", "fold"), [(1, 0), (5, 5), (5, -1)])
def test_fold_that_there_is_not_is_named(folds: int, fold: int) -> None:
    with pytest.raises(ValueError, match=f"no fold {fold} of {folds}"):
        fold_split([1, 2], ["a", "b"], 0, folds=folds, fold=fold)


def several_classes(cases: int = 600) -> tuple[list[int], list[frozenset[str]]]:
    """Patients of one case or a few, and classes from half of all cases down to one in sixty."""
    draw = np.random.default_rng(5)
    shares = {"common": 0.5, "less": 0.2, "rare": 0.05, "rarest": 1 / 60}
    has = {name: draw.random(cases) < share for name, share in shares.items()}
    patients = draw.integers(0, 450, cases).tolist()
    return patients, [frozenset(name for name in shares if has[name][k]) for k in range(cases)]


def test_classes_that_stand_beside_each_other_are_all_shared_out_evenly() -> None:
    patients, classes = several_classes()
    split = stratified_split(patients, classes, 0)
    assert set(split) == set(patients)
    counts = Counter((split[p], name) for p, own in zip(patients, classes, strict=True) for name in own)
    cases = Counter(split[p] for p in patients)
    for part, share in (("train", 0.8), ("validate", 0.1), ("test", 0.1)):
        assert cases[part] == pytest.approx(600 * share, abs=4)
        for name in ("common", "less", "rare", "rarest"):
            total = sum(name in own for own in classes)
            assert counts[part, name] == pytest.approx(share * total, abs=2.5), (part, name)
    assert split == stratified_split(patients, classes, 0)
    assert split != stratified_split(patients, classes, 1)


def test_each_patient_with_several_classes_tests_in_exactly_one_fold() -> None:
    patients, classes = several_classes(300)
    splits = [fold_split(patients, classes, 3, folds=4, fold=fold) for fold in range(4)]
    assert all(sum(split[p] == "test" for split in splits) == 1 for p in set(patients))
    for split in splits:
        rare = Counter(split[p] for p, own in zip(patients, classes, strict=True) if "less" in own)
        assert rare["test"] == pytest.approx(sum(rare.values()) / 4, abs=2)


@pytest.mark.parametrize("classes", [["a", "b"], [frozenset("ab"), frozenset("b")]])
def test_a_patient_with_thousands_of_cases_takes_little_memory(
    classes: list[str] | list[frozenset[str]],
) -> None:
    tracemalloc.start()
    stratified_split([0] * 4000 + [1, 2, 3, 4], classes * 2002, seed=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 2**20
