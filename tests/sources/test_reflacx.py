"""Reading REFLACX: a tree written by hand is found in a cohort, and what must be rejected is, once each."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

import polars as pl
import pytest

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.sources import reflacx
from radgaze.sources.contents import VIEWS
from radgaze.sources.reflacx import ReflacxOptions
from radgaze.store.store import Store
from tests.sources.reflacx_tree import (
    COLUMNS,
    LOST,
    ONE,
    ROWS,
    SMALL,
    THREE,
    TWO,
    UNSEEN,
    WHOLE,
    write_tree,
)

Tree = tuple[Path, Path]


class Keywords(TypedDict, total=False):
    """Options of `ReflacxOptions` that tests set, besides the folders."""

    phases: Sequence[Literal[1, 2, 3]]
    certainty: int
    labels: Sequence[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    return write_tree(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def tree(made: Tree, tmp_path: Path) -> Tree:
    """A copy to be spoilt."""
    shutil.copytree(made[0], tmp_path / "reflacx")
    return tmp_path / "reflacx", made[1]


def test_a_case_is_an_image_in_whatever_phases_and_its_findings_are_those_of_half_its_readers(
    made: Tree, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = reflacx.read(ReflacxOptions(*made))
    assert not cohort.exclusive
    # Phase 1's mass and nodule are one class, and its pleural effusion is an abnormality of the pleura.
    assert cohort.classes == ("Atelectasis", "Consolidation", "Lung nodule or mass", "Pleural abnormality")
    table = cohort.cases.drop("image")
    assert table.rows() == [
        # Readers of ONE: atelectasis 4 3 0 2; consolidation 0 1 2 0; nodule or mass 3 0 5 0; pleura 0 0 2 0.
        (ONE, 0, "test", 1, 0, 1, 0),
        # Of TWO: consolidation 5 and 5, pleura 3 and 0.
        (TWO, 1, "validate", 0, 1, 0, 1),
        (THREE, 0, "test", 0, 0, 1, 0),
    ]
    said = capfd.readouterr().err
    assert "1 patients are in several" in said  # ONE trains, THREE tests, and both are of one patient


def test_certainty_says_from_where_a_finding_is_there(made: Tree) -> None:
    strict = reflacx.read(ReflacxOptions(*made, certainty=4))
    assert strict.cases.filter(case_id=ONE).select(r"^label_.*$").row(0) == (0, 0)
    assert strict.classes == ("Consolidation", "Lung nodule or mass")
    loose = reflacx.read(ReflacxOptions(*made, certainty=2, labels=["atelectasis", "Pleural abnormality"]))
    assert loose.classes == ("Atelectasis", "Pleural abnormality")
    assert loose.cases["label_Atelectasis"].to_list() == [1, 0, 0]


def test_readings_hold_their_gaze_with_its_resolution_and_view(made: Tree) -> None:
    cohort = reflacx.read(ReflacxOptions(*made))
    ids = ["P101R000001", "P102R000002", "P103R000003", "P101R000005", "P201R000006", "P300R000007"]
    assert sorted(cohort.readings["reading_id"]) == sorted(ids)
    own = cohort.fixations.collect().filter(reading_id="P101R000001")
    assert own.select("index", "x", "y", "onset").rows() == [
        (0, 20, 30, 0.1),
        (1, 30.5, 40.25, 0.5),
        (4, 60, 70, 1.6),
    ]
    assert own["duration"].to_list() == pytest.approx([0.3, 0.4, 0.4])
    assert own.select(VIEWS).rows() == [(10, 12, *WHOLE), (10, 12, *WHOLE), (20, 24, 40, 50, 85, 110)]
    reading = cohort.readings.filter(reading_id="P101R000001").row(0, named=True)
    assert (reading["case_id"], reading["recorded"]) == (ONE, 5)
    assert reading["duration"] == pytest.approx(1.9)


def test_what_is_left_out_has_its_reason(made: Tree) -> None:
    cohort = reflacx.read(ReflacxOptions(*made))
    assert Counter(cohort.rejections["reason"]) == {
        "missing_image": 1,
        "size_mismatch": 1,
        "discarded_reading": 2,
        "no_gaze": 1,
        "off_image_box": 1,
        "off_image_fixation": 4,  # left of the image, blank, right of it, and without a resolution
    }
    of = dict(cohort.rejections.select("reason", "case_id").iter_rows())
    assert (of["missing_image"], of["size_mismatch"], of["no_gaze"]) == (LOST, SMALL, UNSEEN)


def test_ellipses_are_named_after_their_class_and_the_chest_is_a_box(made: Tree) -> None:
    cohort = reflacx.read(ReflacxOptions(*made, without_gaze="keep"))
    found = sorted(cohort.boxes.rows())
    assert found == sorted(
        [
            (ONE, "Atelectasis", 10, 20, 40, 60, "ellipse"),
            (ONE, "Lung nodule or mass", 5, 5, 15, 15, "ellipse"),
            (ONE, "Lung nodule or mass", 30, 30, 50, 50, "ellipse"),  # once, though mass and nodule
            (ONE, "chest", 5, 6, 80, 110, "box"),
            (THREE, "Lung nodule or mass", 80, 100, 100, 130, "ellipse"),
            (UNSEEN, "Pleural abnormality", 1, 2, 30, 40, "ellipse"),  # of a discarded reading
            (UNSEEN, "chest", 4, 4, 85, 115, "box"),
        ]
    )
    assert UNSEEN in cohort.cases["case_id"].to_list()


def test_phases_can_be_read_apart(made: Tree) -> None:
    third = reflacx.read(ReflacxOptions(*made, phases=[3]))
    assert third.cases["case_id"].to_list() == [THREE]
    assert third.cases["split"].to_list() == ["test"]
    first = reflacx.read(ReflacxOptions(*made, phases=[1]))
    assert "Pleural effusion" in first.classes
    assert first.cases["split"].to_list() == ["train", "validate"]


def test_phase_1_alone_keeps_its_own_names_for_ellipses_too(made: Tree) -> None:
    first = reflacx.read(ReflacxOptions(*made, phases=[1], labels=["Mass", "Nodule"]))
    assert first.classes == ("Mass", "Nodule")
    assert sorted(first.boxes.filter(shape="ellipse").rows()) == [
        (ONE, "Mass", 30, 30, 50, 50, "ellipse"),
        (ONE, "Nodule", 5, 5, 15, 15, "ellipse"),
        (ONE, "Nodule", 30, 30, 50, 50, "ellipse"),  # one ellipse that marks both
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"phases": [4]}, "`phases` must be one of 1, 2, 3, got 4"),
        ({"certainty": 0}, "from 1 to 5"),
        ({"labels": ["Mass"]}, "is no finding"),
        ({"labels": ["Cardiomegaly"]}, "is no finding"),
    ],
)
def test_a_mistake_is_told(options: Keywords, said: str, made: Tree) -> None:
    with pytest.raises(UserError, match=said):
        reflacx.read(ReflacxOptions(*made, **options))


def test_folders_that_are_none_are_told(made: Tree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`reflacx=.* is not the folder"):
        reflacx.read(ReflacxOptions(made[1], made[1]))
    with pytest.raises(UserError, match=r"`mimic=.* is not the folder"):
        reflacx.read(ReflacxOptions(made[0], made[0]))
    (tmp_path / "files").mkdir()
    with pytest.raises(UserError, match="are the files downloaded"):
        reflacx.read(ReflacxOptions(made[0], tmp_path))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("metadata_phase_3.csv", ",test,", ",later,", "column split"),
        ("metadata_phase_3.csv", ",4,,", ",9,,", "a certainty from 0 to 5"),
        ("metadata_phase_2.csv", "eye_tracking_data_discarded", "discarded", "has no column"),
        ("P300R000007/fixations.csv", "0.3,10", "-1,10", "an end after its start"),
        ("P300R000007/fixations.csv", "10,110", "ten,110", "a number expected"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_place(
    file: str, old: str, new: str, said: str, tree: Tree
) -> None:
    path = tree[0] / "main_data" / file
    text = path.read_bytes()
    assert old.encode() in text
    path.write_bytes(text.replace(old.encode(), new.encode(), 1))
    with pytest.raises(UserError, match=said) as told:
        reflacx.read(ReflacxOptions(*tree))
    assert str(path) in str(told.value)


@pytest.mark.slow
def test_the_whole_way_from_the_archive_to_a_report(tmp_path: Path) -> None:
    made, store = write_tree(tmp_path / "archives", more=24), tmp_path / "store"
    archive = ["--reflacx", str(made[0]), "--mimic", str(made[1]), "--without-gaze", "keep"]
    assert main(["prepare", "reflacx", *archive, "--out", str(store), "--size", "64"]) == 0
    assert main(["inspect", str(store), "--out", str(tmp_path / "inspection")]) == 0
    found = json.loads((tmp_path / "inspection" / "inspect.json").read_text())
    assert found["several_readers"] == 2
    opened = Store.open(store)
    assert {"ellipse", "box"} == set(opened.boxes["shape"])
    tiny = ["--model.encoder", "tu-test_efficientnet", "--model.weights", "none", "--input.size", "32"]
    tiny += [
        "--model.decoder_channels=[16,8,8,4,4]",
        "--trainer.max_epochs",
        "1",
        "--trainer.accelerator",
        "cpu",
    ]
    tiny += ["--split.kind", "store", "--optimisation.batch_size", "4"]
    gaze = ["--gaze.unit", "degrees", "--gaze.sigma", "1", "--gaze.boxes", "attention"]
    out = tmp_path / "run"
    assert (
        main(["train", "--experiment", "set3_guided", "--data", str(store), "--out", str(out), *tiny, *gaze])
        == 0
    )
    assert (out / "report.html").is_file()


def test_hidden_things_stay_hidden(made: Tree) -> None:
    """Neither subject ids nor paths are in what is kept."""
    cohort = reflacx.read(ReflacxOptions(*made))
    kept = (
        b"".join(
            table.drop("image", strict=False).write_csv().encode()
            for table in (
                cohort.cases,
                cohort.readings,
                cohort.fixations.collect(),
                cohort.boxes,
                cohort.rejections,
            )
        )
        + json.dumps(cohort.parameters).encode()
    )
    for hidden in (b"p10000", b"physionet", str(made[1]).encode()):
        assert hidden not in kept
    assert isinstance(cohort.cases["image"].dtype, pl.String)


def test_readings_without_a_row_of_gaze_are_counted(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    told = r"(\d+) of \1 readings have no fixations.csv, or one without records"
    reflacx.read(ReflacxOptions(*tree))
    assert not re.search(told, " ".join(capsys.readouterr().err.split()))
    paths = list(tree[0].rglob("fixations.csv"))
    assert paths
    for path in paths:
        path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(UserError, match="no case has a fixation on its image"):
        reflacx.read(ReflacxOptions(*tree))
    assert re.search(told, " ".join(capsys.readouterr().err.split()))


def test_an_archive_without_gaze_is_told_as_such_and_can_be_read_without_it(tree: Tree) -> None:
    for path in tree[0].rglob("fixations.csv"):
        path.unlink()
    told = r"no case has a fixation on its image; .*fixations\.csv.* `without_gaze=keep`"
    with pytest.raises(UserError, match=told):
        reflacx.read(ReflacxOptions(*tree))
    assert reflacx.read(ReflacxOptions(*tree, without_gaze="keep")).cases.height


def test_images_that_all_have_another_size_are_told_as_such(tree: Tree) -> None:
    for path in (tree[0] / "main_data").glob("metadata_phase_*.csv"):
        path.write_text(path.read_text().replace(f",{COLUMNS},{ROWS},", f",{COLUMNS},{ROWS + 1},"))
    with pytest.raises(UserError, match=r"another size than the archive says.* 90 × 120.* 90 × 121"):
        reflacx.read(ReflacxOptions(*tree))
