"""The plan of a simulated data set: patients, studies, ids, classes, splits, markers and planted faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from radgaze.errors import UserError
from radgaze.simulation.kinds import CLASSES as CLASSES
from radgaze.simulation.kinds import KINDS, VARIANTS, variant_of
from radgaze.simulation.options import SimulationOptions
from radgaze.sources.split import published_split

FILE_ORDER = ("CHF", "pneumonia", "Normal")
"""Order of the classes as columns, and order of their rows in the real master sheet."""

SHARES = {"Normal": 360, "CHF": 363, "pneumonia": 360}
MARKERS = VARIANTS["marker"]

STREAM_PLAN, STREAM_PATIENT, STREAM_STUDY, STREAM_GAZE, STREAM_SESSION, STREAM_MARKER = range(6)
STREAM_DICTATION, STREAM_CONFOUNDER, STREAM_READER, STREAM_TEST, STREAM_TWIN = range(6, 11)
"""First keys of the random streams, see `stream`."""


@dataclass(frozen=True)
class Case:
    """One planned radiograph.

    Attributes:
        index: Number of the case over the whole data set.
        patient: Number of the patient.
        study: Number of the study of the patient.
        dicom_id, patient_id, study_id, stay_id: Ids in the form of MIMIC-CXR.
        diagnosis: One of `CLASSES`.
        split: Published split of the patient; empty for a case without a row.
        marker: Kind of the burnt-in marker, one of `MARKERS`.
        confounders: Kinds of `SimulationOptions.confounder`, and the variant that the image has.
        added: Whether the patient was added by `SimulationOptions.test_patients`.
        fault: Planted fault: None, "missing_image", "unreadable_image", "no_gaze", "no_label",
            "duplicate_case" (two rows) or "gaze_without_case" (gaze and no row).
    """

    index: int
    patient: int
    study: int
    dicom_id: str
    patient_id: int
    study_id: int
    stay_id: int
    diagnosis: str
    split: str
    marker: str
    fault: str | None = None
    confounders: tuple[tuple[str, str], ...] = ()
    added: bool = False

    @property
    def variants(self) -> dict[str, str]:
        """Variant of each kind of confounder in the image, the marker's included."""
        return {"marker": self.marker, **dict(self.confounders)}

    @property
    def path(self) -> str:
        """MIMIC's path of the file, relative to the root: files/pNN/pSUBJECT/sSTUDY/DICOM.dcm."""
        subject = str(self.patient_id)
        return f"files/p{subject[:2]}/p{subject}/s{self.study_id}/{self.dicom_id}.dcm"


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the random generator of a key; it is independent of those of other keys, and of the process."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy=seed, spawn_key=key)))


def plan_cases(options: SimulationOptions) -> tuple[Case, ...]:
    """Plan the cases, in the order of the rows of the master sheet.

    Those without a row, and then further test patients, come last, so that they change no other case.

    Raises:
        UserError: There are more test patients without `test_patients` than with it.
    """
    rng = stream(options.seed, STREAM_PLAN)
    cases = _number(_draw_diagnoses(rng, options.patients, options.two_studies), rng)
    strangers = _count(len(cases), 0.01) if options.faults else 0
    if options.faults:
        cases = _plant(rng, cases)
    cases = _assign_splits(cases)
    cases += _strangers(rng, cases, strangers)
    if options.test_patients is not None:
        cases += _further_test_patients(options, cases, options.test_patients)
    return tuple(_confounded(case, options) for case in cases)


def _confounded(case: Case, options: SimulationOptions) -> Case:
    """The case with its marker and its other confounders; one without a row has the first marker."""
    if case.fault == "gaze_without_case":
        return case
    strengths = options.strengths
    marker = _marker(options.seed, case, strengths.get("marker", options.confounding))
    confounders = tuple(
        (kind, marker if kind == "marker" else _variant(options.seed, case, kind, strength))
        for kind, strength in strengths.items()
    )
    return replace(case, marker=marker, confounders=confounders)


def _draw_diagnoses(
    rng: np.random.Generator, patients: int, two_studies: float
) -> list[tuple[int, int, str]]:
    """Tuples (patient, study, diagnosis) in the order of the file, with class shares as in the real sheet."""
    total = sum(SHARES.values())
    bounds = np.cumsum([round(patients * SHARES[name] / total) for name in FILE_ORDER[:-1]])
    kinds = np.searchsorted(bounds, np.arange(patients), side="right")
    rng.shuffle(kinds)
    studies = [(patient, 0, FILE_ORDER[kind]) for patient, kind in enumerate(kinds)]
    for patient in np.flatnonzero(rng.random(patients) < two_studies):
        kind = int(kinds[patient]) if rng.random() < 0.6 else int(rng.integers(3))
        studies.append((int(patient), 1, FILE_ORDER[kind]))
    order = rng.permutation(len(studies))
    return sorted((studies[i] for i in order), key=lambda study: FILE_ORDER.index(study[2]))


