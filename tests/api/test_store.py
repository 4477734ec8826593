"""Messages of `rg.prepare` in Python, and the display of a store."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import radgaze as rg

CLASSES = ("above", "below")


def items(off: int = 0, count: int = 20) -> list[dict[str, object]]:
    """Cases with ten fixations each, of which `off` lie beyond the right edge."""
    draw = np.random.default_rng(0)
    made = []
    for i in range(count):
        gaze = np.column_stack([draw.random((10, 2)) * 32, np.full(10, 0.2)])
        gaze[:off, 0] += 100
        made.append({"image": draw.random((32, 32)), "label": i % 2, "gaze": gaze})
    return made


@pytest.fixture
def store(tmp_path: Path) -> rg.Store:
    return rg.prepare(items(off=1), classes=CLASSES, out=tmp_path / "store")


def test_a_store_shows_its_numbers_and_has_the_length_of_its_cases(store: rg.Store) -> None:
    assert len(store) == store.cases.height == 20
    shown = repr(store)
    assert "20 cases, 20 readings, 180 fixations" in shown
    assert "off_image_fixation 20" in shown
    assert "dataset" in shown
    (train,) = (line.split() for line in shown.splitlines() if line.startswith("train"))
    of_train = store.cases.filter(split="train")
    expected = [of_train["label_above"].sum(), of_train["label_below"].sum(), of_train.height]
    assert train[1:] == list(map(str, [*expected, of_train["patient"].n_unique()]))
    assert all(name in store._repr_html_() for name in ("<table", "train", "off_image_fixation 20", *CLASSES))


def test_a_store_split_anew_shows_that_split(store: rg.Store) -> None:
    again = store.resplit("folds", folds=2)
    (test,) = (line.split() for line in repr(again).splitlines() if line.startswith("test"))
    assert test[-2] == str(again.cases.filter(split="test").height) != "2"


def test_a_damaged_store_shows_itself_without_an_error(store: rg.Store) -> None:
    (store.path / "cases.parquet").write_bytes(b"")
    assert "20 cases" in repr(rg.Store(store.path, store.manifest))


def test_names_cannot_write_to_the_terminal_nor_into_a_notebook(tmp_path: Path) -> None:
    made = rg.prepare(items(), classes=("a\x1b[31m", "<script>"), out=tmp_path / "store")
    assert "\x1b" not in repr(made)
    assert "<script>" not in made._repr_html_()


def test_fixations_off_the_images_are_warned_of_with_their_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rg.prepare(items(off=9), classes=CLASSES, out=tmp_path / "many")
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("180 of 200 fixations lie off their images" in words for words in warned)
    assert any("Rejected: off_image_fixation 180" in words for words in warned)


def test_what_the_command_line_warns_of_is_warned_of_in_python(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = [{**each, "patient": i, "split": ("train", "test")[i % 2]} for i, each in enumerate(items())]
    given[0]["split"] = "validate"
    rg.prepare(given, classes=CLASSES, out=tmp_path / "store")
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == [
        "Note: no train case has the class below: it cannot be measured there",
        "Note: no validate case has the class below: it cannot be measured there",
        "Note: no test case has the class above: it cannot be measured there",
    ]


def test_an_image_is_found_by_its_row_and_by_the_id_of_its_case(store: rg.Store) -> None:
    for row, case_id in enumerate(store.cases["case_id"]):
        np.testing.assert_array_equal(store.image(case_id), store.image(row))
    np.testing.assert_array_equal(store.image(np.int64(3)), store.images[3])


@pytest.mark.parametrize(
    ("case", "message"),
    [("case-00007", "has no case 'case-00007'; did you mean case-0000"), (20, "from 0 to 19"), (1.5, "1.5")],
)
def test_a_case_that_is_not_there_is_told(store: rg.Store, case: int | str, message: str) -> None:
    with pytest.raises(rg.UserError, match=message):
        store.image(case)


def test_burnt_in_annotation_is_warned_of(store: rg.Store, caplog: pytest.LogCaptureFixture) -> None:
    from radgaze.store.summary import notices

    named = rg.Store(store.path, {**store.manifest, "burned_in_annotation": ["case-000003"]})
    assert any("1 image with burnt-in annotation" in notice for notice in notices(named))
    assert pl.Series(list(notices(store))).str.contains("burnt").sum() == 0
