"""Test cases that a pretraining saw are counted as by hand, and never named."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze.errors import UserError
from radgaze.evaluation.pretraining import SeenCases, seen_cases

CASES = ["aa-1", "bb-2", "cc-3", "dd-4", "ee-5"]
RECORDS = """subject_id,study_id,dicom_id,path
1,11,aa-1,files/p10/p1/s11/aa-1.dcm
1,11,aa-side,files/p10/p1/s11/aa-side.dcm
1,12,aa-later,files/p10/p1/s12/aa-later.dcm
2,21,bb-2,files/p10/p2/s21/bb-2.dcm
2,22,bb-later,files/p10/p2/s22/bb-later.dcm
3,31,cc-3,files/p10/p3/s31/cc-3.dcm
3,31,cc-side,files/p10/p3/s31/cc-side.dcm
4,41,dd-4,files/p10/p4/s41/dd-4.dcm
9,91,other,files/p10/p9/s91/other.dcm
"""


@pytest.fixture
def records(tmp_path: Path) -> Path:
    path = tmp_path / "cxr-record-list.csv"
    path.write_text(RECORDS)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "dicom_id\naa-1\nCC-3\nother\n",
        "aa-1\ncc-3\nother\n",  # no heading
        "dataset,path\nmimic,files/p10/p1/s11/aa-1.dcm\nmimic,x\\cc-3.jpg\nchexpert,train/patient1.jpg\n",
        "index;image;other\n0;aa-1;z\n1;cc-3;z\n1;cc-3;z\n",
    ],
    ids=["column", "lines", "paths", "twice"],
)
def test_images_are_found_in_any_column_with_and_without_folder(text: str, tmp_path: Path) -> None:
    (tmp_path / "seen.csv").write_text(text)
    assert seen_cases(CASES, tmp_path / "seen.csv") == SeenCases(5, 2)


def test_other_images_of_studies_and_patients_are_counted_with_their_records(
    tmp_path: Path, records: Path
) -> None:
    # aa-1: its study by another image; bb-2: its patient alone; cc-3 itself; dd-4 not; ee-5 has no record.
    (tmp_path / "seen.csv").write_text("dicom_id\naa-side\nbb-later\ncc-3\nother\n")
    assert seen_cases(CASES, tmp_path / "seen.csv", records) == SeenCases(5, 1, studies=2, patients=3)
    assert seen_cases(CASES, tmp_path / "seen.csv") == SeenCases(5, 1)


def test_lists_of_studies_and_patients_need_the_records(tmp_path: Path, records: Path) -> None:
    (tmp_path / "studies.csv").write_text("study_id\ns11\ns31\ns99\n")
    (tmp_path / "patients.csv").write_text("subject_id,study_id\np2,\n4,41\n")
    with pytest.raises(UserError, match="give `record_list` too"):
        seen_cases(CASES, tmp_path / "studies.csv")
    assert seen_cases(CASES, tmp_path / "studies.csv", records) == SeenCases(5, 2, studies=2, patients=2)
    assert seen_cases(CASES, tmp_path / "patients.csv", records) == SeenCases(5, 1, studies=1, patients=2)
    (tmp_path / "people.csv").write_text("subject_id\np1\n2\n")
    assert seen_cases(CASES, tmp_path / "people.csv", records) == SeenCases(5, 2, studies=2, patients=2)


def test_wrong_files_are_told(tmp_path: Path, records: Path) -> None:
    (tmp_path / "seen.csv").write_text("dicom_id\naa-1\n")
    with pytest.raises(UserError, match="no such file"):
        seen_cases(CASES, tmp_path / "gone.csv")
    with pytest.raises(UserError, match=r"`record_list=.*has no column study_id"):
        seen_cases(CASES, tmp_path / "seen.csv", tmp_path / "seen.csv")


def test_what_is_counted_holds_no_id() -> None:
    assert all(isinstance(value, int) for value in vars(SeenCases(5, 1, 2, 3)).values())
