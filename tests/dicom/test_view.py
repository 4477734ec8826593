"""Views and orientations: what is refused, what is turned, and that the pixels are the right ones."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TypedDict

import numpy as np
import pytest
from pydicom.dataset import Dataset

from radgaze.dicom.error import DicomError
from radgaze.dicom.read import read_image, read_radiograph
from tests.dicom.files import write

# A patient in 12 by 8 pixels, as a frontal image is to be seen: on its left is the patient's right.
UPRIGHT = np.arange(96, dtype=np.uint16).reshape(12, 8) * 40
LETTERS = {"L": (0, 1), "R": (0, -1), "F": (1, 0), "H": (-1, 0)}
"""Steps on the upright picture, as (row, column)."""


def lying(rows: str, columns: str) -> np.ndarray:
    """The picture as it lies in a file whose rows run towards `rows` and columns towards `columns`."""
    along, down = LETTERS[rows], LETTERS[columns]
    wide, tall = (12 if step[0] else 8 for step in (along, down))
    found = np.empty((tall, wide), np.uint16)
    for i, j in product(range(tall), range(wide)):
        steps = np.array(along) * j + np.array(down) * i
        start = [11 if -1 in (along[0], down[0]) else 0, 7 if -1 in (along[1], down[1]) else 0]
        y, x = np.array(start) + steps
        found[i, j] = UPRIGHT[y, x]
    return found


FRONTAL = [(r, c) for r, c in product("LRFH", "LRFH") if {r, c} & {"L", "R"} and {r, c} & {"F", "H"}]


@pytest.mark.parametrize(("rows", "columns"), FRONTAL)
def test_however_it_lies_it_is_shown_upright(tmp_path: Path, rows: str, columns: str) -> None:
    path = write(tmp_path / "a.dcm", lying(rows, columns), bits=12, PatientOrientation=[rows, columns])
    found = read_radiograph(path)
    expected = UPRIGHT / UPRIGHT.max()
    mirrored = (rows, columns) == ("R", "F")
    if mirrored:  # a mirror is left alone
        expected = expected[:, ::-1]
    np.testing.assert_allclose(found.pixels, expected, atol=1e-6)
    assert found.turned == ((rows, columns) not in (("L", "F"), ("R", "F")))


def test_further_letters_and_no_letters_change_nothing(tmp_path: Path) -> None:
    plain = read_image(write(tmp_path / "a.dcm", UPRIGHT, bits=12))
    for orientation in (["LH", "FL"], "", ["L"], ["", ""]):
        found = read_radiograph(write(tmp_path / "b.dcm", UPRIGHT, bits=12, PatientOrientation=orientation))
        np.testing.assert_array_equal(found.pixels, plain)
        assert not found.turned


@pytest.mark.parametrize("orientation", [["L", "R"], ["F", "H"], ["L", "L"], ["X", "F"], ["L", "Q"]])
def test_letters_of_no_frontal_image_are_refused(tmp_path: Path, orientation: list[str]) -> None:
    path = write(tmp_path / "a.dcm", UPRIGHT, bits=12, PatientOrientation=orientation)
    with pytest.raises(DicomError) as told:
        read_image(path)
    assert told.value.reason == "orientation"


class View(TypedDict, total=False):
    ViewPosition: str
    PatientOrientation: list[str]
    ViewCodeSequence: list[Dataset]


def code(value: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", "lateral"
    return [item]


@pytest.mark.parametrize(
    "elements",
    [
        {"ViewPosition": "LL"},
        {"ViewPosition": "RL"},
        {"ViewPosition": "LATERAL"},
        {"ViewPosition": "lateral "},
        {"PatientOrientation": ["A", "F"]},
        {"PatientOrientation": ["P", "F"]},
        {"PatientOrientation": ["F", "AL"]},
        {"ViewCodeSequence": code("399067008")},
        {"ViewCodeSequence": code("R-10236")},
    ],
)
def test_lateral_views_are_refused(tmp_path: Path, elements: View) -> None:
    with pytest.raises(DicomError) as told:
        read_image(write(tmp_path / "a.dcm", UPRIGHT, bits=12, **elements))
    assert told.value.reason == "not_frontal"


@pytest.mark.parametrize("position", ["AP", "PA", "", "ANTERO-POSTERIOR"])
def test_frontal_views_are_read(tmp_path: Path, position: str) -> None:
    write(tmp_path / "a.dcm", UPRIGHT, bits=12, ViewPosition=position, ViewCodeSequence=code("399348003"))
    assert read_image(tmp_path / "a.dcm").shape == (12, 8)


def test_burnt_in_words_are_told(tmp_path: Path) -> None:
    for said, found in (("YES", True), ("NO", False), ("", False)):
        path = write(tmp_path / "a.dcm", UPRIGHT, bits=12, BurnedInAnnotation=said)
        assert read_radiograph(path).burned_in is found
