"""Section of the reliance on confounders."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.wording import RELIANCE, count


@dataclass(frozen=True)
class RelianceRow:
    """A confounder in the table.

    Attributes:
        name: Name of the confounder.
        images: Numbers of cases and of pairs of images, in words.
        entries: Estimates of the metrics.
    """

    name: str
    images: str
    entries: tuple[IntervalEstimate, ...]


@dataclass(frozen=True)
class RelianceTable:
    """Content of the section.

    Attributes:
        rows: The table: a row per confounder, a column per metric.
        glossary: Title and explanation of each metric, in the order of the columns.
    """

    rows: tuple[RelianceRow, ...]
    glossary: tuple[tuple[str, str], ...]


@register("reliance", title="How much it relies on confounders", order=45)
class RelianceSection(Section):
    """The reliance on confounders; left out where the store has no twins of test cases."""

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        return None if evaluated.results.test.reliance else ""

    def content(self, evaluated: EvaluatedRun) -> RelianceTable:
        return RelianceTable(
            rows=tuple(
                RelianceRow(
                    name,
                    f"{count(relied.cases, 'test case')}, {count(relied.pairs, 'pair')}",
                    tuple(relied.metrics[metric] for metric in RELIANCE),
                )
                for name, relied in (evaluated.results.test.reliance or {}).items()
            ),
            glossary=tuple(RELIANCE.values()),
        )
