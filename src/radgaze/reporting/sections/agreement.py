"""Section of the agreement of maps with gaze."""

from __future__ import annotations

from dataclasses import dataclass

from radgaze.evaluation import baselines
from radgaze.evaluation.baseline_comparison import baseline_differences
from radgaze.evaluation.results import AgreementCases, Maps, read_agreement
from radgaze.reporting import intervals
from radgaze.reporting.page import Picture
from radgaze.reporting.sections.map_table import MapRow, map_rows
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.verdicts import floor_sentence
from radgaze.reporting.wording import AGREEMENT, FLOORS, LOCALISATION, MAPS, count, listed

JUDGED = ("heatmap", "mask")
"""The maps that are compared with the floors in a sentence."""


@dataclass(frozen=True)
class AgreementTable:
    """Content of the section.

    Attributes:
        rows: The table: a row per map, a column per metric.
        columns: Title of each metric, an arrow in its better direction, and the word for this direction.
        glossary: Title and explanation of each metric.
        verdicts: Sentences on a map against the floors, and whether it is better than all of them.
        compared: Cases on which agreement was measured, in words.
        figure: The table as a picture.
    """

    rows: tuple[MapRow, ...]
    columns: tuple[tuple[str, str, str], ...]
    glossary: tuple[tuple[str, str], ...]
    verdicts: tuple[tuple[bool, str], ...]
    compared: str
    figure: Picture


@register("agreement", title="Whether it looks where the radiologist looked", order=30)
class AgreementSection(Section):
    """The agreement of each map with gaze, and verdicts against the floors."""

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        if map_rows(evaluated.results.test.agreement, AGREEMENT):
            return None
        boxes = map_rows(evaluated.results.test.localisation, LOCALISATION)
        instead = " The next section compares the maps with boxes and masks." if boxes else ""
        return f"No agreement was measured: no test case has gaze.{instead}"

    def content(self, evaluated: EvaluatedRun) -> AgreementTable:
        test = evaluated.results.test
        return AgreementTable(
            rows=map_rows(test.agreement, AGREEMENT),
            columns=tuple(
                (title, "↑" if higher else "↓", "higher" if higher else "lower")
                for title, higher, _ in AGREEMENT.values()
            ),
            glossary=tuple((title, words) for title, _, words in AGREEMENT.values()),
            verdicts=_verdicts(evaluated),
            compared=compared_cases(test.agreement_cases),
            figure=_figure(evaluated, test.agreement),
        )


def compared_cases(cases: AgreementCases) -> str:
    """State on which cases agreement was measured, and how many maps were constant."""
    if not cases.compared:
        return ""
    parts = [f"{count(cases.compared, 'test case')} compared"]
    if cases.without_gaze:
        parts.append(f"{cases.without_gaze} without gaze left out")
    parts += [text for kind in baselines.evaluated().values() if (text := kind.remark(cases.baseline_counts))]
    constant = [
        f"{MAPS.get(kind, kind)} {number}"
        for kind, number in cases.constant_maps.items()
        if number and kind not in FLOORS
    ]
    if constant:
        parts.append(f"constant maps, scored as chance: {listed(constant)}")
    return "; ".join(parts) + "."


def _verdicts(evaluated: EvaluatedRun) -> tuple[tuple[bool, str], ...]:
    """Sentences on the heatmap and the mask against the floors, where agreement was measured."""
    run = evaluated.run
    if not (run.path / "agreement.parquet").is_file():
        return ()
    table, settings = read_agreement(run.path), evaluated.results.settings
    differences = {kind: baseline_differences(table, kind, evaluated.test, settings) for kind in JUDGED}
    return tuple(
        verdict for kind, by_metric in differences.items() if (verdict := floor_sentence(kind, by_metric))
    )


def _figure(evaluated: EvaluatedRun, maps: Maps) -> Picture:
    return evaluated.picture(
        intervals.agreement({evaluated.run.name: maps}),
        "agreement",
        "Agreement of each map with gaze; the numbers are in the table above",
    )
