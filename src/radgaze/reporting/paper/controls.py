"""Whether the gaze on each case is distinguishable from what stood in for it: the controls of a grid."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radgaze import experiments
from radgaze.evaluation.across_runs import Difference, GridEstimates
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.decision import Verdict, verdict
from radgaze.files import write_text
from radgaze.markdown import escaped, table_of
from radgaze.records import plain_fields
from radgaze.reporting.paper.results import Results, title
from radgaze.reporting.paper.words import paired_words
from radgaze.runs.controls import WORDS
from radgaze.runs.requirements import uses_gaze
from radgaze.tables import harmless_row
from radgaze.words import listed

TITLE = "The gaze on each case against its controls"
FIGURES = {MACRO: "mean AUC", "nss": "heatmap, NSS"}
NO_CONTROL = (
    "it used gaze, and no control was run: nothing here says how much it owes to the gaze on each case, and "
    "how much to any map of where to look."
)
RULE = (
    "A control is the same run, in whose training something else stood in for the gaze on each case; all are "
    "tested with the true gaze. A difference is the run with the case's own gaze minus its control, paired "
    "by seed or fold and by case. The two are distinguishable where its 95% interval excludes 0 and its "
    "p-value after Holm's correction over all controls here is below 0.05. “Not distinguishable” is no proof "
    "that they are equal."
)
_COLUMNS = (
    *("experiment", "control", "figure", "value", "low", "high", "seeds", "p_holm", "p_holm_is_bound"),
    *("patients", "discordant", "no_verdict", "detectable", "detectable_at", "detectable_note", "verdict"),
)


@dataclass(frozen=True)
class ControlSentence:
    """Finding of the controls of an experiment.

    Attributes:
        title: Title of the experiment.
        words: The finding.
        shown: Whether its gaze is better than each of its controls in mean AUC.
    """

    title: str
    words: str
    shown: bool


@dataclass(frozen=True)
class ControlRow:
    """One control of an experiment.

    Attributes:
        title: Title of the experiment.
        cells: Control, and difference and verdict of each figure, in words.
    """

    title: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class ControlTable:
    """The controls of a grid.

    Attributes:
        sentences: A finding for each experiment that uses gaze.
        headings: Headings of the columns after that of the experiments.
        rows: A row for each control that was run.
        notes: Explanation of the table.
        records: Rows of the CSV file.
    """

    sentences: tuple[ControlSentence, ...]
    headings: tuple[str, ...]
    rows: tuple[ControlRow, ...]
    notes: tuple[str, ...]
    records: tuple[tuple[object, ...], ...]

    def markdown(self, stamp: str = "") -> str:
        """Format findings and table in Markdown.

        Args:
            stamp: Warning above them; may be empty.
        """
        stamped = [f"> **{escaped(stamp)}**"] if stamp else []
        findings = [f"- {escaped(each.title)}: {escaped(each.words)}" for each in self.sentences]
        lines = [[escaped(row.title), *map(escaped, row.cells)] for row in self.rows]
        table = [table_of(["Experiment", *map(escaped, self.headings)], lines)] if lines else []
        parts = [*stamped, f"**{TITLE}**", "\n".join(findings), *table, *map(escaped, self.notes)]
        return "\n\n".join(part for part in parts if part) + "\n"


def control_table(results: Results, estimates: GridEstimates) -> ControlTable:
    """Compare each experiment that uses gaze with its controls, and say where there is none."""
    sentences, rows, records = list[ControlSentence](), list[ControlRow](), list[tuple[object, ...]]()
    for name in results.attempted:
        controls = [each for each, experiment in results.controls.items() if experiment == name]
        if name in results.controls or not (controls or _uses_gaze(results, name)):
            continue
        sentences.append(_sentence(results, estimates, name, controls))
        for each in controls:
            differences = estimates.controls.get(each, {})
            control = experiments.control_of(each)[1]
            words = [paired_words(differences.get(figure)) for figure in FIGURES]
            rows.append(ControlRow(title(name), (control, *words)))
            records += [_record(name, control, f, d) for f, d in differences.items()]
    sentences = sentences or [ControlSentence("No control", "No experiment here uses gaze.", shown=False)]
    headings = ("Control", *FIGURES.values())
    return ControlTable(tuple(sentences), headings, tuple(rows), (RULE,), tuple(records))


def write_controls(table: ControlTable, folder: Path, stamp: str = "") -> None:
    """Write controls.md and controls.csv; the latter is not rounded, and has a warning as a "#" line."""
    text = io.StringIO()
    text.write(f"# {stamp}\n" if stamp else "")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_COLUMNS, *map(harmless_row, table.records)])
    write_text(text.getvalue(), folder / "controls.csv")
    write_text(table.markdown(stamp), folder / "controls.md")


def caveat(names: Sequence[str], figures: Sequence[str], estimates: GridEstimates) -> str:
    """State in words what controls say about a claim on experiments, or that there are none.

    Args:
        names: The experiments of the claim.
        figures: The figures of the claim; the gaze must be better than a control in all of them.
        estimates: Estimates of the grid.
    """
    controlled, uncontrolled = list[str](), list[str]()
    for name in names:
        controls = {
            split[1]: by_figure
            for each, by_figure in estimates.controls.items()
            if (split := experiments.control_of(each))[0] == name
        }
        if not controls:
            uncontrolled.append(title(name))
            continue
        better = [
            control
            for control, by_figure in controls.items()
            if all(_decision(by_figure.get(figure)) == "better" for figure in figures)
        ]
        controlled.append(f"{title(name)} is {_against(better, [c for c in controls if c not in better])}")
    words = f"Controls of gaze: {'; '.join(controlled)}. " if controlled else ""
    if uncontrolled:
        words += (
            f"No control of {listed(uncontrolled)}: whether a gain is owed to the gaze on each case, or to "
            "any map of where to look, is not known."
        )
    return words.strip()


def _sentence(
    results: Results, estimates: GridEstimates, name: str, controls: Sequence[str]
) -> ControlSentence:
    decisions = {each: _decision(estimates.controls.get(each, {}).get(MACRO)) for each in controls}
    if not controls:
        return ControlSentence(title(name), NO_CONTROL, shown=False)
    parts = []
    for each, decision in decisions.items():
        control = experiments.control_of(each)[1]
        difference = estimates.controls.get(each, {}).get(MACRO)
        about = f"{WORDS.get(control, control)} ({control})"
        if difference is None:
            parts.append(f"not compared with {about}: {results.reason(each) or 'no pair of runs'}")
        elif decision in ("better", "worse"):
            side = "higher" if decision == "better" else "lower"
            parts.append(
                f"distinguishable from {about}: mean AUC {side} with the case's own, "
                f"{paired_words(difference)}"
            )
        else:
            lead = "not distinguishable from" if decision == "even" else "undecided against"
            parts.append(f"{lead} {about}: {paired_words(difference)}")
    words = f"the gaze on each case is {'; '.join(parts)}."
    return ControlSentence(title(name), words, shown=all(each == "better" for each in decisions.values()))


def _uses_gaze(results: Results, name: str) -> bool:
    return any(uses_gaze(run.config) for run in results.runs.get(name, {}).values())


def _decision(difference: Difference | None) -> Verdict | None:
    return None if difference is None else verdict(plain_fields(difference), tested=True)


def _against(better: Sequence[str], others: Sequence[str]) -> str:
    parts = [f"better than with {listed(better)}"] if better else []
    return ", ".join([*parts, *([f"not shown to be better than with {listed(others)}"] if others else [])])


def _record(name: str, control: str, figure: str, difference: Difference) -> tuple[object, ...]:
    return (
        *(name, control, figure, difference.value, difference.low, difference.high, difference.seeds),
        difference.p,
        difference.p_is_bound if difference.p is not None else None,
        *(difference.patients, difference.discordant, difference.lacking or None),
        *(difference.detectable, difference.detectable_at, difference.detectable_note),
        _decision(difference),
    )
