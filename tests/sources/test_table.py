"""A generic table: values that are read, guessed, rejected, and refused with their place."""

# ruff: noqa: E501  tables of mistakes, one to a line
from __future__ import annotations

import os
import random
import shutil
import stat
from pathlib import Path
from typing import Literal, Unpack

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.errors import UserError
from radgaze.gaze import GazeMaps
from radgaze.sources import table
from radgaze.sources.cohort import Cohort
from radgaze.sources.table import TableOptions
from radgaze.sources.table.ids import KEY, write_key
from radgaze.sources.table.matching import cases_by_key, stem
from radgaze.store.dataset import GazeDataset
from radgaze.tables import read_csv
from tests.sources.names import TableKeywords, read_named
from tests.stores import prepare

LABELS = """image,patient_id,age,Normal,Sick
a.png,p1,40,1,0
sub/b.png,p1,41,0,1
c.png,p2,50,0,1
d.png,p3,60,0,1
gone.png,p4,60,1,0
e.png,p5,22,,
"""
FIXATIONS = """case,x,y,onset,duration,reader
b,10,20,0.5,0.25,Dr Secret
b,5,6,0.1,0.25,Dr Secret
b.png,7,8,0.2,0.25,Dr Other
sub/b.png,99,8,0.6,0.25,Dr Other
b,,,0.9,0.25,Dr Secret
c,-2,3,0,1,Dr Other
stranger,1,1,0,1,
"""
BOXES = """image,label,x,y,width,height
b.png,opacity,10,20,30,60
b.png,,-5,0,10,10
c.png,opacity,500,0,10,10
z.png,opacity,1,1,2,2
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/b", "c", "d", "e"):
        Image.fromarray(np.arange(60 * 40, dtype=np.uint8).reshape(60, 40)).save(tmp_path / f"{name}.png")
    for name, text in (("labels", LABELS), ("fixations", FIXATIONS), ("boxes", BOXES)):
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def read(folder: Path, **options: Unpack[TableKeywords]) -> Cohort:
    return read_named(folder / "labels.csv", **options)


def rewritten(folder: Path, text: str, **options: Unpack[TableKeywords]) -> Cohort:
    (folder / "labels.csv").write_text(text)
    return read(folder, **options)


def tally(cohort: Cohort) -> dict[str, int]:
    return dict(cohort.rejections["reason"].value_counts().iter_rows())


def test_labels_patients_and_images_are_read_and_what_is_missing_is_rejected(folder: Path) -> None:
    cohort = read(folder)
    assert cohort.classes == ("Normal", "Sick")
    assert cohort.cases["case_id"].to_list() == ["a", "b", "c", "d"]
    assert cohort.cases["patient"].to_list() == [0, 0, 1, 2]
    assert cohort.cases["label_Sick"].to_list() == [0, 1, 1, 1]
    assert cohort.cases["image"][1] == str(folder / "sub/b.png")
    assert tally(cohort) == {"missing_image": 1, "no_label": 1}
    assert set(cohort.cases["split"]) <= {"train", "validate", "test"}


def test_readings_are_of_case_and_reader_in_time_and_readers_are_not_named(folder: Path) -> None:
    cohort = read(folder, fixations=folder / "fixations.csv")
    assert cohort.readings.select("reading_id", "case_id", "reader", "recorded").rows() == [
        ("b/0", "b", "reader-1", 3),
        ("b/1", "b", "reader-2", 2),
        ("c/0", "c", "reader-2", 1),
    ]
    assert cohort.fixations.collect().select("reading_id", "index", "x", "y", "onset").rows() == [
        ("b/0", 0, 5, 6, 0.0),  # at 0.1 in the table, as the reading's first
        ("b/0", 1, 10, 20, 0.4),
        ("b/1", 0, 7, 8, 0.0),
    ]
    counts = {"off_image_fixation": 3, "gaze_without_case": 1, "missing_image": 1, "no_label": 1}
    assert tally(cohort) == counts
    dropped = read(folder, fixations=folder / "fixations.csv", without_gaze="drop")
    assert dropped.cases["case_id"].to_list() == ["b"]
    assert tally(dropped)["no_gaze"] == 3


def test_boxes_are_scaled_from_their_frame_and_cut_to_the_image(folder: Path) -> None:
    plain = read(folder, boxes=folder / "boxes.csv")
    assert plain.boxes.rows() == [("b", "opacity", 10, 20, 40, 60), ("b", "box", 0, 0, 5, 10)]
    assert tally(plain) == {"missing_image": 1, "no_label": 1, "off_image_box": 1, "box_without_case": 1}
    scaled = read(folder, boxes=folder / "boxes.csv", box_frame="80x240")
    assert scaled.boxes.rows()[0] == ("b", "opacity", 5, 5, 20, 20)
    corners = "case,xmin,ymin,xmax,ymax\na,1,2,3,4\n"
    (folder / "corners.csv").write_text(corners)
    assert read(folder, boxes=folder / "corners.csv").boxes.rows() == [("a", "box", 1, 2, 3, 4)]


def test_ellipses_keep_their_corners_over_the_border(folder: Path) -> None:
    found = read(folder, boxes=folder / "boxes.csv", box_shape="ellipse")
    plain = read(folder, boxes=folder / "boxes.csv")
    assert found.boxes["shape"].to_list() == ["ellipse"] * 2
    # The image is 40 by 60 pixels: boxes are cut to it.
    assert found.boxes.drop("shape").rows()[0] == ("b", "opacity", 10, 20, 40, 80)
    assert plain.boxes.rows()[0] == ("b", "opacity", 10, 20, 40, 60)
    assert tally(found) == tally(plain)
    assert found.parameters["box_shape"] == "ellipse"
    assert "box_shape" not in plain.parameters


def test_fixations_are_scaled_from_their_frame(folder: Path) -> None:
    cohort = read(folder, fixations=folder / "fixations.csv", fixation_frame="20x30")
    assert cohort.fixations.collect().select("x", "y").rows()[:2] == [(10, 12), (20, 40)]


def test_a_parquet_table_is_read_as_the_csv_is(folder: Path) -> None:
    pl.read_csv(folder / "labels.csv").with_columns(pl.col("Normal") == 1, pl.col("Sick") == 1).write_parquet(
        folder / "labels.parquet"
    )
    of_parquet = read_named(folder / "labels.parquet", labels=["Normal", "Sick"])
    assert of_parquet.cases.equals(read(folder, labels=["Normal", "Sick"]).cases)


def test_a_column_of_class_names_gives_the_classes_or_those_chosen(folder: Path) -> None:
    text = "path,subject,diagnosis,split\n" + "".join(
        f"{name}.png,{k},{label},{split}\n"
        for k, (name, label, split) in enumerate(
            [("a", "Zero", "train"), ("sub/b", "one", "val"), ("c", "two", "TEST"), ("d", "one", "training")]
        )
    )
    cohort = rewritten(folder, text)
    assert cohort.classes == ("Zero", "one", "two")
    assert cohort.cases["split"].to_list() == ["train", "validate", "test", "train"]
    assert cohort.parameters["split"] == "table"
    chosen = read(folder, classes=["two", "one"])
    assert chosen.classes == ("two", "one")
    assert chosen.cases["label_two"].to_list() == [0, 1, 0]
    assert tally(chosen) == {"no_label": 1}
    anew = read(folder, columns=["split="])
    assert anew.parameters["split"] == "stratified"


def test_records_with_several_classes_are_taken_so_with_a_notice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "image,patient,A,B\na.png,1,1,0\nc.png,2,1,1\nd.png,3,0,0\ne.png,4,,1\n"
    cohort = rewritten(folder, text, labels=["A", "B"])
    assert not cohort.exclusive
    assert cohort.cases.select("case_id", "label_A", "label_B").rows() == [
        ("a", 1, 0),
        ("c", 1, 1),
        ("d", 0, 0),
    ]
    assert tally(cohort) == {"no_label": 1}  # whether e has A is not known
    assert "labels.csv: line 3 has several of the classes" in " ".join(capsys.readouterr().err.split())


def test_records_without_any_class_are_cases_where_classes_do_not_exclude_each_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "image,patient,A,B\na.png,1,1,0\nc.png,2,0,1\nd.png,3,0,0\n"
    one_each = rewritten(folder, text, labels=["A", "B"])
    assert (one_each.exclusive, tally(one_each)) == (True, {"no_label": 1})
    assert "1 records have none of the classes" in " ".join(capsys.readouterr().err.split())
    several = rewritten(folder, text, multi_label=True)
    assert several.classes == ("A", "B")
    assert (several.exclusive, several.cases.height) == (False, 3)


def test_names_of_several_classes_may_stand_in_one_column(folder: Path) -> None:
    text = "image,patient,finding\na.png,1,Mass|Effusion\nc.png,2,No Finding\nd.png,3,\ne.png,4,Mass\n"
    cohort = rewritten(folder, text)
    assert cohort.classes == ("Effusion", "Mass", "No Finding")
    assert not cohort.exclusive
    chosen = read(folder, classes=["Mass", "Effusion"])
    assert chosen.cases.select("case_id", "label_Mass", "label_Effusion").rows() == [
        ("a", 1, 1),
        ("c", 0, 0),
        ("e", 1, 0),
    ]
    assert tally(chosen) == {"no_label": 1}


def test_one_column_of_0_and_1_makes_two_classes(folder: Path) -> None:
    cohort = read(folder, labels=["Sick"])
    assert cohort.classes == ("no Sick", "Sick")
    assert cohort.cases.select("label_no Sick", "label_Sick").rows() == [(1, 0), (0, 1), (0, 1), (0, 1)]


def test_columns_may_be_named(folder: Path) -> None:
    text = "x,who,what,key\na.png,1,A,k1\nc.png,1,B,k2\n"
    cohort = rewritten(folder, text, columns=["image=x", "patient=who", "case=key"], labels=["what"])
    assert cohort.cases["case_id"].to_list() == ["k1", "k2"]
    alone = read(folder, columns=["image=x", "patient="], labels=["what"])
    assert alone.cases["patient"].to_list() == [0, 1]


def test_what_is_guessed_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(folder, boxes=folder / "boxes.csv")
    said = " ".join(capsys.readouterr().err.split())
    assert "labels.csv: image is column “image”, patient is column “patient_id”" in said
    assert "a class each is in the columns “Normal”, “Sick”" in said
    assert "case is column “image”" in said


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("image,patient,A\na.png,1,1\nc.png,2,0\n", {"labels": ["A"], "multi_label": True}, r"`multi_label` needs several"),
        ("image,patient,A,B\na.png,1,1,0\nc.png,2,maybe,0\n", {"labels": ["A", "B"]}, r"line 3, column A: it is 'maybe', 0 or 1"),
        ("image,patient,label\na.png,1,x\na.png,1,y\n", {}, r"lines 2 and 3: the case 'a' is x and y"),
        ("image,patient,label\na.png,1,x\nsub/a.png,1,y\n", {}, r"lines 2 and 3: two images would be the case 'a'"),
        ("image,patient,label\na.png,1,x\nc.png,2,x\n", {}, r"column label: one class, x"),
        ("image,patient,label\na.png,,x\nc.png,2,y\n", {}, r"line 2, column patient: it is blank"),
        ("image,patient,label,split\na.png,1,x,train\nc.png,1,y,test\n", {}, r"lines 2 and 3: one patient is in train and in test"),
        ("image,patient,label,split\na.png,1,x,train\nc.png,2,y,later\n", {}, r"line 3, column split: it is 'later'"),
        ("image,label\na.png,x\nc.png,y\n", {}, r"no column tells the patient"),
        ("image,patient,u,v\na.png,1,x,3\nc.png,2,y,4\n", {}, r"which columns are the labels\? .*u, v"),
        ("picture,patient,label\na.png,1,x\nc.png,2,y\n", {}, r"which column is the image\?"),
        ("image,patient,label\na.png,1,x\nc.png,2,y\n", {"columns": ["patient=who"]}, r"has no such column; it has image"),
        ("image,patient,label\na.png,1,x\nc.png,2,y\n", {"columns": ["who"]}, r"must be KEY=COLUMN"),
        ("image,patient,label\na.png,1,x\nc.png,2,y\n", {"classes": ["x", "z"]}, r"`classes=z`: no record"),
        ("image,patient,label\nq.png,1,x\nr.png,2,y\n", {}, r"no image of .* is under"),
        ("image,patient,label\n", {}, r"has no records"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(
    folder: Path, text: str, options: TableKeywords, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        rewritten(folder, text, **options)


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("boxes", "image,x1,y1,x2,y2\na.png,1,1,5,5\na.png,7,1,5,5\n", {}, r"line 3, column x2: it is '5.0', more than x1"),
        ("boxes", "image,x,y,width,height\na.png,1,1,0,5\n", {}, r"line 2, column width"),
        ("boxes", "image,x,y,width\na.png,1,1,3\n", {}, r"a box is x1, y1, x2, y2 or"),
        ("boxes", "image,x,y,width,height\na.png,1,one,3,3\n", {}, r"line 2, column y: it is 'one', a number"),
        ("boxes", "image,x,y,width,height\nq,1,1,3,3\n", {}, r"no record belongs to a case"),
        ("boxes", BOXES, {"box_frame": "1024"}, r"`box_frame=1024` must be WIDTHxHEIGHT"),
        ("fixations", "case,x,y,onset\na,1,1,0\n", {}, r"which column is the duration\?"),
        ("fixations", "case,a,b,onset\na,1,1,0\n", {}, r"which column is the x, y and duration\? Name each"),
        ("fixations", "case,x,y,onset,duration\na,1,1,0,-1\n", {}, r"line 2, column duration"),
    ],
)  # fmt: skip
def test_mistakes_in_fixations_and_boxes_are_told_with_their_place(
    folder: Path, name: Literal["boxes", "fixations"], text: str, options: TableKeywords, message: str
) -> None:
    (folder / f"{name}.csv").write_text(text)
    given = options.copy()
    given[name] = folder / f"{name}.csv"
    with pytest.raises(UserError, match=message):
        read(folder, **given)


def test_a_repeated_record_is_rejected_once(folder: Path) -> None:
    text = "image,patient,label\na.png,1,x\na.png,1,x\nc.png,2,y\n"
    assert tally(rewritten(folder, text)) == {"duplicate_case": 1}


def test_a_record_with_a_label_goes_before_one_of_the_same_case_without(folder: Path) -> None:
    text = "image,patient,label\na.png,1,\na.png,1,x\na.png,1,x\nc.png,2,\nc.png,2,\nd.png,3,y\n"
    cohort = rewritten(folder, text)
    assert cohort.cases["case_id"].to_list() == ["a", "d"]
    assert cohort.rejections.select("reason", "case_id", "detail").rows() == [
        ("duplicate_case", "a", "2 repeats 3"),
        ("duplicate_case", "a", "4 repeats 3"),
        ("no_label", "c", "record 5"),
        ("duplicate_case", "c", "6 repeats 5"),
    ]


def test_it_becomes_a_store_without_reader_or_path(folder: Path, tmp_path: Path) -> None:
    cohort = read(folder, fixations=folder / "fixations.csv", boxes=folder / "boxes.csv")
    store = prepare(cohort, tmp_path / "store", size=60, workers=1)
    assert store.cases["rows"].to_list() == [60] * 4
    picture = np.asarray(Image.open(folder / "a.png"))
    np.testing.assert_array_equal(store.image(0)[:, 10:50], picture)
    text = "".join(t.write_csv() for t in (store.cases, store.readings, store.rejections))
    assert "Secret" not in text
    assert "sub/" not in text


NAMES = ("Mueller_Anna_1970", "Meier_Bert_1980", "Schmidt_Carl", "Weber_1990", "Fremd_Dora")


def private(folder: Path) -> Path:
    """Images, looks, boxes and masks that are all named after patients, some of what is in no record."""
    for k, name in enumerate(NAMES[:3]):
        Image.fromarray(np.full((60, 40), 40 * k, np.uint8)).save(folder / f"{name}.png")
    records = [f"{name}.png,{k},{'xy'[k % 2]}" for k, name in enumerate(NAMES[:4])]
    (folder / "labels.csv").write_text("\n".join(["image,patient,label", *records, records[0]]))
    for file, head, row in (
        ("looks", "image,x,y,onset,duration", "1,2,0,1"),
        ("marks", "image,label,x,y,width,height", "opacity,1,2,3,4"),
    ):
        rows = [f"{name}.png,{row}" for name in (NAMES[1], NAMES[4])]
        (folder / f"{file}.csv").write_text("\n".join([head, *rows]))
    for name in (NAMES[1], NAMES[4]):
        save_mask(folder / "marks" / f"{name}_mask.png")
    return folder


def test_gaze_of_images_that_are_named_by_uids_is_not_taken_for_that_of_one(folder: Path) -> None:
    uids = [f"1.2.840.{k}" for k in range(3)]
    rows = [f"{name},1,2,0,1" for name in ("a", *uids, "x/1.2.840.7.PNG", "1.2.840.7.dcm")]
    (folder / "looks.csv").write_text("\n".join(["case,x,y,onset,duration", *rows]))
    table.read(TableOptions(folder / "labels.csv", key=folder / "key.csv", fixations=folder / "looks.csv"))
    names = pl.read_csv(folder / "key.csv", infer_schema=False)["name"].to_list()
    assert names[-4:] == [*uids, "1.2.840.7"]


def of_private(folder: Path, key: Path | None = None) -> Cohort:
    return table.read(
        TableOptions(
            folder / "labels.csv",
            key=key,
            fixations=folder / "looks.csv",
            boxes=folder / "marks.csv",
            masks=folder / "marks",
        )
    )


def test_a_key_that_is_there_becomes_its_owners_alone(tmp_path: Path) -> None:
    path, key = tmp_path / "key.csv", pl.DataFrame({"id": ["case-000001"], "name": ["Mueller"]}, schema=KEY)
    write_key(path, key)
    path.chmod(0o644)
    write_key(path, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_name_of_a_file_reaches_a_store_and_the_key_tells_which_is_which(
    folder: Path, tmp_path: Path
) -> None:
    key = tmp_path / "key.csv"
    cohort = of_private(private(folder), key=key)
    store = prepare(cohort, tmp_path / "store", size=60, workers=1)
    for path in store.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            data += pl.read_parquet(path).write_csv().encode() if path.suffix == ".parquet" else b""
            for name in NAMES:
                assert name.split("_")[0].encode() not in data, (path.name, name)
    assert store.cases["case_id"].to_list() == ["case-000001", "case-000002", "case-000003"]
    assert store.readings["reading_id"].to_list() == ["case-000002/0"]
    told = dict(read_csv(key).iter_rows())
    files = [f"{name}.png" for name in NAMES[:4]]
    assert told == {f"case-00000{k}": name for k, name in enumerate(files, 1)} | {"stranger-000001": NAMES[4]}
    strange = store.rejections.filter(pl.col("reason").str.contains("without_case"))
    assert set(strange["reason"]) == {"gaze_without_case", "box_without_case", "mask_without_case"}
    assert set(strange["case_id"]) == {"stranger-000001"}
    assert key.stat().st_mode & 0o077 == 0


def test_ids_are_the_same_each_time_and_a_key_is_never_overwritten_with_another(
    folder: Path, tmp_path: Path
) -> None:
    first = of_private(private(folder), key=tmp_path / "key.csv")
    again = of_private(folder, key=tmp_path / "key.csv")
    assert first.cases.equals(again.cases)
    assert first.rejections.equals(again.rejections)
    (folder / "labels.csv").write_text(f"image,patient,label\n{NAMES[1]}.png,0,x\n{NAMES[0]}.png,1,y\n")
    with pytest.raises(UserError, match=r"`key=.*key.csv.*another file is there"):
        of_private(folder, key=tmp_path / "key.csv")
    for wrong in (tmp_path, tmp_path / "none" / "key.csv"):
        with pytest.raises(UserError, match="`key="):
            of_private(folder, key=wrong)


def test_a_column_of_ids_is_kept(folder: Path) -> None:
    private(folder)
    (folder / "labels.csv").write_text(
        f"image,patient,label,case\n{NAMES[1]}.png,0,x,k7\n{NAMES[0]}.png,1,y,k2\n"
    )
    cohort = of_private(folder)
    assert cohort.cases["case_id"].to_list() == ["k7", "k2"]
    assert "names" not in cohort.parameters


def test_other_files_under_the_same_numbers_are_another_store(folder: Path, tmp_path: Path) -> None:
    text = "image,patient,label\n{}.png,0,x\n{}.png,1,y\n"
    Image.fromarray(np.zeros((60, 40), np.uint8)).save(folder / "f.png")
    Image.fromarray(np.full((60, 40), 9, np.uint8)).save(folder / "g.png")
    (folder / "labels.csv").write_text(text.format("f", "g"))
    prepare(table.read(TableOptions(folder / "labels.csv")), tmp_path / "store", size=60, workers=1)
    (folder / "labels.csv").write_text(text.format("g", "f"))
    with pytest.raises(UserError, match="another store"):
        prepare(table.read(TableOptions(folder / "labels.csv")), tmp_path / "store", size=60, workers=1)


def test_a_file_that_is_called_like_an_id_of_ours_keeps_its_own_gaze(folder: Path) -> None:
    for name in ("z", "case-000001"):
        Image.fromarray(np.zeros((60, 40), np.uint8)).save(folder / f"{name}.png")
    (folder / "labels.csv").write_text("image,patient,label\nz.png,0,x\ncase-000001.png,1,y\n")
    (folder / "looks.csv").write_text("case,x,y,onset,duration\ncase-000001,1,2,0,1\n")
    cohort = table.read(TableOptions(folder / "labels.csv", fixations=folder / "looks.csv"))
    assert cohort.readings["case_id"].to_list() == ["case-000002"]


# Masks


def save_mask(path: Path, rows: slice = slice(10, 30), shape: tuple[int, int] = (60, 40)) -> None:
    mask = np.zeros(shape, dtype=bool)
    mask[rows] = True
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask).save(path)


def test_masks_of_a_table_are_of_their_case_and_what_has_none_is_rejected(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two", "three"):
        save_mask(folder / "masks" / f"{name}.png")
    (folder / "masks" / "list.csv").write_text(
        "image,mask_path,finding\nsub/b.png,one.png,opacity\nc,two.png,N/A\na.png,gone.png,opacity\n"
        "e.png,three.png,opacity\nz.png,three.png,opacity\nb,three.png,Sick\n"
    )
    cohort = read(folder, masks=folder / "masks" / "list.csv")
    assert cohort.regions.rows() == [
        ("b", "opacity", str(folder / "masks" / "one.png")),
        ("b", "Sick", str(folder / "masks" / "three.png")),
        ("c", "mask", str(folder / "masks" / "two.png")),
    ]
    assert "file is column “mask_path”" in capfd.readouterr().err
    told = cohort.rejections.filter(pl.col("reason").str.contains("mask")).select("reason", "case_id")
    assert sorted(told.rows()) == [("mask_without_case", "z"), ("unreadable_mask", "a")]  # e has no label
    named = read(
        folder, masks=folder / "masks" / "list.csv", mask_columns=["file=mask_path", "case=image", "name="]
    )
    assert set(named.regions["label"]) == {"mask"}


def test_masks_in_a_folder_are_named_as_their_images(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Beside the images, with an ending, and in folders named as what they mark."""
    save_mask(folder / "b_mask.png")
    save_mask(folder / "c-seg.tif")
    save_mask(folder / "opacity" / "b.png")
    save_mask(folder / "opacity" / "stranger_mask.png")
    cohort = read(folder, masks=folder)
    assert cohort.regions.select("case_id", "label").rows() == [
        ("b", "mask"),
        ("b", "opacity"),
        ("c", "mask"),
    ]
    assert tally(cohort)["mask_without_case"] == 1
    assert cohort.rejections.filter(reason="mask_without_case")["case_id"].to_list() == ["stranger"]
    assert "4 masks, of “mask”, “opacity”" in " ".join(capfd.readouterr().err.split())
    fewer = read(folder, masks=folder, fixations=folder / "fixations.csv", without_gaze="drop")
    assert set(fewer.regions["case_id"]) == {"b"}


