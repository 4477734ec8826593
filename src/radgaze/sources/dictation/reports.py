"""The alignment of a source: its options, its readings and their reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from radgaze.console import note, progress, say
from radgaze.errors import UserError
from radgaze.sources.dictation.alignment import Alignment, Reading, align, summarise
from radgaze.sources.dictation.matcher import make, without_phrases
from radgaze.sources.dictation.options import AlignOptions
from radgaze.sources.dictation.phrases import Phrases, own_phrases, read_phrases
from radgaze.sources.dictation.transcript import Word
from radgaze.tables import write_csv


def phrases_of(options: AlignOptions) -> Phrases:
    """Read the list of phrases that the options name, or the one of this package."""
    return own_phrases() if options.align_phrases is None else read_phrases(Path(options.align_phrases))


def aligned(
    options: AlignOptions,
    fixations: pl.DataFrame,
    labels: Sequence[str],
    read: Callable[[str, str], Sequence[Word] | None],
    *,
    expected: str,
) -> Alignment | None:
    """Align the gaze of a source with its reports, and write the table that the options request.

    Args:
        options: Options of the alignment.
        fixations: Table with case_id, reading_id, index, onset and duration in seconds, and whether each is
            `on` the image.
        labels: Names of the classes.
        read: Function from the ids of a case and a reading to the words of its report, None without one.
        expected: Place where the reports are expected, for messages.

    Returns:
        The alignment; None where the options do not request one.

    Raises:
        UserError: There is no such matcher, the list of phrases cannot be read, or no reading has a report
            with words.
    """
    if options.align_report is None:
        return None
    phrases = phrases_of(options)
    match = make(options.align_matcher, labels, phrases)
    unknown = without_phrases(labels, phrases) if options.align_matcher == "phrases" else []
    if unknown:
        note(f"No phrases mention {', '.join(unknown)}: only the name of the class is looked for")
    ids = fixations.select("case_id", "reading_id").unique(maintain_order=True)
    with progress("Reading reports", total=ids.height) as bar:
        readings = (Reading(case, reading, read(case, reading)) for case, reading in ids.iter_rows())
        alignment = align(
            readings, fixations, match, options.align_report, text=options.align_text, advance=bar.advance
        )
    if alignment.table["sentence"].is_null().all():
        raise UserError(f"no reading has a report with words, {expected}; `align_report` needs them")
    say(summarise(alignment.table))
    if options.align_table is not None:
        path = Path(options.align_table)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_csv(alignment.table, path)
        say(f"The alignment is in {path}")
    return alignment
