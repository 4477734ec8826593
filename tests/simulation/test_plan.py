from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from radgaze.simulation.options import SimulationOptions
from radgaze.simulation.plan import CLASSES, MARKERS, Case, plan_cases


def plan(confounding: float = 0.0, patients: int = 1200, seed: int = 1) -> list[Case]:
    cases = plan_cases(
        SimulationOptions(
            "unused", patients=patients, seed=seed, confounding=confounding, two_studies=0.07, faults=True
        )
    )
    return [case for case in cases if case.fault != "gaze_without_case"]


def agreement(cases: list[Case], splits: tuple[str, ...]) -> float:
    chosen = [case for case in cases if case.split in splits]
    return float(np.mean([MARKERS[CLASSES.index(case.diagnosis)] == case.marker for case in chosen]))


@pytest.mark.parametrize(("strength", "expected"), [(0.0, 1 / 3), (0.5, 2 / 3), (1.0, 1.0)])
def test_the_marker_follows_the_class_with_the_given_strength_except_in_test(
    strength: float, expected: float
) -> None:
    cases = [case for seed in range(4) for case in plan(strength, seed=seed)]
    assert agreement(cases, ("train",)) == pytest.approx(expected, abs=0.03)
    assert agreement(cases, ("validate",)) == pytest.approx(expected, abs=0.07)
    assert agreement(cases, ("test",)) == pytest.approx(1 / 3, abs=0.07)


def test_another_strength_changes_nothing_but_markers() -> None:
    plain, confounded = plan(0.0), plan(0.9)
    strip = [(c.dicom_id, c.patient_id, c.study_id, c.diagnosis, c.split, c.fault) for c in plain]
    assert strip == [
        (c.dicom_id, c.patient_id, c.study_id, c.diagnosis, c.split, c.fault) for c in confounded
    ]
    same = [a.marker == b.marker for a, b in zip(plain, confounded, strict=True) if a.split == "test"]
    assert all(same)


def test_the_split_is_the_published_one_over_all_rows_of_the_sheet() -> None:
    cases = plan(patients=200)
    unique = []
    for case in cases:
        if case.patient_id not in unique:
            unique.append(case.patient_id)
    random.seed(42)
    random.shuffle(unique)
    train = round(0.8 * len(unique))
    validate = round(0.5 * (len(unique) - train))
    expected = {
        "train": set(unique[:train]),
        "validate": set(unique[train : train + validate]),
        "test": set(unique[train + validate :]),
    }
    for split, patients in expected.items():
        assert {case.patient_id for case in cases if case.split == split} == patients


def test_classes_have_the_real_shares_and_some_patients_come_twice() -> None:
    cases = plan(patients=1083)
    shares = Counter(case.diagnosis for case in cases)
    for name, count in (("Normal", 360), ("CHF", 363), ("pneumonia", 360)):
        assert shares[name] / len(cases) == pytest.approx(count / 1083, abs=0.02)
    studies = Counter(case.patient_id for case in cases)
    assert set(studies.values()) == {1, 2}
    assert sum(count == 2 for count in studies.values()) / len(studies) == pytest.approx(0.07, abs=0.025)


def test_no_case_is_named_twice() -> None:
    cases = plan(patients=500)
    assert len({case.dicom_id for case in cases}) == len({case.study_id for case in cases}) == len(cases)