def test_a_mask_whose_name_is_not_utf_8_is_left_out(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save_mask(folder / "masks" / "b.png")
    shutil.copy(folder / "masks" / "b.png", folder / "masks" / os.fsdecode(b"M\xfcller.png"))
    assert read(folder, masks=folder / "masks").regions["case_id"].to_list() == ["b"]
    assert "1 picture left out, since a table holds no path that is not UTF-8" in " ".join(
        capfd.readouterr().err.split()
    )


def test_masks_reach_the_store_and_stand_in_for_gaze(folder: Path, tmp_path: Path) -> None:
    save_mask(folder / "masks" / "b.png", slice(0, 30))
    save_mask(folder / "masks" / "c.png", shape=(40, 60))
    store = prepare(read(folder, masks=folder / "masks"), tmp_path / "store", size=60, workers=1)
    assert store.regions.table.select("case_id", "label", "area").rows() == [("b", "mask", 30 * 40)]
    assert store.regions[0][:30, 10:50].all()
    assert store.rejections.filter(reason="size_mismatch")["case_id"].to_list() == ["c"]
    cases = GazeDataset(store, size=60, gaze=GazeMaps(boxes="attention"))
    assert cases.with_boxes_for_gaze == 1


@pytest.mark.parametrize(
    ("masks", "columns", "told"),
    [
        ("none.csv", [], "none.csv"),
        ("empty", [], "has no mask: a PNG, JPEG or TIFF named as its image"),
        ("others", [], "no record belongs to a case of the table"),
        ("others", ["case=x"], "`mask_columns` is for a table of masks"),
        ("few.csv", [], "which column is the file.*`mask_columns=file=COLUMN`"),
        ("blank.csv", [], "line 2.*a file expected"),
    ],
)
def test_masks_that_make_no_sense_are_told(folder: Path, masks: str, columns: list[str], told: str) -> None:
    (folder / "empty").mkdir()
    save_mask(folder / "others" / "x.png")
    (folder / "few.csv").write_text("case,thing\na,b\n")
    (folder / "blank.csv").write_text("case,file\na,\n")
    with pytest.raises(UserError, match=told):
        read(folder, masks=folder / masks, mask_columns=columns)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fixation_units": ["onset=ms"]}, "`fixation_units` needs `fixations`"),
        ({"fixation_frame": "1x1", "boxes": Path("b.csv")}, "`fixation_frame` needs `fixations`"),
        ({"fixation_columns": ["x=a"]}, "`fixation_columns` needs `fixations`"),
        ({"box_shape": "ellipse"}, "`box_shape` needs `boxes`"),
        ({"box_frame": "1x1"}, "`box_frame` needs `boxes`"),
        ({"box_columns": ["x1=a"]}, "`box_columns` needs `boxes`"),
        ({"mask_columns": ["file=a"]}, "`mask_columns` needs `masks`"),
    ],
)
def test_settings_of_a_file_that_is_not_given_are_told(options: TableKeywords, told: str) -> None:
    with pytest.raises(UserError, match=told):
        TableOptions("labels.csv", **options)
    TableOptions("labels.csv", box_shape="box", fixation_columns=[], fixation_frame=None)


