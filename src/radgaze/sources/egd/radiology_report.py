"""The dictated reports of egd-cxr: times at which a finding of a case's class is mentioned."""

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
"""Beginnings of words that mention a class; our choice, since the data set defines none."""
NEGATED = re.compile(r"\b(no|without|not|negative for|free of)\b")
"""Words by which a phrase negates a finding of an abnormal class."""


def spoken(folder: Path, cases: pl.DataFrame) -> pl.DataFrame:
    """Read the times of the phrases that mention the class of a case; a case without a transcript has none.

    Args:
        folder: Folder of egd-cxr.
        cases: Table with case_id and class.

    Returns:
        Table of case_id, begin and end (s).

    Raises:
        UserError: No case has a transcript, or one is malformed.
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
        raise UserError(f"no case has a transcript under {folder / TRANSCRIPTS}; `align_report` needs them")
    schema = {"case_id": pl.String, "begin": pl.Float64, "end": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def speaks_of(phrase: str, name: str) -> bool:
    """Return whether a phrase mentions a class, by `WORDS`, without negating it."""
    text = " ".join(phrase.casefold().split())
    if not any(re.search(rf"\b{re.escape(word)}", text) for word in WORDS[name]):
        return False
    return name == "Normal" or not NEGATED.search(text)


def while_spoken(fixations: pl.DataFrame, times: pl.DataFrame, lead: float) -> pl.Series:
    """Return whether each fixation overlaps the time in which the class of its case is mentioned.

    The time is extended backwards by `lead`, since a finding is looked at before it is named.

    Args:
        fixations: Table with case_id, onset and duration (s). Onsets are taken to be relative to the
            appearance of the image, like the times of the transcript; this is inferred.
        times: Times of phrases, see `spoken`.
        lead: Time by which gaze may precede speech, in seconds.
    """
    numbered = fixations.select("case_id", "onset", "duration").with_row_index("row")
    near = numbered.join(times, on="case_id").filter(
        (pl.col("onset") <= pl.col("end")) & (pl.col("onset") + pl.col("duration") >= pl.col("begin") - lead)
    )
    return pl.int_range(fixations.height, eager=True).is_in(near["row"].unique().implode())


def _phrases(path: Path) -> Sequence[tuple[str, float, float]]:
    transcript = read_json(
        path,
        lambda content: isinstance(content, dict),
        "it is no transcript with phrases; restore the file of egd-cxr",
    )
    try:
        phrases = transcript["time_stamped_text"]
        return [(str(p["phrase"]), float(p["begin_time"]), float(p["end_time"])) for p in phrases]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no transcript with phrases and their times") from error
