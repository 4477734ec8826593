"""The spoken reports of egd-cxr: at what times of a reading a finding of the case's class is spoken of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from radgaze.console import progress
from radgaze.errors import UserError
from radgaze.files import read_json
from radgaze.sources.egd.files import TRANSCRIPTS

WORDS: dict[str, tuple[str, ...]] = {
    "Normal": ("normal", "clear", "unremarkable", "no acute", "no evidence", "no focal"),
    "CHF": (
        "heart failure",
        "chf",
        "edema",
        "congest",
        "cardiomegaly",
        "enlarged heart",
        "heart is enlarged",
        "effusion",
    ),
    "pneumonia": ("pneumonia", "consolidat", "opacit", "infiltrat", "airspace", "air space"),
}
"""Beginnings of words that speak of a class; chosen by us, the data set has none."""
NEGATED = re.compile(r"\b(no|without|not|negative for|free of)\b")
"""Where a phrase of an abnormal class holds one of these, it says that the finding is not there."""


def spoken(folder: Path, cases: pl.DataFrame) -> pl.DataFrame:
    """case_id, begin, end (s): the phrases that speak of the case's class. A case without a transcript has
    none.

    Args:
        folder: Of egd-cxr.
        cases: case_id and class.

    Raises:
        UserError: No case has a transcript, or one is not what it must be.
    """
    rows, read = list[tuple[str, float, float]](), 0
    with progress("Reading transcripts", total=cases.height) as bar:
        for case_id, name in cases.select("case_id", "class").iter_rows():
            path = folder / TRANSCRIPTS / case_id / "transcript.json"
            if path.is_file():
                read += 1
                rows += [
                    (case_id, begin, end) for phrase, begin, end in _phrases(path) if speaks_of(phrase, name)
                ]
            bar.advance()
    if not read:
        raise UserError(f"no case has a transcript under {folder / TRANSCRIPTS}; --align-report needs them")
    schema = {"case_id": pl.String, "begin": pl.Float64, "end": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def speaks_of(phrase: str, name: str) -> bool:
    """Whether a phrase speaks of a class, by `WORDS`, and does not deny it."""
    text = " ".join(phrase.casefold().split())
    if not any(re.search(rf"\b{re.escape(word)}", text) for word in WORDS[name]):
        return False
    return name == "Normal" or not NEGATED.search(text)


def cut(fixations: pl.DataFrame, times: pl.DataFrame, lead: float) -> pl.Series:
    """Whether each fixation touches the time in which its case's class is spoken of, or the seconds before.

    The eyes are there first: what is spoken was looked at a moment ago.

    Args:
        fixations: case_id, onset, duration (s), the onset since the image came up, as the transcript's times
            are [inferred].
        times: As `spoken` gives them.
        lead: Seconds by which gaze may precede speech.
    """
    numbered = fixations.select("case_id", "onset", "duration").with_row_index("row")
    near = numbered.join(times, on="case_id").filter(
        (pl.col("onset") <= pl.col("end")) & (pl.col("onset") + pl.col("duration") >= pl.col("begin") - lead)
    )
    return pl.int_range(fixations.height, eager=True).is_in(near["row"].unique().implode())


def _phrases(path: Path) -> Sequence[tuple[str, float, float]]:
    found = read_json(
        path,
        lambda found: isinstance(found, dict),
        "it is no transcript with phrases; put egd-cxr's own back",
    )
    try:
        phrases = found["time_stamped_text"]
        return [(str(p["phrase"]), float(p["begin_time"]), float(p["end_time"])) for p in phrases]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no transcript with phrases and their times") from error