# Names of cases in further tables


@pytest.fixture
def shifted(tmp_path: Path) -> Path:
    """Cases 0 to 3, whose images are 1.png to 4.png: an id is the name of another case's image."""
    for k in range(1, 5):
        Image.fromarray(np.zeros((60, 40), np.uint8)).save(tmp_path / f"{k}.png")
    rows = "".join(f"{k},{k + 1}.png,p{k},{'AB'[k % 2]}\n" for k in range(4))
    (tmp_path / "labels.csv").write_text(f"case,image,patient,label\n{rows}")
    return tmp_path


def positions(folder: Path, column: str, names: list[str]) -> list[tuple[str, float]]:
    """Case and x of fixations that name cases in a column, with x counted from 0."""
    rows = "".join(f"{name},{x},9,0,1\n" for x, name in enumerate(names))
    (folder / "looks.csv").write_text(f"{column},x,y,onset,duration\n{rows}")
    cohort = table.read(TableOptions(folder / "labels.csv", fixations=folder / "looks.csv"))
    found = cohort.readings.join(cohort.fixations.collect(), on="reading_id")
    return sorted(found.select("case_id", "x").rows())


def test_an_id_is_not_taken_for_the_image_of_another_case(shifted: Path) -> None:
    own = [("0", 0), ("1", 1), ("2", 2), ("3", 3)]
    assert positions(shifted, "case", ["0", "1", "2", "3"]) == own
    assert positions(shifted, "image", ["1", "2", "3", "4"]) == own
    assert positions(shifted, "image", ["1.png", "2.png", "3.png", "4.png"]) == own
    (shifted / "boxes.csv").write_text("case,x1,y1,x2,y2\n0,0,0,9,9\n1,1,0,9,9\n")
    cohort = table.read(TableOptions(shifted / "labels.csv", boxes=shifted / "boxes.csv"))
    assert cohort.boxes.select("case_id", "x1").rows() == [("0", 0), ("1", 1)]


