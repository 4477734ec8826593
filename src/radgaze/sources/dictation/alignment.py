"""Gaze that belongs to each finding of a dictated report.

The method follows Bigolin Lanfredi et al. 2023 (doi:10.3389/fradi.2023.1088068): a finding is looked at
before it is named, so that its fixations are those from the start of the sentence before, but at most a
number of seconds before its own sentence (1.5 in their code). In their code, all findings of a sentence have
the same end, the start of the last word that names any of them; here each has its own, the end of the last
word that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from radgaze.sources.contents import NO_MENTIONS
from radgaze.sources.dictation.matcher import Matcher
from radgaze.sources.dictation.scope import Polarity
from radgaze.sources.dictation.transcript import Sentence, Word, sentences_of

COUNTED: tuple[Polarity, ...] = ("present", "uncertain")
"""Polarities whose fixations are assigned to the finding; a denied finding was looked for and not seen."""

TABLE = {
    "case_id": pl.String,
    "reading_id": pl.String,
    "sentence": pl.Int32,
    "begin": pl.Float64,
    "end": pl.Float64,
    "label": pl.String,
    "polarity": pl.String,
    "gaze_begin": pl.Float64,
    "gaze_end": pl.Float64,
    "fixations": pl.Int32,
    "fixation_seconds": pl.Float64,
    "note": pl.String,
    "text": pl.String,
}
"""Columns of the table of an alignment; times are in seconds, and `text` is there only on request."""
NO_TRANSCRIPT, NO_WORDS, NO_LABEL = "no transcript", "transcript without words", "no label"
"""Values of the column `note`."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of time in which a finding is looked at and mentioned.

    Attributes:
        sentence: Index of the sentence, from 0.
        label: Name of the class.
        polarity: Whether the sentence states the finding as present, uncertain or denied.
        begin, end: Times in seconds.
    """

    sentence: int
    label: str
    polarity: Polarity
    begin: float
    end: float


@dataclass(frozen=True)
class Alignment:
    """Gaze aligned with reports.

    Attributes:
        mentions: Table as in `Cohort.mentions`: reading_id, index of the fixation, label, and the share of
            the fixation's duration that belongs to the label.
        table: Table with the columns of `TABLE`, for checking the alignment.
    """

    mentions: pl.DataFrame
    table: pl.DataFrame


@dataclass(frozen=True)
class Reading:
    """A reading and its report.

    Attributes:
        case_id, reading_id: Ids.
        words: Words of its report; None if it has no transcript.
    """

    case_id: str
    reading_id: str
    words: Sequence[Word] | None


def stretches_of(sentences: Sequence[Sentence], match: Matcher, lead: float) -> list[Stretch]:
    """Find the stretches of time that belong to the findings of a report.

    A stretch begins at max(start of the sentence before, start of the sentence − lead), for the first
    sentence at its start − lead, and ends with the last word that names the finding. A sentence that mentions
    a finding with several polarities has a stretch for each.

    Args:
        sentences: Sentences of the report, in order.
        match: Function that finds the mentions of a sentence.
        lead: Number of seconds by which gaze may precede a sentence.
    """
    stretches = []
    for i, sentence in enumerate(sentences):
        begin = sentence.begin - lead
        if i:
            begin = max(begin, min(sentences[i - 1].begin, sentence.begin))
        last: dict[tuple[str, Polarity], float] = {}
        for mention in match([word.text for word in sentence.words]):
            key = (mention.label, mention.polarity)
            last[key] = max(last.get(key, 0.0), sentence.words[mention.last].end)
        stretches += [Stretch(i, label, polarity, begin, end) for (label, polarity), end in last.items()]
    return stretches


def shares(
    onset: Sequence[float], duration: Sequence[float], spans: Iterable[tuple[float, float]]
) -> list[float]:
    """Compute the share of each fixation's duration that lies in a union of stretches of time.

    A fixation without duration has the share 1 if it begins in one of them, else 0.

    Args:
        onset: Start of each fixation, in seconds.
        duration: Duration of each fixation, in seconds.
        spans: Start and end of each stretch, in seconds; they may overlap.
    """
    united = list[tuple[float, float]]()
    for begin, end in sorted(spans):
        if united and begin <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((begin, end))
    values = []
    for start, length in zip(onset, duration, strict=True):
        if length <= 0:
            values.append(float(any(begin <= start <= end for begin, end in united)))
            continue
        inside = sum(max(0.0, min(end, start + length) - max(begin, start)) for begin, end in united)
        values.append(min(1.0, inside / length))
    return values


def align(
    readings: Iterable[Reading],
    fixations: pl.DataFrame,
    match: Matcher,
    lead: float,
    *,
    text: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Alignment:
    """Assign the fixations of readings to the findings of their reports.

    Args:
        readings: Readings and their reports.
        fixations: Table with reading_id, index, onset and duration in seconds, and whether each is `on` the
            image; fixations off the image are in neither table.
        match: Function that finds the mentions of a sentence.
        lead: Number of seconds by which gaze may precede a sentence.
        text: Whether the table has the words of each sentence.
        advance: Function that is called after each reading.
    """
    of_reading = {
        str(key[0]): part
        for key, part in fixations.filter("on")
        .select("reading_id", "index", "onset", "duration")
        .partition_by("reading_id", as_dict=True)
        .items()
    }
    none = fixations.select("reading_id", "index", "onset", "duration").clear()
    mentions, rows = [pl.DataFrame(schema=NO_MENTIONS)], list[Mapping[str, object]]()
    for reading in readings:
        gaze = of_reading.get(reading.reading_id, none)
        sentences = sentences_of(reading.words or ())
        stretches = stretches_of(sentences, match, lead)
        mentions.append(_mentions(gaze, stretches))
        rows += _rows(reading, gaze, sentences, stretches, text=text)
        advance()
    schema = TABLE if text else {name: kind for name, kind in TABLE.items() if name != "text"}
    return Alignment(pl.concat(mentions), pl.DataFrame(rows, schema=schema, orient="row"))


def summarise(table: pl.DataFrame) -> str:
    """Describe an alignment in one line of counts, without any word of a report."""
    readings = table["reading_id"].n_unique()
    silent = table.filter(pl.col("note").is_in([NO_TRANSCRIPT, NO_WORDS]))
    spoken = table.filter(pl.col("sentence").is_not_null()).select("reading_id", "sentence", "note").unique()
    unmatched = spoken.filter(note=NO_LABEL).height
    counted = table.filter(pl.col("polarity").is_in(COUNTED))
    gazed = counted.filter(pl.col("fixations") > 0).select("reading_id", "label").unique().height
    findings = counted.select("reading_id", "label").unique().height
    return (
        f"Reports: {readings - silent.height} of {readings} readings have one; {spoken.height} sentences, "
        f"{unmatched} of them without a class; {findings} findings, {gazed} of them with gaze"
    )


def _mentions(gaze: pl.DataFrame, stretches: Sequence[Stretch]) -> pl.DataFrame:
    parts = [pl.DataFrame(schema=NO_MENTIONS)]
    counted = [stretch for stretch in stretches if stretch.polarity in COUNTED]
    onset, duration = gaze["onset"].to_list(), gaze["duration"].to_list()
    for label in dict.fromkeys(stretch.label for stretch in counted):
        spans = [(stretch.begin, stretch.end) for stretch in counted if stretch.label == label]
        part = gaze.select(
            "reading_id",
            "index",
            pl.lit(label).alias("label"),
            pl.Series("share", shares(onset, duration, spans), dtype=pl.Float64),
        )
        parts.append(part.filter(pl.col("share") > 0))
    return pl.concat(parts)


def _rows(
    reading: Reading,
    gaze: pl.DataFrame,
    sentences: Sequence[Sentence],
    stretches: Sequence[Stretch],
    *,
    text: bool,
) -> list[Mapping[str, object]]:
    """Make the rows of a reading: at least one for each sentence, and one for a reading without any."""
    ids: dict[str, object] = {"case_id": reading.case_id, "reading_id": reading.reading_id}
    if not sentences:
        return [{**ids, "note": NO_TRANSCRIPT if reading.words is None else NO_WORDS}]
    onset, duration = gaze["onset"].to_list(), gaze["duration"].to_list()
    rows = list[Mapping[str, object]]()
    for i, sentence in enumerate(sentences):
        about = {**ids, "sentence": i + 1, "begin": sentence.begin, "end": sentence.end}
        if text:
            about["text"] = sentence.text
        matched = [stretch for stretch in stretches if stretch.sentence == i]
        if not matched:
            rows.append({**about, "note": NO_LABEL})
        for stretch in matched:
            inside = shares(onset, duration, [(stretch.begin, stretch.end)])
            seconds = sum(share * length for share, length in zip(inside, duration, strict=True))
            rows.append(
                {
                    **about,
                    "label": stretch.label,
                    "polarity": stretch.polarity,
                    "gaze_begin": stretch.begin,
                    "gaze_end": stretch.end,
                    "fixations": sum(share > 0 for share in inside),
                    "fixation_seconds": round(seconds, 4),
                }
            )
    return rows