def _number(studies: Sequence[tuple[int, int, str]], rng: np.random.Generator) -> list[Case]:
    patients = 1 + max(patient for patient, _, _ in studies)
    subjects = 10_000_000 + rng.choice(9_999_999, size=patients, replace=False)
    numbers = 50_000_000 + rng.choice(9_999_999, size=len(studies), replace=False)
    stays = 30_000_000 + rng.choice(9_999_999, size=len(studies), replace=False)
    return [
        Case(
            index=index,
            patient=patient,
            study=study,
            dicom_id=dicom_id(rng),
            patient_id=int(subjects[patient]),
            study_id=int(numbers[index]),
            stay_id=int(stays[index]),
            diagnosis=diagnosis,
            split="",
            marker="",
        )
        for index, (patient, study, diagnosis) in enumerate(studies)
    ]


def dicom_id(rng: np.random.Generator) -> str:
    """An id in the form of MIMIC-CXR: five groups of eight hexadecimal digits, 44 characters."""
    return "-".join(f"{word:08x}" for word in rng.integers(0, 2**32, size=5))


def _count(cases: int, share: float) -> int:
    return max(1, round(cases * share))


def _plant(rng: np.random.Generator, cases: list[Case]) -> list[Case]:
    """The cases, some of which have one fault; none has two, so that the counts are exact."""
    faults = [
        fault
        for fault, share in (
            ("missing_image", 0.006),
            ("unreadable_image", 0.006),
            ("no_gaze", 0.015),
            ("no_label", 0.006),
            ("duplicate_case", 0.006),
        )
        for _ in range(_count(len(cases), share))
    ]
    chosen = rng.choice(len(cases), size=min(len(faults), len(cases) // 2), replace=False)
    faulty = dict(zip(chosen.tolist(), faults, strict=False))
    return [replace(case, fault=faulty.get(case.index)) for case in cases]


def _assign_splits(cases: list[Case]) -> list[Case]:
    split = published_split([case.patient_id for case in cases])
    return [replace(case, split=split[case.patient_id]) for case in cases]


def _marker(seed: int, case: Case, confounding: float) -> str:
    """The marker of the case's class with probability `confounding`, otherwise and for test cases any marker.

    Each case has a separate random stream for it, so that `confounding` changes only the markers.
    """
    rng = stream(seed, STREAM_MARKER, case.index)
    any_marker = MARKERS[int(rng.integers(len(MARKERS)))]
    follows = rng.random() < confounding and case.split != "test"
    return MARKERS[CLASSES.index(case.diagnosis)] if follows else any_marker


def _variant(seed: int, case: Case, kind: str, strength: float) -> str:
    """The variant of the case's class with probability `strength`, otherwise and for test cases any."""
    rng = stream(seed, STREAM_CONFOUNDER, KINDS.index(kind), 0, case.index)
    any_variant = VARIANTS[kind][int(rng.integers(len(CLASSES)))]
    follows = rng.random() < strength and case.split != "test"
    return variant_of(kind, case.diagnosis) if follows else any_variant


def _further_test_patients(options: SimulationOptions, cases: Sequence[Case], wanted: int) -> list[Case]:
    """Cases of further patients, one each, so that there are `wanted` test patients; none has a fault."""
    present = len({case.patient for case in cases if case.split == "test"})
    if wanted < present:
        raise UserError(
            f"`test_patients` must be at least {present}, the number of test patients that "
            f"`patients={options.patients}` has anyway, got {wanted}"
        )
    if wanted == present:
        return []
    rng = stream(options.seed, STREAM_TEST)
    drawn = _number(_draw_diagnoses(rng, wanted - present, 0.0), rng)
    first, patient = len(cases), 1 + max(case.patient for case in cases)
    subjects = _others(rng, 10_000_000, {case.patient_id for case in cases}, len(drawn))
    numbers = _others(rng, 50_000_000, {case.study_id for case in cases}, len(drawn))
    return [
        replace(
            case,
            index=first + place,
            patient=patient + case.patient,
            patient_id=subjects[place],
            study_id=numbers[place],
            split="test",
            added=True,
        )
        for place, case in enumerate(drawn)
    ]


def _others(rng: np.random.Generator, first: int, taken: set[int], count: int) -> list[int]:
    """Numbers of eight digits from `first` on that are not taken."""
    numbers = first + rng.choice(9_999_999, size=count + len(taken), replace=False)
    return [number for number in numbers.tolist() if number not in taken][:count]


def _strangers(rng: np.random.Generator, cases: list[Case], count: int) -> list[Case]:
    """Cases that were read but are not in the master sheet: gaze without a case."""
    first = len(cases)
    return [
        Case(
            index=first + extra,
            patient=1 + max(case.patient for case in cases) + extra,
            study=0,
            dicom_id=dicom_id(rng),
            patient_id=20_000_000 + extra,
            study_id=60_000_000 + extra,
            stay_id=40_000_000 + extra,
            diagnosis="Normal",
            split="",
            marker=MARKERS[0],
            fault="gaze_without_case",
        )
        for extra in range(count)
    ]