@pytest.mark.parametrize(
    ("column", "names"), [("case", ["1", "2", "3", "4"]), ("image", ["0", "1", "2", "3"])]
)
def test_names_that_may_be_ids_or_images_are_refused(shifted: Path, column: str, names: list[str]) -> None:
    with pytest.raises(UserError, match=r"looks.csv: '\d' is the id of one case and the image of another"):
        positions(shifted, column, names)


def test_masks_in_a_folder_are_of_images_rather_than_of_ids(shifted: Path) -> None:
    for k in range(1, 4):
        save_mask(shifted / "masks" / f"{k}.png")
    save_mask(shifted / "masks" / "4_mask.png")
    cohort = table.read(TableOptions(shifted / "labels.csv", masks=shifted / "masks"))
    found = [(case, Path(file).name) for case, file in cohort.regions.select("case_id", "file").rows()]
    assert found == [("0", "1.png"), ("1", "2.png"), ("2", "3.png"), ("3", "4_mask.png")]
    save_mask(shifted / "masks" / "0.png")
    with pytest.raises(UserError, match="masks: '1' is the id of one case"):
        table.read(TableOptions(shifted / "labels.csv", masks=shifted / "masks"))


def test_a_file_name_that_several_images_have_is_refused(tmp_path: Path) -> None:
    for k in range(2):
        (tmp_path / f"p{k}").mkdir()
        Image.fromarray(np.zeros((60, 40), np.uint8)).save(tmp_path / f"p{k}" / "pa.png")
    (tmp_path / "labels.csv").write_text("case,image,patient,label\nc,p0/pa.png,0,A\nd,p1/pa.png,1,B\n")
    for name in ("pa.png", "pa", "PA.png"):
        with pytest.raises(UserError, match=r"looks.csv: 'pa(.png)?' is an image of 'c' and of 'd'"):
            positions(tmp_path, "image", [name])
    assert positions(tmp_path, "image", ["p0/pa.png", "p1/pa.png"]) == [("c", 0), ("d", 1)]
    save_mask(tmp_path / "masks" / "pa_mask.png")
    with pytest.raises(UserError, match="masks: 'pa' is an image of 'c' and of 'd'"):
        table.read(TableOptions(tmp_path / "labels.csv", masks=tmp_path / "masks"))


