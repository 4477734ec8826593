"""Tables of a reader study's results, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from radgaze.markdown import escaped, table_of
from radgaze.records import plain_fields
from radgaze.reporting.statistics_words import p_equals, p_words
from radgaze.reporting.wording import DASH, count, estimate, interval, number, signed
from radgaze.viewing.study.readings import MEASURES
from radgaze.viewing.study.results import EVERYONE, Contrast, Figure, StudyResults

METHODS = {
    "anova": "readers and cases, balanced",
    "mixed": "readers and cases, mixed model",
    "paired": "this reader, paired by case",
    "": "no test",
}
"""What a test is over, by the name of its method."""

HOLM = "p by Holm"


@dataclass(frozen=True)
class StudyTable:
    """A table of results.

    Attributes:
        title: Its title.
        head: Headings.
        rows: Cells of each row; the first one is the row's name.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown."""
        return f"## {self.title}\n\n" + table_of(self.head, [[escaped(c) for c in row] for row in self.rows])


def tables(results: StudyResults) -> list[StudyTable]:
    """The tables: figures of all readers, their differences, and each reader's."""
    measures = [name for name in MEASURES if any(f.measure == name for f in results.figures)]
    figures = StudyTable(
        "All readers",
        ("", *results.conditions),
        tuple(
            (_title(name), *(figure_words(results.figure(name, c)) for c in results.conditions))
            for name in measures
        ),
    )
    contrasts = StudyTable(
        "Differences",
        ("", "condition", "against", "difference", "p", HOLM, "over", "readers", "cases"),
        tuple(
            (
                *(_title(name), condition, reference, contrast_words(contrast)),
                *(p_words(contrast.p), p_words(contrast.p_holm), METHODS[contrast.method]),
                *(str(contrast.readers), str(contrast.cases)),
            )
            for reference, condition in results.pairs
            for name in measures
            if (contrast := results.contrast(name, condition, reference=reference)) is not None
        ),
    )
    return [figures, contrasts, *(_of_reader(results, reader, measures) for reader in results.readers)]


def _of_reader(results: StudyResults, reader: str, measures: Sequence[str]) -> StudyTable:
    return StudyTable(
        f"Reader {reader}",
        ("", *results.conditions, *(f"{b} − {a}" for a, b in results.pairs)),
        tuple(
            (
                _title(name),
                *(figure_words(results.figure(name, c, reader)) for c in results.conditions),
                *(_with_p(results.contrast(name, b, reader, a)) for a, b in results.pairs),
            )
            for name in measures
        ),
    )


def _title(measure: str) -> str:
    return MEASURES[measure].title + (" (s)" if measure == "time" else "")


def figure_words(figure: Figure | None) -> str:
    """A figure with its interval, and a dash where there is none."""
    if figure is None or figure.value is None:
        return DASH
    digits = MEASURES[figure.measure].digits
    return number(figure.value, 1) if figure.measure == "time" else estimate(figure, digits)


def contrast_words(contrast: Contrast | None) -> str:
    """A difference with its sign and interval, or a ratio of times."""
    if contrast is None or contrast.value is None:
        return DASH
    digits = MEASURES[contrast.measure].digits
    value = f"× {number(contrast.value, 2)}" if contrast.measure == "time" else signed(contrast.value, digits)
    around = interval(contrast, digits)
    return f"{value} {around}" if around else value


def _with_p(contrast: Contrast | None) -> str:
    words = contrast_words(contrast)
    return words if contrast is None or contrast.p is None else f"{words}, p {p_equals(contrast.p)}"


def findings(results: StudyResults) -> list[str]:
    """Sentences on what was found, which claim no more than the intervals support."""
    said = list[str]()
    for reference, condition in results.pairs:
        for measure in ("accuracy", "auc", "time", "agrees_wrong", "agrees_right"):
            contrast = results.contrast(measure, condition, reference=reference)
            if contrast is None or contrast.value is None:
                continue
            title = MEASURES[measure].title
            words = f"“{condition}” against “{reference}”: {title} {contrast_words(contrast)}"
            if contrast.p is None:
                said.append(f"{words}; no test")
                continue
            if contrast.p_holm is None:
                said.append(f"{words}, p {p_equals(contrast.p)} without correction: exploratory")
                continue
            verdict = "" if contrast.p_holm < 0.05 else ", not distinguishable from no effect"
            said.append(f"{words}, {HOLM} {p_equals(contrast.p_holm)}{verdict}")
    return [f"{each}." for each in said]


def cautions(results: StudyResults) -> list[str]:
    """Sentences on the limits of these readings."""
    said = []
    readers = len(results.readers)
    if results.answered < results.planned:
        said.append(
            f"The study is not finished: {results.answered} of {results.planned} readings are recorded."
        )
    if readers < 3:
        said.append(
            f"With {count(readers, 'reader')} nothing can be said about readers in general: no test is made "
            "over readers, and the tables of single readers hold for them alone."
        )
    elif readers < 6:
        said.append(
            f"With {readers} readers the intervals are wide, since they are over readers too, and only a "
            "large effect is found."
        )
    if any(each.method == "mixed" for each in results.contrasts):
        said.append(
            "Not every reader read every case in every condition, so a linear mixed model was fitted; with "
            "few readers its p-values are too large rather than too small."
        )
    if results.late:
        said.append(f"{count(results.late, 'answer')} came after the time limit, and count like the others.")
    if results.reopened:
        said.append(
            f"{count(results.reopened, 'reading')} had the page opened more than once; the time is the sum."
        )
    return said


def frame(results: StudyResults) -> pl.DataFrame:
    """Make a table with a row for each figure and each contrast."""
    rows = [{"kind": "figure", **_flat(each)} for each in results.figures]
    rows += [{"kind": "difference", **_flat(each)} for each in results.contrasts]
    texts = ("kind", "measure", "condition", "reference", "reader", "method")
    numbers = ("value", "low", "high", "p", "p_holm")
    counts = ("readings", "readers", "cases")
    schema = {
        **dict.fromkeys(texts, pl.String()),
        **dict.fromkeys(numbers, pl.Float64()),
        **dict.fromkeys(counts, pl.Int64()),
    }
    table = pl.DataFrame(rows, schema=schema)
    return table.with_columns(pl.col("reader").replace(EVERYONE, "all"))


def _flat(entry: Figure | Contrast) -> dict[str, object]:
    return dict(plain_fields(entry))
