"""REFLACX's dictated reports, in a tree written by hand: words with times, several readers, and mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.sources import reflacx
from radgaze.sources.dictation.options import AlignOptions
from radgaze.sources.dictation.reports import phrases_of
from radgaze.sources.reflacx import ReflacxOptions
from radgaze.sources.reflacx.files import read_words
from tests.sources.reflacx_tree import ONE, TWO, write_tree

# The fixations of P101R000001: 0.1–0.4, 0.5–0.9, then two off the image, and 1.6–2.0 with the index 4.
FIRST = (
    ("there", 0.2, 0.3), ("is", 0.3, 0.35), ("atelectasis", 0.35, 0.5), (".", 0.5, 0.5),
    ("no", 0.6, 0.65), ("effusion", 0.65, 0.8), (".", 0.8, 0.8),
    ("possible", 1.5, 1.6), ("nodule", 1.6, 1.8), ("or", 1.8, 1.9), ("mass", 1.9, 1.95), (".", 1.95, 1.95),
)  # fmt: skip
# Those of P102R000002: 0.2–0.5, and one off the image.
SECOND = (("atelectasis", 0.0, 0.3), (".", 0.3, 0.3), ("-", "", ""), ("nodule", 5.0, 5.5))
HEADER = "word,timestamp_start_word,timestamp_end_word"


def write_report(tree: tuple[Path, Path], reading: str, words: tuple[tuple[object, ...], ...]) -> Path:
    path = tree[0] / "main_data" / reading / "timestamps_transcription.csv"
    path.write_bytes("\r\n".join([HEADER, *(",".join(map(str, word)) for word in words), ""]).encode())
    return path


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, Path]:
    made = write_tree(tmp_path / "archives")
    write_report(made, "P101R000001", FIRST)
    write_report(made, "P102R000002", SECOND)
    return made


def test_words_are_read_in_their_order_and_those_without_times_are_left_out(tree: tuple[Path, Path]) -> None:
    words = read_words(tree[0], "P101R000001")
    assert words is not None
    assert [(word.text, word.begin, word.end) for word in words] == list(FIRST)
    shorter = read_words(tree[0], "P102R000002")
    assert shorter is not None
    assert [word.text for word in shorter] == ["atelectasis", ".", "nodule"]
    assert read_words(tree[0], "P103R000003") is None


def test_fixations_belong_to_the_findings_of_their_own_reader(tree: tuple[Path, Path]) -> None:
    cohort = reflacx.read(ReflacxOptions(*tree, align_report=0.1))
    mentions = {tuple(row): share for *row, share in cohort.mentions.iter_rows()}
    # Atelectasis from 0.1 (0.1 s before the sentence) to 0.5; the effusion is denied; the nodule or mass from
    # 1.4 to the mass's end, 1.95, is one class.
    assert mentions == pytest.approx(
        {
            ("P101R000001", 0, "Atelectasis"): 1.0,
            ("P101R000001", 4, "Lung nodule or mass"): 0.35 / 0.4,
            ("P102R000002", 0, "Atelectasis"): 0.1 / 0.3,
        }
    )
    plain = reflacx.read(ReflacxOptions(*tree))
    assert plain.mentions.is_empty()
    assert "align_report" not in plain.parameters
    assert cohort.parameters == {**plain.parameters, "align_report": 0.1}
    assert cohort.fixations.collect().equals(plain.fixations.collect())


def test_the_table_names_each_reading_even_one_without_a_report(
    tree: tuple[Path, Path], tmp_path: Path
) -> None:
    table = tmp_path / "out" / "alignment.csv"
    reflacx.read(ReflacxOptions(*tree, align_report=0.1, align_table=table))
    rows = pl.read_csv(table)
    assert set(rows["case_id"]) > {ONE, TWO}
    assert set(rows.filter(note="no transcript")["reading_id"]) == set(rows["reading_id"]) - {
        "P101R000001",
        "P102R000002",
    }
    first = rows.filter(reading_id="P101R000001").select("sentence", "label", "polarity", "fixations")
    assert first.rows() == [
        (1, "Atelectasis", "present", 1),
        (2, "Pleural abnormality", "denied", 1),
        (3, "Lung nodule or mass", "uncertain", 1),
    ]
    assert "atelectasis" not in table.read_text()


def test_a_file_of_phrases_takes_the_place_of_the_built_in_ones(
    tree: tuple[Path, Path], tmp_path: Path
) -> None:
    phrases = tmp_path / "phrases.yaml"
    phrases.write_text("labels: {Atelectasis: [effusion], Consolidation: [mass]}\ndenied_before: [without]\n")
    cohort = reflacx.read(ReflacxOptions(*tree, align_report=0.1, align_phrases=phrases))
    found = set(cohort.mentions.select("reading_id", "index", "label").iter_rows())
    assert {("P101R000001", 1, "Atelectasis"), ("P101R000001", 4, "Consolidation")} <= found
    # "Lung nodule or mass" has no phrases, and its name is not said.
    assert {label for *_, label in found} == {"Atelectasis", "Consolidation"}
    assert re.fullmatch(r"[0-9a-f]{16}", str(cohort.parameters["align_phrases"]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            (("mass", 2.0, 1.0),),
            "line 2, column timestamp_end_word: it is 1.0, an end after",
        ),
        ((("mass", "soon", 1.0),), "line 2, column timestamp_start_word: it is 'soon', a number expected"),
    ],
)
def test_a_wrong_time_is_told_with_its_place_and_not_the_word(
    words: tuple[tuple[object, ...], ...], said: str, tree: tuple[Path, Path]
) -> None:
    path = write_report(tree, "P102R000002", words)
    with pytest.raises(UserError) as told:
        reflacx.read(ReflacxOptions(*tree, align_report=1.5))
    assert str(path) in str(told.value)
    assert said in str(told.value).replace("'1.0'", "1.0")
    assert "mass" not in str(told.value)


def test_an_archive_without_reports_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no reading has a report with words.*timestamps_transcription\.csv"):
        reflacx.read(ReflacxOptions(*write_tree(tmp_path), align_report=1.5))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AlignOptions(align_table="t.csv"), "`align_table` needs `align_report`"),
        (lambda: AlignOptions(align_phrases="p.yaml"), "`align_phrases` needs `align_report`"),
        (lambda: AlignOptions(align_report=1.5, align_text=True), "`align_text` needs `align_table`"),
        (lambda: AlignOptions(align_report=-1.0), "`align_report` must be at least 0"),
        (
            lambda: AlignOptions(align_report=1, align_matcher="magic"),
            "`align_matcher` must be one of phrases",
        ),
        (
            lambda: phrases_of(AlignOptions(align_report=1.5, align_phrases="none.yaml")),
            "`align_phrases=none.yaml`: no such file",
        ),
    ],
)
def test_options_that_make_no_sense_are_told(make: Callable[[], object], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        make()