@pytest.mark.parametrize("by_image", [False, True])
def test_a_case_goes_by_its_id_its_image_and_that_files_name(by_image: bool) -> None:
    """Whatever the order of the records: a key is of the first kind that any case has it as."""
    draw = random.Random(0)
    for _ in range(100):
        rows = [
            (
                draw.choice(["a", "b", "a.png", "x/a"]),
                draw.choice(["a.png", "x/a.png", "y\\a.png", "b.1.png", "b"]),
            )
            for _ in range(draw.randrange(1, 12))
        ]
        names: dict[str, set[str]] = {}
        images: dict[str, set[str]] = {}
        for case_id, _ in rows:
            names.setdefault(case_id, set()).add(case_id)
        for kind in (lambda image: image, lambda image: image.replace("\\", "/").rpartition("/")[2], stem):
            of_kind: dict[str, set[str]] = {}
            for case_id, image in rows:
                of_kind.setdefault(kind(image), set()).add(case_id)
            images = of_kind | images
        first, second = (images, names) if by_image else (names, images)
        found = cases_by_key(
            pl.DataFrame(rows, schema=["name", "image"], orient="row").with_columns(case_id="name"),
            by_image=by_image,
        )
        assert set(found["key"]) == set(first | second)
        for key, case_id, other, contested, otherwise in found.iter_rows():
            meant = sorted((second | first)[key])
            assert [case_id, *([] if other is None else [other])] == meant[:2]
            assert otherwise == (key not in first)
            assert contested == (key in first and key in second and min(first[key]) != min(second[key]))
