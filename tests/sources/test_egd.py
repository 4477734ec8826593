"""Reading egd-cxr: a tree written by hand is found in a cohort, and what must be rejected is, once each."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.sources import egd
from radgaze.sources.egd import EgdOptions
from radgaze.sources.egd.files import read_samples
from radgaze.sources.split import published_split
from radgaze.store.finishing import without
from tests.sources.trees import (
    ASIDE,
    BLANK,
    BOTH,
    BROKEN,
    COLUMNS,
    LOST,
    ROWS,
    SEEN,
    SHEET,
    STRANGER,
    TWIN,
    UNREAD,
    write_csv,
    write_tree,
)
from tests.stores import prepare

Tree = tuple[Path, Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return write_tree(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def tree(made: Tree, tmp_path: Path) -> Tree:
    """A copy to be spoilt."""
    shutil.copytree(made[0], tmp_path / "egd")
    return tmp_path / "egd", made[1]


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_bytes()
    assert old.encode() in text
    path.write_bytes(text.replace(old.encode(), new.encode(), 1))


def test_cases_are_those_with_one_class_an_image_and_gaze_on_it(made: Tree) -> None:
    cohort = egd.read(EgdOptions(*made))
    splits = published_split([patient for _, patient, *_ in SHEET])
    assert cohort.cases.drop("image").rows() == [
        (SEEN, 0, splits[12345678], 0, 1, 0),
        (TWIN, 0, splits[12345678], 1, 0, 0),
        (BROKEN, 6, splits[15800006], 1, 0, 0),
    ]
    assert cohort.classes == ("Normal", "CHF", "pneumonia")
    assert all(Path(path).is_file() and Path(path).is_absolute() for path in cohort.cases["image"])


def test_fixations_are_in_time_at_pixel_centres_and_know_their_place(made: Tree) -> None:
    cohort = egd.read(EgdOptions(*made))
    assert cohort.fixations.collect().rows() == [
        (f"{SEEN}/0", 0, 20.5, 30.5, 0.1, 0.3),
        (f"{SEEN}/0", 2, 0.5, 0.5, 0.8, 0.25),
        (f"{SEEN}/0", 4, 80.5, 119.5, 1.6, 0.5),
        (f"{TWIN}/0", 0, 11.5, 22.5, 0.25, 0.5),
        (f"{TWIN}/0", 1, 33.5, 44.5, 2.0, 0.2),
        (f"{TWIN}/1", 0, 7.5, 8.5, 0.5, 0.125),
        (f"{BROKEN}/0", 0, 7.5, 8.5, 0.5, 0.1),
    ]


def test_readings_count_what_was_recorded_off_the_image_too(made: Tree) -> None:
    rows = egd.read(EgdOptions(*made)).readings.rows()
    assert [row[:4] for row in rows] == [
        (f"{SEEN}/0", SEEN, None, 5),
        (f"{TWIN}/0", TWIN, None, 2),
        (f"{TWIN}/1", TWIN, None, 1),
        (f"{BROKEN}/0", BROKEN, None, 2),
    ]
    assert [row[4] for row in rows] == pytest.approx([2.0, 1.95, 0.125, 0.5])


def test_boxes_have_their_sides_in_our_order(made: Tree) -> None:
    assert egd.read(EgdOptions(*made)).boxes.rows() == [
        (SEEN, "right lung", 1, 2, 30, 40),
        (TWIN, "left lung", 5, 7, 60, 80),
    ]


def test_a_record_with_a_class_goes_before_one_of_the_same_image_without(tree: Tree) -> None:
    path = tree[0] / "master_sheet.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows.append(next(row for row in rows if row["dicom_id"] == BLANK) | {"Normal": "1"})
    write_csv(path, list(rows[0]), [dict[str, object](row) for row in rows])
    cohort = egd.read(EgdOptions(*tree))
    assert BLANK in cohort.cases["case_id"].to_list()
    assert cohort.rejections.filter(case_id=BLANK)["reason"].to_list() == ["duplicate_case"]


def test_boxes_off_their_image_or_of_no_image_are_rejected(tree: Tree) -> None:
    rows = (
        f"{SEEN},heart,-5,500,-7,500",
        f"{SEEN},carina,200,300,300,400",
        f"{TWIN},trachea,20,1,30,2",
        f"{STRANGER},heart,1,20,2,30",
        ",heart,1,20,2,30",
        f"{BLANK},heart,1,20,2,30",
    )
    with (tree[0] / "bounding_boxes.csv").open("a") as file:
        file.write("".join(f"{row}\n" for row in rows))
    cohort = egd.read(EgdOptions(*tree))
    assert cohort.boxes.rows()[2:] == [(SEEN, "heart", 0, 0, 81, 120)]
    of_boxes = cohort.rejections.filter(pl.col("reason").str.contains("box"))
    assert of_boxes.drop("reading_id").rows() == [
        ("box_without_case", STRANGER, "line 8, of an image that is not in the sheet"),
        ("box_without_case", None, "line 9, of an image that is not in the sheet"),
        ("off_image_box", SEEN, "carina, line 6"),
        ("off_image_box", TWIN, "trachea, line 7"),
    ]


def test_every_rejected_thing_has_one_row(made: Tree) -> None:
    rejections = egd.read(EgdOptions(*made)).rejections
    assert sorted(rejections.drop("detail").rows(), key=str) == sorted(
        [
            ("duplicate_case", SEEN, None),
            ("no_label", BLANK, None),
            ("no_label", BOTH, None),
            ("missing_image", LOST, None),
            ("no_gaze", UNREAD, None),
            ("no_gaze", ASIDE, None),
            ("calibration_frame", None, None),
            ("calibration_frame", None, None),
            ("calibration_frame", None, None),
            ("gaze_without_case", STRANGER, None),
            ("off_image_fixation", SEEN, f"{SEEN}/0"),
            ("off_image_fixation", SEEN, f"{SEEN}/0"),
            ("off_image_fixation", BROKEN, f"{BROKEN}/0"),
        ],
        key=str,
    )
    details = " ".join(rejections["detail"])
    for secret in ("12345678", "1580000", SEEN[:39], ".dcm", "/"):
        assert secret not in details


def test_an_image_that_turns_out_unreadable_takes_its_off_image_rows_with_it(made: Tree) -> None:
    cohort = without(egd.read(EgdOptions(*made)), {2: "decode"})
    counts = Counter(cohort.rejections["reason"])
    assert counts["unreadable_image"] == 1
    assert counts["off_image_fixation"] == 2
    assert len(cohort.readings) == 3


def test_cases_without_gaze_can_be_kept(made: Tree) -> None:
    cohort = egd.read(EgdOptions(*made, without_gaze="keep"))
    assert cohort.cases["case_id"].to_list() == [SEEN, UNREAD, ASIDE, TWIN, BROKEN]
    counts = Counter(cohort.rejections["reason"])
    assert counts["no_gaze"] == 0
    assert counts["off_image_fixation"] == 5
    assert cohort.readings.filter(pl.col("case_id") == ASIDE)["recorded"].to_list() == [2]
    assert cohort.fixations.collect()["reading_id"].n_unique() == 4


def test_the_keep_list_is_read_as_its_authors_publish_it(made: Tree, tmp_path: Path) -> None:
    path = tmp_path / "filenames.csv"
    lines = [",filename", f"1,images\\{BROKEN}.dcm", f"2,files/p1/{LOST}.jpg", f"3,{BOTH}", "4,unknown"]
    path.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    cohort = egd.read(EgdOptions(*made, keep_ids=path))
    assert cohort.cases["case_id"].to_list() == [BROKEN]
    counts = Counter(cohort.rejections["reason"])
    # The first reason wins: two classes come before the list, the list before the missing image.
    assert (counts["no_label"], counts["missing_image"], counts["duplicate_case"]) == (2, 1, 1)
    assert counts["not_in_keep_list"] == 4
    assert counts["off_image_fixation"] == 1
    # The split and the patients' keys do not depend on who is left.
    assert cohort.cases.drop("image").rows()[0] == egd.read(EgdOptions(*made)).cases.drop("image").rows()[2]
    assert BROKEN not in str(cohort.parameters)


def test_a_byte_order_mark_and_crlf_do_no_harm(tree: Tree) -> None:
    expected = egd.read(EgdOptions(*tree))
    for name in ("master_sheet.csv", "fixations.csv", "bounding_boxes.csv"):
        path = tree[0] / name
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            csv.writer(file, lineterminator="\r\n").writerows(rows)
    found = egd.read(EgdOptions(*tree))
    for name in ("cases", "readings", "fixations", "boxes"):
        assert getattr(found, name).lazy().collect().equals(getattr(expected, name).lazy().collect())


def test_vertical_correction_is_the_letterbox_turned_back(made: Tree) -> None:
    """A picture line seen on a screen where 1024 lines stand in the middle of 1080 is that line again."""
    plain, corrected = (
        egd.read(EgdOptions(*made)),
        egd.read(EgdOptions(*made, vertical_correction=True)),
    )
    # FPOGY is 0.25 at SEEN's first fixation: screen line 270 is line 242 of 1024.
    assert corrected.fixations.collect()["y"][0] == pytest.approx((270 - 28) / 1024 * ROWS)
    # The middle of the screen is the middle of the picture either way.
    assert corrected.fixations.collect()["y"][1] == pytest.approx(ROWS / 2)
    assert corrected.fixations.collect()["x"].to_list() == plain.fixations.collect()["x"].to_list()
    # Without a header there is no size to correct with; that image will be rejected when it is read.
    assert corrected.fixations.collect()["y"][-1] == plain.fixations.collect()["y"][-1]


def test_correction_leaves_out_what_was_beside_the_smaller_picture(tree: Tree) -> None:
    swap(tree[0] / "fixations.csv", f"s1,2,{SEEN},5,,,,0.25,", f"s1,2,{SEEN},5,,,,0.02,")
    assert 0 not in egd.read(EgdOptions(*tree, vertical_correction=True)).fixations.collect()["index"][:2]
    assert egd.read(EgdOptions(*tree)).fixations.collect()["index"][0] == 0


def test_off_image_is_decided_by_sign_and_by_the_edges(tree: Tree) -> None:
    for x, y, seen in [
        (COLUMNS - 1, ROWS - 1, True),
        (COLUMNS, 0, False),
        (0, ROWS, False),
        (-1, 5, False),
        (5, -2.6, False),
        (5, -57, False),
        (0, 0, True),
        ("", 5, False),
    ]:
        path = tree[0] / "fixations.csv"
        before = path.read_bytes()
        swap(path, "20,30\n", f"{x},{y}\n")
        assert (egd.read(EgdOptions(*tree)).fixations.collect()["index"][0] == 0) is seen, (x, y)
        path.write_bytes(before)


def test_stratified_split_is_by_patient_and_seed(made: Tree) -> None:
    cohort = egd.read(EgdOptions(*made, split="stratified", seed=5))
    assert cohort.cases["split"][0] == cohort.cases["split"][1]
    assert cohort.parameters["seed"] == 5
    assert egd.read(EgdOptions(*made, seed=5)).parameters["seed"] is None


def test_boxes_may_be_missing(tree: Tree, capfd: pytest.CaptureFixture[str]) -> None:
    (tree[0] / "bounding_boxes.csv").unlink()
    assert egd.read(EgdOptions(*tree)).boxes.is_empty()
    assert "bounding_boxes.csv is missing" in " ".join(capfd.readouterr().err.split())


def test_samples_are_not_needed(made: Tree) -> None:
    assert not (made[0] / "eye_gaze.csv").exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("fixations.csv", "FPOGD", "DURATION", r"fixations.csv has no column FPOGD; egd-cxr 1.0.0 has it"),
        ("master_sheet.csv", "CHF", "HF", r"master_sheet.csv has no column CHF"),
        ("bounding_boxes.csv", "bbox_name", "name", r"bounding_boxes.csv has no column bbox_name"),
        (
            "fixations.csv",
            "0.8,0.25",
            "0.8,abc",
            r"fixations.csv, line 6, column FPOGD: it is 'abc', a number",
        ),
        ("fixations.csv", "0.8,0.25", "0.8,", r"line 6, column FPOGD: it is blank, a number expected"),
        ("fixations.csv", "0.8,0.25", "0.8,-0.25", r"line 6, column FPOGD: .* a duration expected"),
        (
            "fixations.csv",
            "20,30\n",
            "20,inf\n",
            r"line 4, column Y_ORIGINAL: it is 'inf', a number expected",
        ),
        ("bounding_boxes.csv", "30,2", "30,x", r"bounding_boxes.csv, line 2, column y1: it is 'x'"),
        # Each record of the sheet has four line breaks in its quoted values.
        (
            "master_sheet.csv",
            "1,1,0,",
            "1,?,0,",
            r"master_sheet.csv, line 12, column CHF: it is '\?', a number",
        ),
        (
            "master_sheet.csv",
            ",15800002,",
            ",,",
            r"master_sheet.csv, line 12, column patient_id: it is blank",
        ),
    ],
)
def test_a_spoilt_table_is_told_with_file_column_and_line(
    tree: Tree, name: str, old: str, new: str, message: str
) -> None:
    swap(tree[0] / name, old, new)
    with pytest.raises(UserError, match=message) as caught:
        egd.read(EgdOptions(*tree))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["fixations.csv", "master_sheet.csv"])
def test_an_empty_or_missing_table_is_told(tree: Tree, name: str) -> None:
    (tree[0] / name).write_bytes(b"")
    with pytest.raises(UserError, match=f"{name} has no column"):
        egd.read(EgdOptions(*tree))
    (tree[0] / name).unlink()
    with pytest.raises(UserError, match=name):
        egd.read(EgdOptions(*tree))


def test_wrong_folders_are_told_with_the_right_one(made: Tree, tmp_path: Path) -> None:
    archive, images = made
    for folders, message in [
        ((images, archive), r"`egd` and `mimic` look swapped"),
        ((archive.parent, images), rf"`egd=.* which has master_sheet.csv; did you mean {archive}\?"),
        ((archive, images.parent), rf"`mimic=.* which has files/p10 .*; did you mean {images}\?"),
        ((archive, images / "files"), rf"`mimic=.*; did you mean {images}\?"),
        ((archive, images / "files" / "p12"), rf"`mimic=.*; did you mean {images}\?"),
        (
            (tmp_path / "none", images),
            r"`egd=.*none` must be the folder of egd-cxr 1.0.0.* it is not a folder",
        ),
        (
            (archive, tmp_path),
            r"`mimic=.* is not the folder of MIMIC-CXR 2.0.0, which has files/p10 … files/p19$",
        ),
    ]:
        with pytest.raises(UserError, match=message):
            egd.read(EgdOptions(*folders))


def test_a_mimic_folder_without_any_of_the_images_is_told(made: Tree, tmp_path: Path) -> None:
    (tmp_path / "files" / "p10").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no image of .*master_sheet.csv is under `mimic="):
        egd.read(EgdOptions(made[0], tmp_path))


def test_a_keep_list_of_other_images_or_another_form_is_told(made: Tree, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(",filename\n1,abc.dcm\n")
    with pytest.raises(UserError, match=r"none of the 1 ids of `keep_ids=.*list.csv` is in master_sheet.csv"):
        egd.read(EgdOptions(*made, keep_ids=path))
    with pytest.raises(UserError, match=r"they are like 'abc', those of master_sheet.csv like '[0-9a-f]{8}-"):
        egd.read(EgdOptions(*made, keep_ids=path))
    path.write_text(",filename\n")
    with pytest.raises(UserError, match=r"list.csv` has no ids"):
        egd.read(EgdOptions(*made, keep_ids=path))
    path.write_text(f"name,{SEEN}\n{TWIN},1\n")
    with pytest.raises(UserError, match=rf"list.csv has no column filename; .* 2 columns: name, {SEEN[:30]}"):
        egd.read(EgdOptions(*made, keep_ids=path))
    path.write_text(f"{SEEN}\n{TWIN}\n")
    with pytest.raises(UserError, match=r"list.csv has no column filename"):
        egd.read(EgdOptions(*made, keep_ids=path))
    with pytest.raises(UserError, match=r"other.csv is missing"):
        egd.read(EgdOptions(*made, keep_ids=tmp_path / "other.csv"))


def test_masks_of_organs_are_kept_and_a_spoilt_one_costs_only_itself(made: Tree, tmp_path: Path) -> None:
    cohort = egd.read(EgdOptions(*made))
    assert "masks" not in cohort.parameters
    assert cohort.regions.select("case_id", "label").rows() == [
        (SEEN, "left lung"),
        (SEEN, "right lung"),
        (SEEN, "mediastinum"),
        (SEEN, "aortic knob"),
        (TWIN, "left lung"),
        (TWIN, "right lung"),
    ]
    store = prepare(cohort, tmp_path / "store", size=120, workers=1)
    assert store.regions.table["label"].to_list() == ["left lung", "right lung", "mediastinum", "aortic knob"]
    place = store.cases.filter(case_id=SEEN).row(0, named=True)
    left = place["pad_x"]
    for row, (top, across) in enumerate(((0, 0), (0, 40), (60, 0), (60, 40))):
        down, right = np.argwhere(store.regions[row]).T
        assert (down.min(), down.max()) == (top, top + 59)
        assert (right.min() - left, right.max() - left) == (across, across + 39)
    lost = store.rejections.filter(pl.col("reason").is_in(["unreadable_mask", "size_mismatch"]))
    assert Counter(lost.select("reason", "case_id").rows()) == {
        ("unreadable_mask", TWIN): 1,
        ("size_mismatch", TWIN): 1,
    }
    assert set(store.cases["case_id"]) == {SEEN, TWIN}


def test_masks_of_organs_can_be_left_out(
    made: Tree, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = egd.read(EgdOptions(*made, masks=False))
    assert cohort.regions.is_empty()
    assert cohort.parameters["masks"] is False
    shutil.copytree(made[0], tmp_path / "egd", ignore=shutil.ignore_patterns("audio_*"))
    capfd.readouterr()
    assert egd.read(EgdOptions(tmp_path / "egd", made[1])).regions.is_empty()
    assert "No masks of organs are under" in capfd.readouterr().err


def test_a_keep_list_is_read_whatever_its_letter_case(made: Tree, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"FileName\n{SEEN.upper()}.DCM\n{TWIN}\n")
    lower = tmp_path / "lower.csv"
    lower.write_text(f"filename\n{SEEN}.dcm\n{TWIN}\n")
    one, other = (egd.read(EgdOptions(*made, keep_ids=list_)) for list_ in (path, lower))
    assert one.cases.equals(other.cases)
    assert SEEN in set(one.cases["case_id"])
    assert one.parameters == other.parameters


@pytest.mark.parametrize("name", ["fixations.csv", "bounding_boxes.csv"])
def test_a_file_of_the_archive_without_records_is_told(
    name: str, made: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made[0], tmp_path / "egd")
    egd.read(EgdOptions(tmp_path / "egd", made[1], without_gaze="keep"))
    assert "has no records" not in capsys.readouterr().err
    path = tmp_path / "egd" / name
    path.write_text(path.read_text().splitlines()[0] + "\n")
    cohort = egd.read(EgdOptions(tmp_path / "egd", made[1], without_gaze="keep"))
    what = {"fixations.csv": "gaze", "bounding_boxes.csv": "boxes"}[name]
    assert f"{name}hasnorecords:thereisno{what}init" in "".join(capsys.readouterr().err.split())
    assert (cohort.boxes.is_empty(), cohort.readings.is_empty()) == (what == "boxes", what == "gaze")


def test_raw_samples_without_records_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = "SESSION_ID,MEDIA_ID,DICOM_ID,CNT,Time (in secs),BPOGX,BPOGY,BPOGV\n"
    (tmp_path / "eye_gaze.csv").write_text(columns)
    assert read_samples(tmp_path).is_empty()
    assert "eye_gaze.csvhasnorecords" in "".join(capsys.readouterr().err.split())
