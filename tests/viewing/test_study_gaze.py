"""The mouse and an eye tracker in pixels of the images."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.viewing.study.export import export
from radgaze.viewing.study.gaze import eye_tracking, mouse, read_tracker
from radgaze.viewing.study.order import trials
from radgaze.viewing.study.record import Piece, Recorder
from tests.viewing.studies import answer, begun
from tests.viewing.study_app import CASES, STUDY

START = 1_700_000_000.0


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """Two cases of 80 × 100 pixels that R1 read for 10 s each, 5 s apart; the first was zoomed after 4 s."""
    recorder = begun(tmp_path / "record.sqlite", STUDY, CASES)
    first, second, *_ = trials(STUDY, [each.case_id for each in CASES], [], "R1")
    whole = (0.0, 4.0, 100.0, 50.0, 10.0, 80.0, 2.0)
    zoomed = (4000.0, 8.0, -60.0, -150.0, 10.0, 80.0, 2.0)
    path = ((33.0, 10.0, 20.0), (66.0, 11.5, 90.0), (99.0, 80.0, 20.0))
    pieces = [
        Piece("a", 0, START, 5.0, 0.0, path[:2], (whole, zoomed)),
        Piece("a", 1, START, 10.0, 0.0, path[2:]),
        Piece("b", 0, START + 15, 8.0, 2.0, (), (whole,)),
    ]
    for view, trial in (("a", first), ("b", second)):
        recorder.open_view(view, "R1", trial.session, trial.place)
        of_view = [each for each in pieces if each.view == view]
        recorder.add_answer(answer("R1", trial, "normal", view=view), of_view)
    return recorder


def on_screen(x: float, y: float, scale: float, left: float, top: float) -> tuple[float, float]:
    """Physical pixels of the screen, two to a CSS pixel, of a point of the image."""
    return (x * scale + left + 10) * 2, (y * scale + top + 80) * 2


def test_an_eye_tracker_is_placed_on_the_image_that_was_seen(recorder: Recorder) -> None:
    points = [
        (START + 1, *on_screen(30, 40, 4, 100, 50)),
        (START + 6, *on_screen(33, 44, 8, -60, -150)),  # after the zoom
        (START + 12, 700.0, 700.0),  # between the cases
        (START + 16, *on_screen(-5, 20, 4, 100, 50)),  # left of the image
        (START + 24.5, *on_screen(79, 99, 4, 100, 50)),
        (START + 60, 700.0, 700.0),
    ]
    table = pl.DataFrame(points[::-1], schema=["time", "x", "y"], orient="row").with_columns(
        pupil=pl.lit(3.5), view=pl.lit("left eye")
    )
    placed = eye_tracking(recorder, table, "R1")
    assert placed["view"].to_list() == ["a", "a", "b", "b"]
    assert placed["x"].to_list() == pytest.approx([30, 33, -5, 79])
    assert placed["y"].to_list() == pytest.approx([40, 44, 20, 99])
    assert placed["seconds"].to_list() == pytest.approx([1, 6, 1, 9.5])
    assert placed["on_image"].to_list() == [True, True, False, True]
    assert placed["pupil"].to_list() == [3.5] * 4
    assert placed["tracker_view"].to_list() == ["left eye"] * 4
    assert placed["case_id"].n_unique() == 2
    late = eye_tracking(recorder, table.with_columns(pl.col("time") - 100), "R1", offset=100)
    assert late["x"].to_list() == pytest.approx(placed["x"].to_list())


def test_samples_of_a_time_at_which_the_image_could_not_be_seen_are_left_out(tmp_path: Path) -> None:
    recorder = begun(tmp_path / "record.sqlite", STUDY, CASES)
    trial = trials(STUDY, [each.case_id for each in CASES], [], "R1")[0]
    recorder.open_view("a", "R1", trial.session, trial.place)
    where = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    pieces = [
        Piece("a", 0, START, 5.0, 60.0, (), ((0.0, *where), (5000.0,))),  # 60 s behind another tab
        Piece("a", 1, START, 20.0, 60.0, (), ((65_000.0, *where), (75_000.0,))),  # the time is over
    ]
    recorder.add_answer(answer("R1", trial, "normal", view="a"), pieces)
    times = [START + seconds for seconds in (2.0, 35.0, 68.0, 77.0, 90.0)]
    tracked = pl.DataFrame({"time": times, "x": [30.0] * 5, "y": [40.0] * 5})
    placed = eye_tracking(recorder, tracked, "R1")
    assert placed["seconds"].to_list() == pytest.approx([2.0, 68.0])
    assert placed["x"].to_list() == [30.0, 30.0]
    with pytest.raises(UserError, match="could be seen"):
        eye_tracking(recorder, tracked[1:2], "R1")


def test_a_tracker_that_does_not_fit_is_told(recorder: Recorder, tmp_path: Path) -> None:
    good = pl.DataFrame({"time": [START], "x": [1.0], "y": [1.0]})
    for table, reader, words in (
        (good.with_columns(time=pl.col("time") - 1e6), "R1", "no time"),
        (good.with_columns(pl.col("time").cast(pl.String)), "R1", "column time"),
        (good.drop("y"), "R1", "column y"),
        (good, "R7", "no reader"),
        (good, "R2", "0 readings"),
    ):
        with pytest.raises(UserError, match=words):
            eye_tracking(recorder, table, reader)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    for name in ("bad.csv", "missing.csv"):
        with pytest.raises(UserError):
            read_tracker(tmp_path / name)


def test_the_mouse_s_path_is_exported_with_the_answers(recorder: Recorder, tmp_path: Path) -> None:
    path = mouse(recorder)
    assert path["seconds"].to_list() == pytest.approx([0.033, 0.066, 0.099])
    assert path["x"].to_list() == [10.0, 11.5, 80.0]
    assert path["on_image"].to_list() == [True, True, False]
    files = {each.stem: pl.read_csv(each) for each in export(recorder, tmp_path / "tables")}
    assert files["mouse"].height == 3
    assert files["readings"]["reader"].to_list() == ["R1", "R1"]
    assert files["readings"]["seconds"].to_list() == [10.0, 8.0]
    assert files["readings"]["hidden"].to_list() == [0.0, 2.0]
    assert files["cases"]["probability_disease"].to_list() == [
        each.probabilities["disease"] for each in CASES
    ]
