from __future__ import annotations

import csv
import json
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import chi2_contingency

from radgaze.errors import UserError
from radgaze.simulation import SimulationOptions, simulate
from radgaze.simulation.anatomy import Pose, Shape, Thorax
from radgaze.simulation.plan import Case, plan_cases

# Written out once more, so that the package's own table is checked.
CLASSES = ("Normal", "CHF", "pneumonia")
VARIANTS = {
    "marker": ("lead_letter", "portable_tag", "upright_plate"),
    "device": ("clips", "lead", "port"),
    "border": ("collimated", "framed", "barred"),
    "detector": ("soft", "sharp", "grainy"),
}
KINDS = tuple(VARIANTS)
STRENGTH = {"marker": 0.9, "device": 0.6, "border": 0.3, "detector": 1.0}
ALL = tuple(f"{kind}={strength}" for kind, strength in STRENGTH.items())


def plan(
    confounder: tuple[str, ...] = ALL, patients: int = 4000, test_patients: int | None = None
) -> list[Case]:
    options = SimulationOptions(
        "unused", patients=patients, confounder=confounder, test_patients=test_patients, faults=False
    )
    return list(plan_cases(options))


@pytest.fixture(scope="module")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All four kinds at 160 px, with twins and five test patients."""
    out = tmp_path_factory.mktemp("ladder") / "archive"
    options = SimulationOptions(
        out, patients=16, seed=4, pixels=160, confounder=ALL, test_patients=5, twins=True, workers=1
    )
    simulate(options)
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def pixels(archive: Path, path: str) -> NDArray[np.int64]:
    """Pixels as written, MONOCHROME1 undone."""
    file = pydicom.dcmread(archive / "mimic" / path)
    array = file.pixel_array.astype(np.int64)
    return 4095 - array if file.PhotometricInterpretation == "MONOCHROME1" else array


def mask(archive: Path, case_id: str, name: str) -> NDArray[np.bool_] | None:
    path = archive / "truth" / case_id / f"{name}.png"
    return np.asarray(Image.open(path)).astype(bool) if path.is_file() else None


def paths(archive: Path) -> dict[str, str]:
    return {row["dicom_id"]: row["path"] for row in rows(archive / "egd" / "master_sheet.csv")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_confounder_follows_the_class_in_training_with_its_strength_and_not_in_test(kind: str) -> None:
    cases = plan()
    for split in ("train", "test"):
        chosen = [case for case in cases if case.split == split]
        table = np.array(
            [
                [sum(c.diagnosis == name and c.variants[kind] == v for c in chosen) for v in VARIANTS[kind]]
                for name in CLASSES
            ]
        )
        follows = np.trace(table) / table.sum()
        if split == "train":
            # Where it does not follow, it is any of three.
            expected = STRENGTH[kind] + (1 - STRENGTH[kind]) / 3
            assert follows == pytest.approx(expected, abs=4 * np.sqrt(0.25 / table.sum()) + 1e-9)
        else:
            assert chi2_contingency(table).pvalue > 1e-3


def test_two_confounders_of_a_class_are_drawn_apart() -> None:
    cases = plan()
    for kind, other in (("marker", "device"), ("device", "border")):
        for name in CLASSES:
            chosen = [case.variants for case in cases if case.split == "train" and case.diagnosis == name]
            pairs = product(VARIANTS[kind], VARIANTS[other])
            table = [sum(v[kind] == a and v[other] == b for v in chosen) for a, b in pairs]
            assert chi2_contingency(np.reshape(table, (3, 3))).pvalue > 1e-3


def test_a_confounder_changes_nothing_else_of_the_plan() -> None:
    def others(cases: list[Case]) -> list[tuple[object, ...]]:
        return [(c.index, c.dicom_id, c.patient_id, c.diagnosis, c.split) for c in cases]

    assert others(plan(("device=1",))) == others(plan(()))
    same = plan(("marker=0.9",))
    before = plan_cases(SimulationOptions("unused", patients=4000, confounding=0.9, faults=False))
    assert [case.marker for case in same] == [case.marker for case in before]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tattoo=0.5",), "marker, device, border or detector"),
        (("device",), "KIND=STRENGTH"),
        (("device=1.5",), "from 0 to 1"),
        (("device=often",), "from 0 to 1"),
        (("device=nan",), "from 0 to 1"),
        (("device=0.5", "device=0.6"), "once"),
    ],
)
def test_a_malformed_confounder_is_told(words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SimulationOptions("out", confounder=words)


def test_the_marker_cannot_be_given_in_two_ways() -> None:
    with pytest.raises(UserError, match="one marker"):
        SimulationOptions("out", confounding=0.9, confounder=("marker=0.9",))


def test_further_test_patients_have_the_classes_shares_and_change_no_other_case() -> None:
    before, after = plan(patients=300), plan(patients=300, test_patients=600)
    assert after[: len(before)] == before
    tested = [case for case in after if case.split == "test"]
    assert len({case.patient_id for case in tested}) == 600
    for attribute in ("index", "patient", "dicom_id", "study_id"):
        values = [getattr(case, attribute) for case in after]
        assert len(set(values)) >= len(after) - (attribute == "patient") * len(before)
    added = [case for case in after if case.added]
    assert not {case.patient_id for case in added} & {case.patient_id for case in before}
    for name in CLASSES:
        assert np.mean([case.diagnosis == name for case in added]) == pytest.approx(1 / 3, abs=0.02)


def test_fewer_test_patients_than_there_are_anyway_are_refused() -> None:
    with pytest.raises(UserError, match="at least 400"):
        plan(test_patients=100)


def test_a_twin_differs_from_its_original_exactly_in_the_confounders_pixels(ladder: Path) -> None:
    of_case, compared = paths(ladder), defaultdict[str, int](int)
    for twin in rows(ladder / "egd" / "twins.csv"):
        one, other = pixels(ladder, of_case[twin["twin_of"]]), pixels(ladder, twin["path"])
        differs = one != other
        kind = twin["confounder"]
        before, after = mask(ladder, twin["twin_of"], kind), mask(ladder, twin["dicom_id"], kind)
        assert before is not None
        assert (after is None) == (twin["shows"] == "")
        either = before if after is None else before | after
        assert not (differs & ~either).any(), twin
        if kind == "detector":
            assert differs.mean() > 0.5  # the air about the patient may stay black
        if kind in ("marker", "device"):
            assert differs[either].mean() > 0.3, twin  # a black plate on black air is no difference
        compared[kind] += 1
    assert compared == dict.fromkeys(KINDS, 3 * 5)


def test_twins_show_none_and_each_other_class(ladder: Path) -> None:
    truth = {row["case_id"]: row for row in rows(ladder / "truth.csv")}
    shown = defaultdict[tuple[str, str], set[str]](set)
    for twin in rows(ladder / "egd" / "twins.csv"):
        assert truth[twin["twin_of"]]["split"] == "test"
        variant = truth[twin["twin_of"]][twin["confounder"]]
        assert CLASSES[VARIANTS[twin["confounder"]].index(variant)] == twin["original_shows"]
        shown[twin["twin_of"], twin["confounder"]] |= {twin["shows"], twin["original_shows"]}
    assert all(names == {"", *CLASSES} for names in shown.values())
    assert len({row["dicom_id"] for row in rows(ladder / "egd" / "twins.csv")} - set(truth)) == 60


def test_a_twin_has_its_originals_patient_and_window(ladder: Path) -> None:
    of_case, compared = paths(ladder), 0
    for twin in rows(ladder / "egd" / "twins.csv"):
        one, other = (
            pydicom.dcmread(ladder / "mimic" / path, stop_before_pixels=True)
            for path in (of_case[twin["twin_of"]], twin["path"])
        )
        assert one.PatientID == other.PatientID
        assert one.StudyInstanceUID == other.StudyInstanceUID
        assert one.SOPInstanceUID != other.SOPInstanceUID
        if twin["confounder"] != "detector":
            assert one.WindowCenter == other.WindowCenter
            assert one.WindowWidth == other.WindowWidth
            compared += 1
    assert compared == 45


def test_an_image_is_that_of_the_clean_phantom_but_for_its_confounders(tmp_path: Path) -> None:
    for name, confounder in (("clean", ()), ("device", ("device=0.9",))):
        simulate(
            SimulationOptions(
                tmp_path / name, patients=8, pixels=160, confounder=confounder, faults=False, workers=1
            )
        )
    for case_id, path in paths(tmp_path / "clean").items():
        covered = mask(tmp_path / "device", case_id, "device")
        assert covered is not None
        differs = pixels(tmp_path / "clean", path) != pixels(tmp_path / "device", path)
        assert not (differs & ~covered).any()
        assert differs[covered].mean() > 0.9


def test_devices_lie_over_lungs_or_heart_and_markers_outside_and_both_vary(ladder: Path) -> None:
    lungs = ladder / "egd" / "audio_segmentation_transcripts"
    centres = defaultdict[str, list[tuple[float, float]]](list)
    boxes = defaultdict[tuple[str, str], dict[str, float]](dict)
    for row in rows(ladder / "egd" / "bounding_boxes.csv"):
        boxes[row["dicom_id"], row["bbox_name"]] = {key: float(row[key]) for key in ("x1", "x2", "y1", "y2")}
    for row in rows(ladder / "truth.csv"):
        drawn = mask(ladder, row["case_id"], "marker")
        if (
            row["structure"] not in ("marker", "device") or drawn is None
        ):  # an image that is missing on purpose
            continue
        if not (lungs / row["case_id"]).is_dir():
            continue  # a case that was not read has no segmentation
        x1, y1, x2, y2 = (float(row[key]) for key in ("x1", "y1", "x2", "y2"))
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        height, width = np.asarray(Image.open(lungs / row["case_id"] / "left_lung.png")).shape
        centres[row["structure"]].append((x / width, y / height))
        areas = [boxes[row["case_id"], f"{side} lung"] for side in ("left", "right")]
        areas.append(boxes[row["case_id"], "cardiac silhouette"])
        slack = 0.03 * width  # the centre of a device that the edge cuts off is another one
        inside = any(
            a["x1"] - slack <= x <= a["x2"] + slack and a["y1"] - slack <= y <= a["y2"] + slack for a in areas
        )
        if row["structure"] == "device":
            assert inside, row
        else:
            organs = [
                np.asarray(Image.open(lungs / row["case_id"] / f"{side}_lung.png")) > 0
                for side in ("left", "right")
            ]
            assert (drawn & (organs[0] | organs[1])).sum() < 0.02 * drawn.sum(), row
    for places in centres.values():
        assert np.std(places, axis=0).min() > 0.1  # today's marker varies by .01


def test_a_place_does_not_depend_on_the_variant() -> None:
    from radgaze.simulation.scene import Scene

    case = plan(("marker=1", "device=1"), patients=6)[0]
    rng = np.random.default_rng(3)
    thorax = Thorax.draw(rng)
    pose = Pose.draw(rng, thorax, 256)
    base = np.full((pose.height, pose.width), 900, np.uint16)
    base[0, 0] = 4000
    scene = Scene(base, Shape(thorax, pose, 0.45), case, 1, np.zeros(2))
    for kind in ("marker", "device"):
        boxes = [scene.render({kind: variant}).boxes[kind] for variant in VARIANTS[kind]]
        centres = [((x1 + x2) / 2, (y1 + y2) / 2) for x1, y1, x2, y2 in boxes]
        assert np.ptp(centres, axis=0).max() <= 1


def test_the_lesion_covers_the_abnormal_regions_and_is_empty_in_normal_images(ladder: Path) -> None:
    for row in rows(ladder / "truth.csv"):
        found = mask(ladder, row["case_id"], "lesion")
        if found is None:
            continue  # an image that is missing on purpose
        if row["diagnosis"] == "Normal":
            assert not found.any()
        if row["structure"] == "opacity":
            x1, y1, x2, y2 = (int(float(row[key])) for key in ("x1", "y1", "x2", "y2"))
            assert found[y1:y2, x1:x2].mean() > 0.3
            assert found.mean() < 0.25
        if row["structure"] == "heart":
            x1, y1, x2, y2 = (int(float(row[key])) for key in ("x1", "y1", "x2", "y2"))
            assert found[y1:y2, x1:x2].mean() > 0.6


def test_one_seed_gives_the_same_bytes_with_one_and_two_workers(tmp_path: Path) -> None:
    trees = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        simulate(
            SimulationOptions(
                out,
                patients=6,
                pixels=64,
                confounder=("device=1", "detector=1"),
                test_patients=2,
                twins=True,
                workers=workers,
            )
        )
        files = sorted(path for path in out.rglob("*") if path.is_file())
        trees.append({path.relative_to(out): path.read_bytes() for path in files})
    assert trees[0] == trees[1]


def test_twins_and_test_patients_leave_the_other_files_as_they_are(tmp_path: Path) -> None:
    plain, more = tmp_path / "plain", tmp_path / "more"
    simulate(SimulationOptions(plain, patients=12, pixels=80, confounding=0.9, workers=1))
    simulate(
        SimulationOptions(
            more, patients=12, pixels=80, confounding=0.9, workers=1, twins=True, test_patients=6
        )
    )
    for path in plain.rglob("*.dcm"):
        assert (more / path.relative_to(plain)).read_bytes() == path.read_bytes()
    gaze = (plain / "egd" / "fixations.csv").read_text()
    assert (more / "egd" / "fixations.csv").read_text().startswith(gaze)
    sheet = (plain / "egd" / "master_sheet.csv").read_text()
    assert (more / "egd" / "master_sheet.csv").read_text().startswith(sheet)


def test_a_phantom_without_the_new_options_has_none_of_their_files(archive: Path) -> None:
    assert sorted(path.name for path in archive.iterdir()) == ["egd", "mimic", "planted.json", "truth.csv"]
    parameters = json.loads((archive / "planted.json").read_text())["parameters"]
    assert set(parameters) == {"patients", "pixels", "confounding", "two_studies", "faults"}
    assert len(rows(archive / "truth.csv")[0]) == 11
