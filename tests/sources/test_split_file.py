"""A list of splits is followed by patient: no patient is both trained on and tested, and all is told."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.sources import egd
from radgaze.sources.egd import EgdOptions
from radgaze.sources.egd.split_file import read_split_file, with_splits, with_validation
from tests.sources.trees import SHEET, write_tree

IDS = {f"case{k}" for k in range(6)}
EXPECTED = {**dict.fromkeys(("case0", "case1", "case2"), "train"), "case3": "validate", "case4": "test"}


@pytest.mark.parametrize(
    "text",
    [
        "image_id,class_name,phase\ncase0,CHF,train\ncase1,Normal,train\ncase2,CHF,train\ncase3,CHF,val\ncase4,CHF,test\n",
        "\ufeff,dicom_id,split\n0,case0,Train\n1,CASE1,training\n2,x/case2.dcm,train\n3,case3,valid\n4,case4,TEST\n",
        "case0 train\ncase1 train\ncase2 train\ncase3 val\ncase4 test\n",
        "case0,train\ncase1,train\ncase2,train\ncase3,dev\ncase4,test\n",
        "case0\ttrain\ncase1\ttrain\ncase2\ttrain\ncase3\tval\ncase4\ttesting\n",
    ],
    ids=["GD-ViG", "other names", "words", "no heading", "tabs"],
)
def test_forms_of_a_list(text: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    assert read_split_file(tmp_path / "list.csv", IDS) == EXPECTED


def test_a_folder_of_lists(tmp_path: Path) -> None:
    for name, ids in (
        ("train", "case0\nimages/case1.png\n\ncase2 2\n"),
        ("val", "case3\n"),
        ("test", "case4\n"),
    ):
        (tmp_path / f"{name}.txt").write_text(ids)
    assert read_split_file(tmp_path, IDS) == EXPECTED


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("image_id,phase\ncase0,train\ncase1,holdout\n", "'holdout' is no split; there are train"),
        ("image_id,phase\ncase0,train\ncase0,test\n", "one image both into train and into test"),
        ("image_id,phase\ncase0,train\ncase1,train\n", "has no test images"),
        ("image_id,phase\nx1,train\nx2,test\n", "none of the 2 ids"),
        ("image_id,class_name\ncase0,CHF\n", r"no column of splits \(split or phase\)"),
        ("name,phase\ncase0,train\n", r"no column of images \(image_id or dicom_id\)"),
    ],
)
def test_lists_that_cannot_be_used_are_told(text: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(UserError, match=fault):
        read_split_file(tmp_path / "list.csv", IDS)
    with pytest.raises(UserError, match="is missing"):
        read_split_file(tmp_path / "gone.csv", IDS)


def test_training_cases_of_tested_patients_are_marked_and_told(caplog: pytest.LogCaptureFixture) -> None:
    cases = pl.DataFrame({"case_id": [f"c{k}" for k in range(7)], "patient": [0, 0, 1, 1, 2, 3, 3]})
    listed = {"c0": "train", "c1": "test", "c2": "validate", "c3": "train", "c4": "train", "c5": "train"}
    marked = with_splits(cases, listed)
    assert marked["split"].to_list() == ["train", "test", "validate", "train", "train", "train", None]
    assert marked.filter("shared")["case_id"].to_list() == ["c0", "c3"]
    assert "2 patients of the split file are in more than one of its splits: 2 of their cases" in caplog.text


def test_validation_cases_are_whole_patients_of_the_training_cases(caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(0)
    patients = [k // 2 for k in range(400)]
    classes = [draw.choice(("Normal", "CHF", "pneumonia")) for _ in patients]
    cases = pl.DataFrame({"patient": patients, "class": classes})
    listed = pl.Series("split", ["test" if patient < 20 else "train" for patient in patients])
    split = with_validation(listed, cases, seed=1)
    parts = pl.DataFrame({"patient": patients, "split": split})
    assert parts.group_by("patient").agg(pl.col("split").n_unique())["split"].max() == 1
    assert (split.filter(listed == "test") == "test").all()
    counts = {name: int((split == name).sum()) for name in ("train", "validate", "test")}
    assert counts["test"] == 40
    assert counts["validate"] == 36  # a tenth of 180 patients, of two cases each
    assert "36 training cases of 18 patients become them (seed 1), and 324 remain" in caplog.text
    assert with_validation(split, cases, seed=2) is split
    assert not (with_validation(listed, cases, seed=2) == split).all()
    alone = cases.with_columns(patient=pl.lit(7))
    with pytest.raises(UserError, match="fewer than two patients"):
        with_validation(listed, alone, seed=1)


def test_a_cohort_has_the_splits_of_the_list(tmp_path: Path) -> None:
    made = write_tree(tmp_path)
    usual = egd.read(EgdOptions(*made, without_gaze="keep"))
    ids = usual.cases["case_id"].to_list()
    patient = dict(usual.cases.select("case_id", "patient").iter_rows())
    tested = next(case for case in ids if list(patient.values()).count(patient[case]) == 1)
    left = next(case for case in ids if case != tested)
    lines = [f"{case},{'test' if case == tested else 'train'}" for case in ids if case != left]
    (tmp_path / "list.csv").write_text("image_id,phase\n" + "\n".join(lines) + "\n")
    cohort = egd.read(EgdOptions(*made, without_gaze="keep", split_file=tmp_path / "list.csv"))
    assert set(cohort.cases["case_id"]) == {*ids} - {left}
    assert cohort.cases.filter(split="test")["case_id"].to_list() == [tested]
    assert set(cohort.cases["split"]) == {"train", "validate", "test"}
    gone = cohort.rejections.filter(reason="not_in_split_file")["case_id"].to_list()
    assert left in gone
    assert len(SHEET) >= len(gone)
    assert cohort.parameters["split"] == "file"
