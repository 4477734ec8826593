"""Readings cut to what the report says: which phrases count, and which fixations."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.simulation import SimulationOptions, simulate
from radgaze.sources import egd
from radgaze.sources.egd import EgdOptions
from radgaze.sources.egd.files import TRANSCRIPTS
from radgaze.sources.egd.radiology_report import speaks_of, spoken, while_spoken


@pytest.mark.parametrize(
    ("phrase", "name", "said"),
    [
        ("there is an opacity in the left lung", "pneumonia", True),
        ("concerning for Pneumonia", "pneumonia", True),
        ("no evidence of pneumonia", "pneumonia", False),
        ("bilateral consolidations", "pneumonia", True),
        ("the lungs are clear", "pneumonia", False),
        ("the lungs are clear", "Normal", True),
        ("no acute cardiopulmonary process", "Normal", True),
        ("pulmonary edema", "CHF", True),
        ("without edema", "CHF", False),
        ("the heart is enlarged", "CHF", True),
        ("unclear", "Normal", False),
    ],
)
def test_a_phrase_speaks_of_a_class_by_its_words_unless_it_denies_it(
    phrase: str, name: str, said: bool
) -> None:
    assert speaks_of(phrase, name) is said


def test_fixations_are_kept_while_it_is_spoken_of_and_a_moment_before() -> None:
    times = pl.DataFrame({"case_id": ["a", "a", "b"], "begin": [5.0, 20.0, 1.0], "end": [7.0, 21.0, 2.0]})
    fixations = pl.DataFrame(
        {
            "case_id": ["a", "a", "a", "a", "a", "c"],
            "onset": [1.0, 3.2, 6.0, 7.5, 20.9, 1.0],
            "duration": [0.5, 0.4, 0.3, 0.3, 3.0, 0.2],
        }
    )
    assert while_spoken(fixations, times, 0.0).to_list() == [False, False, True, False, True, False]
    assert while_spoken(fixations, times, 1.5).to_list() == [False, True, True, False, True, False]


def test_a_reading_is_cut_and_told_of(tmp_path: Path) -> None:
    simulate(SimulationOptions(tmp_path, patients=14, pixels=64, seed=3, workers=1))
    archives = tmp_path / "egd", tmp_path / "mimic"
    whole, aligned = (
        egd.read(EgdOptions(*archives)),
        egd.read(EgdOptions(*archives, align_report=1.0)),
    )
    assert aligned.parameters["align_report"] == 1.0
    assert 0 < len(aligned.fixations.collect()) < len(whole.fixations.collect())
    rejected = aligned.rejections.filter(reason="not_spoken")
    gone = rejected["detail"].str.extract(r"^(\d+)").cast(pl.Int64).sum()
    off = Counter(aligned.rejections["reason"])["off_image_fixation"]
    kept = len(aligned.fixations.collect()) + off + gone
    # A case of which nothing is left has no reading any more, and its fixations stand in the tally alone.
    assert kept == len(whole.fixations.collect()) + Counter(whole.rejections["reason"])["off_image_fixation"]
    classes = whole.cases.with_columns(
        pl.coalesce(pl.when(pl.col(f"label_{n}") == 1).then(pl.lit(n)) for n in whole.classes).alias("class")
    )
    times = spoken(archives[0], classes)
    own = aligned.fixations.collect().join(aligned.readings, on="reading_id")
    assert while_spoken(own, times, 1.0).all()


def test_what_is_missing_or_wrong_is_told(tmp_path: Path) -> None:
    cases = pl.DataFrame({"case_id": ["a"], "class": ["CHF"]})
    with pytest.raises(UserError, match="no case has a transcript"):
        spoken(tmp_path, cases)
    path = tmp_path / TRANSCRIPTS / "a" / "transcript.json"
    path.parent.mkdir(parents=True)
    for text in ("{", "[]", json.dumps({"time_stamped_text": [{"phrase": "edema"}]})):
        path.write_text(text)
        with pytest.raises(UserError, match="is no transcript"):
            spoken(tmp_path, cases)
