"""Dictated readings: what the report says when is known, and so which fixations belong to which finding."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from radgaze.cli import main
from radgaze.simulation import SimulationOptions, simulate
from radgaze.simulation.dictation import LEAD
from radgaze.sources import reflacx
from radgaze.sources.reflacx import ReflacxOptions
from radgaze.store.store import Store


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "archive"
    simulate(SimulationOptions(out, patients=18, pixels=64, seed=11, workers=1, reflacx=True))
    return out


def options(archive: Path, lead: float) -> ReflacxOptions:
    return ReflacxOptions(archive / "reflacx", archive / "mimic", phases=[3], align_report=lead)


def test_the_fixations_of_each_finding_are_exactly_those_that_were_made_for_it(archive: Path) -> None:
    truth = set(pl.read_csv(archive / "truth_reflacx.csv").iter_rows())
    assert len(truth) > 100
    cohort = reflacx.read(options(archive, LEAD))
    assert len(cohort.classes) == 4
    assert set(cohort.mentions.select("reading_id", "index", "label").iter_rows()) == truth
    assert cohort.mentions["share"].to_list() == pytest.approx([1.0] * len(truth))


def test_with_another_lead_they_are_others(archive: Path) -> None:
    truth = set(pl.read_csv(archive / "truth_reflacx.csv").iter_rows())
    for lead, compare in ((0.0, set.__lt__), (3.0, set.__gt__)):
        cohort = reflacx.read(options(archive, lead))
        found = set(cohort.mentions.select("reading_id", "index", "label").iter_rows())
        assert compare(found, truth)


def test_each_finding_is_an_ellipse_that_its_fixations_are_in(archive: Path) -> None:
    cohort = reflacx.read(options(archive, LEAD))
    gaze = cohort.mentions.join(cohort.fixations.collect(), on=["reading_id", "index"])
    gaze = gaze.join(cohort.readings.select("reading_id", "case_id"), on="reading_id").with_row_index("row")
    boxes = gaze.join(cohort.boxes.filter(shape="ellipse"), on=["case_id", "label"])
    inside = boxes.filter(
        pl.col("x").is_between("x1", "x2", closed="both") & pl.col("y").is_between("y1", "y2", closed="both")
    )
    assert inside["row"].n_unique() == len(gaze)


def test_the_dictated_readings_change_nothing_else(archive: Path, tmp_path: Path) -> None:
    simulate(SimulationOptions(tmp_path / "plain", patients=18, pixels=64, seed=11, workers=1))
    for path in (tmp_path / "plain").rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (archive / path.relative_to(tmp_path / "plain")).read_bytes()
    assert not (tmp_path / "plain" / "reflacx").exists()
    simulate(SimulationOptions(tmp_path / "again", patients=18, pixels=64, seed=11, workers=2, reflacx=True))
    for path in (archive / "reflacx").rglob("*.csv"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(archive)).read_bytes()


def test_the_command_line_writes_the_table_without_words_unless_requested(
    archive: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folders = ["--reflacx", str(archive / "reflacx"), "--mimic", str(archive / "mimic")]
    command = ["prepare", "reflacx", *folders, "--phases", "3", "--size", "32", "--workers", "1"]
    table, spelled = tmp_path / "alignment.csv", tmp_path / "spelled.csv"
    align = ["--align-report", "1.5", "--align-table", str(table)]
    assert main([*command, "--out", str(tmp_path / "store"), *align]) == 0
    out, err = capfd.readouterr()
    assert "Gaze of each class, as reports mention it" in out
    text = table.read_text()
    for word in ("effusion", "enlarged", "intact", "represent"):
        assert word not in text + out + err
    assert re.search(r"Reports: (\d+) of \1 readings have one; \d+ sentences", " ".join(err.split()))
    store = Store.open(tmp_path / "store")
    assert not store.mentions.is_empty()
    rows = pl.read_csv(table)
    assert set(rows["case_id"]) == set(store.cases["case_id"])
    assert "text" not in rows.columns
    assert {"present", "denied", "uncertain"} <= set(rows["polarity"].drop_nulls())
    assert rows.filter(note="no label").height > 0
    with Image.open(tmp_path / "alignment.png") as picture:
        assert min(picture.size) > 300
    assert "are drawn in" in " ".join(err.split())
    # The table is no part of the store, which is the same with words and without.
    align = ["--align-report", "1.5", "--align-table", str(spelled), "--align-text"]
    assert main([*command, "--out", str(tmp_path / "store"), *align]) == 0
    assert "pleural effusion" in spelled.read_text()
    align = ["--align-report", "1.5", "--align-table", str(store.path / "alignment.csv")]
    assert main([*command, "--out", str(store.path), *align]) == 2
    assert "lies in the store, which others may get" in " ".join(capfd.readouterr().err.split())
    assert b"effusion" not in b"".join(path.read_bytes() for path in store.path.glob("*.json"))
