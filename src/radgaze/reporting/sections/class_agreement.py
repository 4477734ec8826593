"""Section of the agreement of the maps of each class with the gaze of this class."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.reporting.sections.map_table import MapRow, map_rows
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.wording import AGREEMENT, count


@dataclass(frozen=True)
class ClassRow:
    """A row of the table of classes.

    Attributes:
        name: The class.
        cases: Number of test cases with gaze of the class.
        entries: Figures of the heatmap, by metric; empty without a case.
    """

    name: str
    cases: int
    entries: tuple[IntervalEstimate | None, ...]


@dataclass(frozen=True)
class ClassAgreementTable:
    """Content of the section.

    Attributes:
        cases: Number of test cases with gaze of some class, in words.
        rows: The table of maps: a row per map, a column per metric.
        classes: The table of the heatmap, a row per class.
        columns: Title of each metric, an arrow in its better direction, and the word for this direction.
    """

    cases: str
    rows: tuple[MapRow, ...]
    classes: tuple[ClassRow, ...]
    columns: tuple[tuple[str, str, str], ...]


@register("class_agreement", title="Whether it looks where each finding was seen", order=35)
class ClassAgreementSection(Section):
    """The agreement with the gaze of each class; left out where it was not measured."""

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        measured = evaluated.results.test.class_agreement
        if measured is None:
            return ""
        return None if measured.cases else "No test case has gaze of a class that its report mentions."

    def content(self, evaluated: EvaluatedRun) -> ClassAgreementTable:
        measured = evaluated.results.test.class_agreement
        assert measured is not None
        return ClassAgreementTable(
            cases=count(measured.cases, "test case"),
            rows=map_rows(measured.all, AGREEMENT),
            classes=tuple(
                ClassRow(name, cases, tuple((heatmap or {}).get(metric) for metric in AGREEMENT))
                for name, cases in measured.cases_of_class.items()
                for heatmap in (measured.by_class.get(name, {}).get("heatmap"),)
            ),
            columns=tuple(
                (title, "↑" if higher else "↓", "higher" if higher else "lower")
                for title, higher, _ in AGREEMENT.values()
            ),
        )
