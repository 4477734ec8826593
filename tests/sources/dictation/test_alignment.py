"""Which fixations belong to which finding: stretches, unions, shares, and the table to check them by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import numpy as np
import polars as pl
import pytest

from radgaze.sources.dictation.alignment import (
    COUNTED,
    NO_LABEL,
    NO_TRANSCRIPT,
    NO_WORDS,
    Reading,
    align,
    shares,
    stretches_of,
    summarise,
)
from radgaze.sources.dictation.matcher import Mention
from radgaze.sources.dictation.scope import Polarity
from radgaze.sources.dictation.transcript import Word, sentences_of

SAYS: dict[str, Polarity] = {"mass": "present", "maybe": "uncertain", "nomass": "denied"}


def match(words: Sequence[str]) -> list[Mention]:
    """Mentions of a mass by three words, and of an effusion."""
    return [
        Mention("Effusion" if word == "effusion" else "Mass", SAYS.get(word, "present"), i)
        for i, word in enumerate(words)
        if word in SAYS or word == "effusion"
    ]


def timed(*words: tuple[str, float, float]) -> list[Word]:
    return [Word(*word) for word in words]


REPORT = timed(
    ("the", 3.0, 3.4), ("mass", 3.4, 4.0), ("is", 4.0, 4.2), ("large", 4.2, 5.0), (".", 5.0, 5.0),
    ("an", 10.0, 10.5), ("effusion", 10.5, 11.5), (".", 11.5, 11.5),
    ("another", 12.0, 12.4), ("mass", 12.4, 13.0), ("and", 13.0, 13.2), ("mass", 13.2, 14.0),
    ("here", 14.0, 16.0),
)  # fmt: skip


def fixations(*rows: tuple[int, float, float], on: Sequence[bool] | None = None) -> pl.DataFrame:
    """Fixations of the reading "r": index, onset, duration."""
    table = pl.DataFrame(
        rows, schema={"index": pl.Int32, "onset": pl.Float64, "duration": pl.Float64}, orient="row"
    )
    flags = [True] * len(rows) if on is None else list(on)
    return table.with_columns(reading_id=pl.lit("r"), on=pl.Series(flags, dtype=pl.Boolean))


def test_a_stretch_begins_with_the_sentence_before_or_the_lead_and_ends_with_the_last_mention() -> None:
    sentences = sentences_of(REPORT)
    by_lead = [
        (each.sentence, each.label, each.begin, each.end) for each in stretches_of(sentences, match, 1.5)
    ]
    assert by_lead == [(0, "Mass", 1.5, 4.0), (1, "Effusion", 8.5, 11.5), (2, "Mass", 10.5, 14.0)]
    # With a long lead, the sentence before counts; the first sentence has none before it.
    by_sentence = [(each.begin, each.end) for each in stretches_of(sentences, match, 30.0)]
    assert by_sentence == [(-27.0, 4.0), (3.0, 11.5), (10.0, 14.0)]


def test_what_is_denied_has_a_stretch_of_its_own_that_does_not_count() -> None:
    words = timed(("nomass", 1.0, 2.0), ("maybe", 2.0, 3.0), (".", 3.0, 3.0))
    stretches = stretches_of(sentences_of(words), match, 0.5)
    assert [(each.polarity, each.end) for each in stretches] == [("denied", 2.0), ("uncertain", 3.0)]
    assert set(COUNTED) == set(get_args(Polarity)) - {"denied"}
    words = timed(("nomass", 1.0, 2.0), (".", 2.0, 2.0))
    none = align([Reading("c", "r", words)], fixations((0, 1.2, 0.5)), match, 0.5)
    assert none.mentions.is_empty()
    assert none.table.select("polarity", "fixations").rows() == [("denied", 1)]


def test_several_sentences_of_one_finding_are_united() -> None:
    gaze = fixations(
        (0, 1.0, 0.4), (1, 1.3, 0.4), (2, 3.9, 1.0), (5, 9.0, 0.5), (6, 13.0, 4.0), (7, 14.5, 1.0)
    )
    mentions = align([Reading("c", "r", REPORT)], gaze, match, 1.5).mentions
    of_mass = {index: share for _, index, label, share in mentions.iter_rows() if label == "Mass"}
    # Stretches 1.5 to 4 and 10.5 to 14: fixation 1 half, 2 a tenth, 6 a quarter.
    assert of_mass == pytest.approx({1: 0.5, 2: 0.1, 6: 0.25})
    of_effusion = {index: share for _, index, label, share in mentions.iter_rows() if label == "Effusion"}
    assert of_effusion == {5: 1.0}


def test_shares_equal_counted_instants() -> None:
    """The share of 2,000 instants of each fixation that are in any stretch."""
    draw = np.random.default_rng(3)
    for _ in range(20):
        begin = draw.uniform(0, 10, 6)
        spans = list(zip(begin.tolist(), (begin + draw.exponential(1.0, 6)).tolist(), strict=True))
        onset, duration = draw.uniform(0, 10, 8), draw.uniform(0.05, 2, 8)
        instants = onset[:, None] + duration[:, None] * (np.arange(2000) + 0.5) / 2000
        counted = np.mean([[any(a <= t <= b for a, b in spans) for t in row] for row in instants], axis=1)
        assert shares(onset.tolist(), duration.tolist(), spans) == pytest.approx(counted, abs=2e-3)
    assert shares([1.0, 5.0], [0.0, 0.0], [(0.5, 2.0)]) == [1.0, 0.0]
    assert shares([1.0], [0.5], []) == [0.0]


def test_fixations_off_the_image_are_in_neither_table() -> None:
    gaze = fixations((0, 3.0, 0.5), (1, 3.5, 0.5), on=[False, True])
    found = align([Reading("c", "r", REPORT)], gaze, match, 1.5)
    assert found.mentions["index"].to_list() == [1]
    assert found.table.filter(sentence=1)["fixations"].to_list() == [1]


def test_the_table_has_each_sentence_and_no_word_unless_requested() -> None:
    gaze = fixations((0, 3.0, 0.5), (1, 3.8, 0.4), (2, 9.0, 0.5))
    words = [*REPORT, Word(".", 16.0, 16.0), *timed(("clear", 17.0, 18.0), (".", 18.0, 18.0))]
    readings = [Reading("c", "r", words), Reading("d", "s", None), Reading("e", "t", [])]
    found = align(readings, gaze, match, 1.5).table
    assert "text" not in found.columns
    assert "mass" not in found.write_csv()
    ids = ["case_id", "sentence", "label", "polarity", "fixations", "fixation_seconds", "note"]
    assert found.select(ids).rows() == [
        ("c", 1, "Mass", "present", 2, 0.7, None),
        ("c", 2, "Effusion", "present", 1, 0.5, None),
        ("c", 3, "Mass", "present", 0, 0.0, None),
        ("c", 4, None, None, None, None, NO_LABEL),
        ("d", None, None, None, None, None, NO_TRANSCRIPT),
        ("e", None, None, None, None, None, NO_WORDS),
    ]
    assert found.filter(sentence=2).select("begin", "end", "gaze_begin", "gaze_end").row(0) == (
        10,
        11.5,
        8.5,
        11.5,
    )
    assert summarise(found) == (
        "Reports: 1 of 3 readings have one; 4 sentences, 1 of them without a class; "
        "2 findings, 2 of them with gaze"
    )
    spelled = align(readings, gaze, match, 1.5, text=True).table
    assert spelled["text"].to_list()[1] == "an effusion ."
    assert spelled.drop("text").equals(found)
