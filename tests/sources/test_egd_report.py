"""Gaze of egd-cxr aligned with its dictated reports: fixations kept, and fixations recorded by class."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.simulation import SimulationOptions, simulate
from radgaze.sources import egd
from radgaze.sources.dictation.matcher import make
from radgaze.sources.dictation.phrases import own_phrases
from radgaze.sources.egd import EgdOptions
from radgaze.sources.egd.files import CLASSES, TRANSCRIPTS
from radgaze.sources.egd.radiology_report import read_words

LEAD = 1.0


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("phantom")
    simulate(SimulationOptions(folder, patients=14, pixels=64, seed=3, workers=1))
    return folder / "egd", folder / "mimic"


def stretches(folder: Path, case_id: str) -> list[tuple[str, float, float]]:
    """Class, begin and end of each stretch, straight from a transcript whose phrases are sentences."""
    content = json.loads((folder / TRANSCRIPTS / case_id / "transcript.json").read_text())
    match = make("phrases", CLASSES, own_phrases())
    phrases = content["time_stamped_text"]
    result = []
    for i, phrase in enumerate(phrases):
        begin = phrase["begin_time"] - LEAD
        if i:
            begin = max(begin, phrases[i - 1]["begin_time"])
        labels = {mention.label for mention in match([phrase["phrase"]]) if mention.polarity != "denied"}
        result += [(label, begin, phrase["end_time"]) for label in labels]
    return result


def overlaps(onset: float, duration: float, spans: Sequence[tuple[float, float]]) -> bool:
    return any(onset < end and onset + duration > begin for begin, end in spans)


def test_all_fixations_are_kept_with_a_record_of_those_of_each_class(archives: tuple[Path, Path]) -> None:
    whole = egd.read(EgdOptions(*archives))
    cohort = egd.read(EgdOptions(*archives, align_report=LEAD, align_keep="all"))
    assert cohort.fixations.collect().equals(whole.fixations.collect())
    assert cohort.readings.equals(whole.readings)
    assert whole.mentions.is_empty()
    assert whole.parameters == {
        name: value for name, value in cohort.parameters.items() if not name.startswith("align")
    }
    gaze = cohort.fixations.collect().join(cohort.readings.select("reading_id", "case_id"), on="reading_id")
    expected = set()
    for case_id, part in gaze.partition_by("case_id", as_dict=True).items():
        of_case = stretches(archives[0], str(case_id[0]))
        for label in CLASSES:
            spans = [(begin, end) for name, begin, end in of_case if name == label]
            expected |= {
                (row["reading_id"], row["index"], label)
                for row in part.iter_rows(named=True)
                if overlaps(row["onset"], row["duration"], spans)
            }
    assert len({label for *_, label in expected}) == 3
    assert set(cohort.mentions.select("reading_id", "index", "label").iter_rows()) == expected


def test_a_reading_is_cut_and_told_of(archives: tuple[Path, Path]) -> None:
    whole, cut = egd.read(EgdOptions(*archives)), egd.read(EgdOptions(*archives, align_report=LEAD))
    both = egd.read(EgdOptions(*archives, align_report=LEAD, align_keep="all"))
    assert cut.parameters["align_report"] == LEAD
    assert cut.mentions.is_empty()
    classes = both.cases.unpivot(
        [f"label_{name}" for name in CLASSES], index="case_id", variable_name="label"
    ).filter(value=1)
    classes = classes.select("case_id", pl.col("label").str.strip_prefix("label_"))
    of_class = both.mentions.join(both.readings, on="reading_id").join(classes, on=["case_id", "label"])
    expected = both.fixations.collect().join(of_class, on=["reading_id", "index"], how="semi")
    places = ["reading_id", "x", "y", "onset", "duration"]
    assert 0 < len(expected) < len(whole.fixations.collect())
    assert cut.fixations.collect().select(places).sort(places).equals(expected.select(places).sort(places))
    rejected = cut.rejections.filter(reason="not_spoken")
    gone = rejected["detail"].str.extract(r"^(\d+)").cast(pl.Int64).sum()
    off = Counter(cut.rejections["reason"])["off_image_fixation"]
    remaining = len(cut.fixations.collect()) + off + gone
    # A case of which nothing is left has no reading any more, and its fixations stand in the tally alone.
    assert (
        remaining
        == len(whole.fixations.collect()) + Counter(whole.rejections["reason"])["off_image_fixation"]
    )


def test_single_words_are_joined_to_sentences(archives: tuple[Path, Path], tmp_path: Path) -> None:
    """The transcripts of the real data set consist mostly of single words."""
    path = tmp_path / TRANSCRIPTS / "a" / "transcript.json"
    path.parent.mkdir(parents=True)
    words = ["There", "is", "no", "heart", "failure.", "The", "lungs", "show", "a", "consolidation."]
    pieces = [{"phrase": word, "begin_time": i, "end_time": i + 1} for i, word in enumerate(words)]
    path.write_text(json.dumps({"full_text": " ".join(words), "time_stamped_text": pieces}))
    read = read_words(tmp_path, "a")
    assert read is not None
    assert [word.text for word in read] == words
    assert read_words(tmp_path, "b") is None


def test_what_is_missing_or_wrong_is_told(archives: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / TRANSCRIPTS / "a" / "transcript.json"
    path.parent.mkdir(parents=True)
    backwards = {"phrase": "edema", "begin_time": 2, "end_time": 1}
    for text in (
        "{",
        "[]",
        json.dumps({"time_stamped_text": [{"phrase": "edema"}]}),
        json.dumps({"time_stamped_text": [backwards]}),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=r"is no transcript|does not end after"):
            read_words(tmp_path, "a")


def test_an_archive_without_transcripts_cannot_be_aligned(tmp_path: Path) -> None:
    simulate(SimulationOptions(tmp_path, patients=6, pixels=64, seed=3, workers=1, faults=False))
    for path in (tmp_path / "egd").rglob("transcript.json"):
        path.unlink()
    with pytest.raises(UserError, match=r"no reading has a report with words, under .*`align_report` needs"):
        egd.read(EgdOptions(tmp_path / "egd", tmp_path / "mimic", align_report=1.0))
