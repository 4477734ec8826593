"""Reading GazeSearch: a list written by hand with the traps of the real one, and what must come of it."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.errors import UserError
from radgaze.sources import gazesearch
from radgaze.sources.gazesearch import GazeSearchOptions
from tests.stores import prepare

Tree = tuple[Path, Path]
ROWS, COLUMNS = 448, 112


def search(
    name: str, task: str, X: list[int], Y: list[int], T: list[float], split: str, **more: object
) -> dict[str, object]:
    return {
        "name": f"{name}.jpg",
        "subject": 1,
        "task": task,
        "condition": "present",
        "bbox": [0, 0, 0, 0],
        "X": X,
        "Y": Y,
        "T": T,
        "length": len(X),
        "fixOnTarget": False,
        "correct": 1,
        "split": split,
    } | more


SEARCHES = [
    search("a", "Edema", [0, 223], [0, 223], [0.2, 0.3], "train"),
    search("a", "Pleural Effusion", [111], [55], [0.5], "test"),  # the same image in another split
    search("a", "Edema", [10, 224, -1], [5, 5, 5], [0.1, 0.1, 0.1], "valid"),  # again, and off the frame
    search("b", "Edema", [30], [40], [0.25], "train", condition="absent"),
    search("c", "Edema", [], [], [], "train"),
    search("lost", "Fracture", [1], [1], [0.1], "train"),
]


@pytest.fixture
def made(tmp_path: Path) -> Tree:
    (tmp_path / "images" / "deep").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name in ("a.jpg", "deep/b.png", "c.jpg"):
        pixels = draw.integers(0, 255, (ROWS, COLUMNS), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / name)
    path = tmp_path / "gazesearch.json"
    path.write_text(json.dumps(SEARCHES))
    return path, tmp_path / "images"


def test_a_case_is_an_image_with_what_was_found_on_it(made: Tree, capfd: pytest.CaptureFixture[str]) -> None:
    cohort = gazesearch.read(GazeSearchOptions(*made))
    assert cohort.classes == ("Edema", "Pleural Effusion")
    assert not cohort.exclusive
    table = cohort.cases.select("case_id", "patient", "label_Edema", "label_Pleural Effusion")
    assert table.rows() == [("a", 0, 1, 1), ("b", 1, 0, 0), ("c", 2, 1, 0)]
    assert "1 of 4 images are in several" in capfd.readouterr().err
    assert Counter(cohort.rejections["reason"]) == {"missing_image": 1, "off_image_fixation": 2}


def test_of_several_files_of_a_name_the_first_by_path_is_taken_and_said(
    made: Tree, capfd: pytest.CaptureFixture[str]
) -> None:
    (made[1] / "deep" / "a.png").write_bytes((made[1] / "deep" / "b.png").read_bytes())
    cohort = gazesearch.read(GazeSearchOptions(*made))
    assert cohort.cases.row(by_predicate=pl.col("case_id") == "a", named=True)["image"] == str(
        made[1] / "a.jpg"
    )
    assert (
        "more than one file of the same name in 1 case; the first by path is taken, for a "
        in capfd.readouterr().err
    )


def test_an_image_whose_name_is_not_utf_8_is_left_out(made: Tree, capfd: pytest.CaptureFixture[str]) -> None:
    shutil.copy(made[1] / "a.jpg", made[1] / os.fsdecode(b"M\xfcller.jpg"))
    assert len(gazesearch.read(GazeSearchOptions(*made)).cases) == 3
    assert "1 picture left out" in capfd.readouterr().err


def test_positions_are_the_middles_of_the_frames_pixels_in_the_images_own_size(made: Tree) -> None:
    cohort = gazesearch.read(GazeSearchOptions(*made))
    own = cohort.fixations.collect().filter(reading_id="a/Edema/0")
    assert own.select("x", "y").rows() == [(0.25, 1.0), (223.5 * 0.5, 223.5 * 2)]
    assert own.select("onset", "duration").rows() == [(0.0, 0.2), (0.2, 0.3)]
    assert cohort.readings["reading_id"].to_list() == [
        "a/Edema/0",
        "a/Pleural Effusion/1",
        "a/Edema/2",
        "b/Edema/0",
    ]
    assert set(cohort.readings["reader"]) == {"1"}
    assert cohort.readings.filter(reading_id="a/Edema/2")["recorded"][0] == 3


def test_patients_are_kept_apart_where_they_are_known(made: Tree, tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("image,patient\na.jpg,x\nb,x\nc.jpg,y\nlost,z\n")
    for seed in range(4):
        cohort = gazesearch.read(GazeSearchOptions(*made, patients=table, seed=seed, split="published"))
        splits = dict(cohort.cases.select("case_id", "split").iter_rows())
        assert splits["a"] == splits["b"]
        assert cohort.cases["patient"].to_list() == [0, 0, 1]
        # It is drawn over those who are here, and by the seed: no store of it knows a published split.
        assert cohort.parameters["split"] != "published"
    table.write_text("image,patient\na.jpg,x\n")
    with pytest.raises(UserError, match="2 images are not in it, such as b"):
        gazesearch.read(GazeSearchOptions(*made, patients=table))


def test_a_list_without_a_fixation_has_no_gaze(made: Tree) -> None:
    path, images = made
    path.write_text(json.dumps([search("a", "Edema", [], [], [], "train")]))
    cohort = gazesearch.read(GazeSearchOptions(path, images))
    assert cohort.cases.height == 1
    assert cohort.readings.is_empty()
    assert cohort.fixations.collect().is_empty()


def test_it_becomes_a_store(made: Tree, tmp_path: Path) -> None:
    store = prepare(gazesearch.read(GazeSearchOptions(*made)), tmp_path / "store", size=64, workers=1)
    assert store.cases.height == 3
    assert not store.exclusive


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"X": [1]}, "scan path 1: X, Y and T are not as long"),
        ({"length": [2]}, r"X, Y and T are not as long as its length says, \[2\]"),
        ({"X": [1, 10**400]}, "lists of numbers"),
        ({"T": [0.1, -1]}, "a duration in T is below 0"),
        ({"Y": ["1", 2]}, "lists of numbers"),
        ({"task": None}, "it has no task"),
    ],
)
def test_what_is_wrong_in_the_list_is_told_with_its_place(
    change: dict[str, object], said: str, made: Tree
) -> None:
    path, images = made
    first = {key: value for key, value in (SEARCHES[0] | change).items() if value is not None}
    path.write_text(json.dumps([first, *SEARCHES[1:]]))
    with pytest.raises(UserError, match=said):
        gazesearch.read(GazeSearchOptions(path, images))


def test_what_is_no_list_or_no_folder_is_told(made: Tree, tmp_path: Path) -> None:
    path, images = made
    with pytest.raises(UserError, match="no such file"):
        gazesearch.read(GazeSearchOptions(tmp_path / "none.json", images))
    with pytest.raises(UserError, match="is not a folder"):
        gazesearch.read(GazeSearchOptions(path, tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no image of"):
        gazesearch.read(GazeSearchOptions(path, tmp_path / "empty"))
    for text, said in (
        ("{", "cannot be read, it is cut"),
        ("{}", "is no list"),
        ("[1]", "it has no name"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            gazesearch.read(GazeSearchOptions(path, images))
