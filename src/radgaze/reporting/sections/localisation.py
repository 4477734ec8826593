"""Section of the localisation of boxes and masks."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.reporting.sections.map_table import MapRow, map_rows
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.wording import LOCALISATION, count


@dataclass(frozen=True)
class LocalisationTable:
    """Content of the section.

    Attributes:
        rows: The table: a row per map, a column per metric.
        glossary: Title and explanation of each metric, in the order of the columns.
        cases: Number of cases with boxes, in words.
    """

    rows: tuple[MapRow, ...]
    glossary: tuple[tuple[str, str], ...]
    cases: str


@register("localisation", title="Whether it points into the radiologist's boxes and masks", order=40)
class LocalisationSection(Section):
    """The localisation of boxes and masks; left out where no test case has any."""

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        return None if map_rows(evaluated.results.test.localisation, LOCALISATION) else ""

    def content(self, evaluated: EvaluatedRun) -> LocalisationTable:
        test = evaluated.results.test
        return LocalisationTable(
            rows=map_rows(test.localisation, LOCALISATION),
            glossary=tuple(LOCALISATION.values()),
            cases=count(test.localisation_cases.compared, "test case"),
        )
