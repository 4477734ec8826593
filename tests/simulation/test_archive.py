from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import TypedDict

import numpy as np
import pydicom
import pytest
from PIL import Image

from radgaze.errors import UserError
from radgaze.simulation import SimulationOptions, simulate
from radgaze.sources.egd import EgdOptions, read
from radgaze.sources.external_sort import height


class Sizes(TypedDict, total=False):
    patients: int
    pixels: int
    confounding: float


# Written out once more, from the description of egd-cxr 1.0.0, so that the package's own list is checked.
MASTER = """
    dicom_id path study_id patient_id stay_id gender anchor_age image_top_pad image_bottom_pad
    image_left_pad image_right_pad dx1 dx1_icd dx2 dx2_icd dx3 dx3_icd dx4 dx4_icd dx5 dx5_icd dx6
    dx6_icd dx7 dx7_icd dx8 dx8_icd dx9 dx9_icd normal_reports Normal CHF pneumonia consolidation
    enlarged_cardiac_silhouette linear__patchy_atelectasis lobar__segmental_collapse
    not_otherwise_specified_opacity___pleural__parenchymal_opacity__ pleural_effusion_or_thickening
    pulmonary_edema__hazy_opacity normal_anatomically elevated_hemidiaphragm hyperaeration
    vascular_redistribution atelectasis__chx cardiomegaly__chx consolidation__chx edema__chx
    enlarged_cardiomediastinum__chx fracture__chx lung_lesion__chx lung_opacity__chx no_finding__chx
    pleural_effusion__chx pleural_other__chx pneumonia__chx pneumothorax__chx support_devices__chx
    cxr_exam_indication
""".split()  # noqa: SIM905
GAZE = (
    "SESSION_ID,MEDIA_ID,DICOM_ID,CNT,Time (in secs),TIMETICK(f=10000000),FPOGX,FPOGY,FPOGS,FPOGD,FPOGID,"
    "FPOGV,BPOGX,BPOGY,BPOGV,LPCX,LPCY,LPD,LPS,LPV,RPCX,RPCY,RPD,RPS,RPV,BKID,BKDUR,BKPMIN,LPMM,LPMMV,RPMM,RPMMV,"
    "SACCADE_MAG,SACCADE_DIR,VID_FRAME,X_ORIGINAL,Y_ORIGINAL"
)
ANATOMY = {
    "cardiac silhouette",
    "upper mediastinum",
    "trachea",
    *(
        f"{side} {part}"
        for side in ("left", "right")
        for part in (
            "lung",
            "upper lung zone",
            "mid lung zone",
            "lower lung zone",
            "hilar structures",
            "costophrenic angle",
            "clavicle",
        )
    ),
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def header(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline().rstrip("\n")


def tree(root: Path) -> dict[str, str]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def recount(out: Path) -> dict[str, object]:
    """Numbers that a reader must find, counted from the written files only, by the rules of rejection."""
    read_of: dict[str, list[dict[str, str]]] = defaultdict(list)
    frames = set()
    for row in rows(out / "egd" / "fixations.csv"):
        if len(row["DICOM_ID"]) == 44:
            read_of[row["DICOM_ID"]].append(row)
        else:
            frames.add((row["SESSION_ID"], row["MEDIA_ID"], row["DICOM_ID"]))
    found = Counter({"calibration_frame": len(frames)})
    seen: set[str] = set()
    cases = fixations = masks = 0
    for row in rows(out / "egd" / "master_sheet.csv"):
        name = row["dicom_id"]
        if name in seen:
            found["duplicate_case"] += 1
            continue
        seen.add(name)
        gaze = read_of[name]
        on = [g for g in gaze if int(g["X_ORIGINAL"]) >= 0 and int(g["Y_ORIGINAL"]) >= 0]
        if [row["Normal"], row["CHF"], row["pneumonia"]].count("1") != 1:
            found["no_label"] += 1
        elif not (out / "mimic" / row["path"]).exists():
            found["missing_image"] += 1
        elif not on:
            found["no_gaze"] += 1
        elif not readable(out / "mimic" / row["path"]):
            found["unreadable_image"] += 1
        else:
            cases += 1
            fixations += len(on)
            masks += len(list((out / "egd" / "audio_segmentation_transcripts" / name).glob("*.png")))
            found["off_image_fixation"] += len(gaze) - len(on)
    found["gaze_without_case"] = sum(bool(gaze) for name, gaze in read_of.items() if name not in seen)
    return {
        "cases": cases,
        "readings": cases,
        "fixations": fixations,
        "regions": masks,
        "rejections": {k: n for k, n in found.items() if n},
    }


def readable(path: Path) -> bool:
    try:
        return pydicom.dcmread(path).pixel_array.size > 0
    except Exception:
        return False


def test_planted_counts_equal_a_recount_of_the_written_files(archive: Path) -> None:
    planted = json.loads((archive / "planted.json").read_text())
    assert planted["counts"] == recount(archive)
    assert set(planted["counts"]["rejections"]) == {
        "missing_image",
        "unreadable_image",
        "no_gaze",
        "gaze_without_case",
        "calibration_frame",
        "off_image_fixation",
        "duplicate_case",
        "no_label",
    }


def test_tables_have_the_columns_of_the_real_ones_in_their_order(archive: Path) -> None:
    egd = archive / "egd"
    assert header(egd / "master_sheet.csv").split(",") == MASTER
    assert len(MASTER) == 59
    assert header(egd / "eye_gaze.csv") == GAZE
    assert header(egd / "fixations.csv") == GAZE
    assert len(GAZE.split(",")) == 37
    assert header(egd / "bounding_boxes.csv") == "dicom_id,bbox_name,x1,x2,y1,y2"


def test_the_master_sheet_reads_like_the_real_one(archive: Path) -> None:
    sheet = rows(archive / "egd" / "master_sheet.csv")
    lines = (archive / "egd" / "master_sheet.csv").read_text(encoding="utf-8").count("\n")
    assert lines > len(sheet) + 1, "no quoted newline in it"
    labelled = [row for row in sheet if [row["Normal"], row["CHF"], row["pneumonia"]].count("1") == 1]
    order = [
        "CHF" if r["CHF"] == "1" else "pneumonia" if r["pneumonia"] == "1" else "Normal" for r in labelled
    ]
    assert order == sorted(order, key=["CHF", "pneumonia", "Normal"].index)
    shares = Counter(order)
    assert min(shares.values()) > 0.2 * len(order)
    for row in sheet:
        assert re.fullmatch(r"([0-9a-f]{8}-){4}[0-9a-f]{8}", row["dicom_id"])
        subject, study = row["patient_id"], row["study_id"]
        assert row["path"] == f"files/p{subject[:2]}/p{subject}/s{study}/{row['dicom_id']}.dcm"
        assert re.fullmatch(r"1\d{7}", subject)
        assert re.fullmatch(r"5\d{7}", study)
        assert re.fullmatch(r"\d+ - \d+", row["anchor_age"])
    assert len({row["patient_id"] for row in sheet}) < len({row["dicom_id"] for row in sheet})


def test_calibration_frames_carry_the_cut_id_of_a_real_case(archive: Path) -> None:
    ids = {row["DICOM_ID"] for row in rows(archive / "egd" / "fixations.csv")}
    cut = {name for name in ids if len(name) != 44}
    assert cut
    assert all(len(name) == 39 and any(real.startswith(name) for real in ids - cut) for name in cut)


def test_fixations_are_the_last_samples_of_each_fixation(archive: Path) -> None:
    last = {}
    for row in rows(archive / "egd" / "eye_gaze.csv"):
        if row["FPOGV"] == "1":
            last[row["SESSION_ID"], row["MEDIA_ID"], row["DICOM_ID"], row["FPOGID"]] = row
    assert list(last.values()) == rows(archive / "egd" / "fixations.csv")


def test_samples_come_at_60_hz_and_time_restarts_with_each_image(archive: Path) -> None:
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    ticks = []
    for row in rows(archive / "egd" / "eye_gaze.csv"):
        times[row["SESSION_ID"], row["MEDIA_ID"]].append(float(row["Time (in secs)"]))
        ticks.append((row["SESSION_ID"], int(row["TIMETICK(f=10000000)"])))
    for one in times.values():
        np.testing.assert_allclose(one, np.arange(len(one)) / 60, atol=1e-5)
    assert ticks == sorted(ticks)


def test_image_coordinates_follow_from_the_screen_by_the_published_formula(archive: Path) -> None:
    sheet = {row["dicom_id"]: row for row in rows(archive / "egd" / "master_sheet.csv")}
    checked = 0
    for gaze in rows(archive / "egd" / "eye_gaze.csv"):
        row = sheet.get(gaze["DICOM_ID"])
        if row is None:
            continue
        path = archive / "mimic" / row["path"]
        if not path.exists() or not readable_header(path):
            continue
        width, height = SIZES[path]
        width, height = width + width % 2, height + height % 2
        left, right = int(row["image_left_pad"]), int(row["image_right_pad"])
        top, bottom = int(row["image_top_pad"]), int(row["image_bottom_pad"])
        sx, sy = 1920 * float(gaze["FPOGX"]), 1080 * float(gaze["FPOGY"])
        if left < sx < 1920 - right and top < sy < 1080 - bottom:
            x = int((sx - left) * width / (1920 - left - right))
            y = int((sy - top) * height / (1080 - top - bottom))
            assert abs(x - int(gaze["X_ORIGINAL"])) <= 0
            assert abs(y - int(gaze["Y_ORIGINAL"])) <= 0
        else:
            assert int(gaze["X_ORIGINAL"]) < 0
            assert int(gaze["Y_ORIGINAL"]) < 0
        checked += 1
    assert checked > 10_000


SIZES: dict[Path, tuple[int, int]] = {}


def readable_header(path: Path) -> bool:
    if path not in SIZES:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
            SIZES[path] = int(header.Columns), int(header.Rows)
        except Exception:
            return False
    return True


def test_boxes_name_the_17_structures_and_lie_on_the_image(archive: Path) -> None:
    by_case: dict[str, set[str]] = defaultdict(set)
    for box in rows(archive / "egd" / "bounding_boxes.csv"):
        by_case[box["dicom_id"]].add(box["bbox_name"])
        assert 0 <= int(box["x1"]) < int(box["x2"]) <= 128, box
        assert 0 <= int(box["y1"]) < int(box["y2"]) <= 128, box
    assert len(ANATOMY) == 17
    assert all(names == ANATOMY for names in by_case.values())


def test_every_reading_has_its_transcript_and_four_regions(archive: Path) -> None:
    folders = list((archive / "egd" / "audio_segmentation_transcripts").iterdir())
    assert len(folders) > 30
    for folder in folders:
        transcript = json.loads((folder / "transcript.json").read_text(encoding="utf-8"))
        assert set(transcript) == {"full_text", "time_stamped_text"}
        for phrase in transcript["time_stamped_text"]:
            assert set(phrase) == {"phrase", "begin_time", "end_time"}
            assert phrase["begin_time"] < phrase["end_time"]
        for name in ("left_lung", "right_lung", "mediastanum", "aortic_knob"):
            with Image.open(folder / f"{name}.png") as image:
                share = (np.asarray(image) > 0).mean()
            assert 0.0005 < share < 0.5, name


def test_one_seed_gives_the_same_bytes_with_one_and_two_workers(tmp_path: Path) -> None:
    for name, seed, workers in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        simulate(
            SimulationOptions(
                tmp_path / name, patients=12, seed=seed, pixels=96, confounding=0.5, workers=workers
            )
        )
    one = tree(tmp_path / "one")
    assert one == tree(tmp_path / "two")
    assert len(one) > 60
    assert one["egd/fixations.csv"] != tree(tmp_path / "other")["egd/fixations.csv"]


def test_a_position_in_the_padding_of_an_odd_side_is_planted_off_the_image(tmp_path: Path) -> None:
    planted = simulate(
        SimulationOptions(
            tmp_path / "poor", patients=10, pixels=64, readers="poor", seed=0, faults=False, workers=1
        )
    )
    found = read(EgdOptions(egd=tmp_path / "poor" / "egd", mimic=tmp_path / "poor" / "mimic"))
    tally = Counter(found.rejections["reason"])
    assert planted["counts"]["fixations"] == height(found.fixations)
    assert planted["counts"]["rejections"] == tally


def test_without_faults_only_what_every_session_holds_is_rejected(tmp_path: Path) -> None:
    planted = simulate(SimulationOptions(tmp_path / "clean", patients=8, pixels=96, faults=False, workers=1))
    assert set(planted["counts"]["rejections"]) <= {"calibration_frame", "off_image_fixation"}
    assert planted["counts"] == recount(tmp_path / "clean")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"patients": 2}, "patients"), ({"pixels": 10}, "pixels"), ({"confounding": 1.5}, "confounding")],
)
def test_a_value_out_of_range_is_named(tmp_path: Path, wrong: Sizes, named: str) -> None:
    with pytest.raises(UserError, match=named):
        simulate(SimulationOptions(tmp_path / "out", **wrong))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(UserError, match="empty"):
        simulate(SimulationOptions(tmp_path, patients=8, pixels=96))
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_images_go_into_the_named_folder_after_a_change_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):  # the processes of the first are used again
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        simulate(SimulationOptions(out="raw", patients=6, pixels=64, workers=2, faults=False))
        assert len(list((tmp_path / name / "raw" / "mimic").rglob("*.dcm"))) >= 6
