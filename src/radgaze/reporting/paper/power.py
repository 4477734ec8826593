"""Table of the differences to the baseline that the runs could have detected."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from radgaze.evaluation.across_runs import GridEstimates
from radgaze.evaluation.per_run import HEATMAP_METRICS
from radgaze.evaluation.results import MACRO
from radgaze.files import write_text
from radgaze.markdown import escaped, table_of
from radgaze.reporting.paper.results import BASELINE, title
from radgaze.reporting.paper.table_set import heading
from radgaze.reporting.paper.words import detectable_words, power_legend
from radgaze.tables import harmless_row

TITLE = "What differences to the baseline could have been found"
MISSING = f"Nothing can be said: no experiment was compared with the {title(BASELINE)}."
_COLUMNS = ("experiment", "figure", "detectable", "detectable_at", "detectable_note", "needed")


@dataclass(frozen=True)
class PowerTable:
    """The table.

    Attributes:
        headings: Headings of the columns after that of the experiments.
        rows: Title and cells of each experiment.
        notes: Explanation of the numbers, or the reason why there are no rows.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]

    def markdown(self, stamp: str = "") -> str:
        """Format the table in Markdown.

        Args:
            stamp: Warning above the table; may be empty.
        """
        lines = [[escaped(name), *map(escaped, cells)] for name, cells in self.rows]
        table = [table_of(["Experiment", *map(escaped, self.headings)], lines)] if lines else []
        stamped = [f"> **{escaped(stamp)}**"] if stamp else []
        return "\n\n".join([*stamped, f"**{TITLE}**", *table, *map(escaped, self.notes)]) + "\n"


def power_table(estimates: GridEstimates) -> PowerTable:
    """Make the table of all experiments that were compared with the baseline."""
    differences = estimates.differences.get(BASELINE, {})
    if not differences:
        return PowerTable((), (), (MISSING,))
    metrics = [
        metric for metric in HEATMAP_METRICS if any(metric in by_figure for by_figure in differences.values())
    ]
    figures = [*estimates.groups, *metrics]
    rows = tuple(
        (
            title(name),
            (*(detectable_words(by_figure.get(f)) for f in figures), by_figure[MACRO].needed or "–"),
        )
        for name, by_figure in differences.items()
    )
    headings = [heading(f, estimates.positive) if f in estimates.groups else f"heatmap, {f}" for f in figures]
    note = (
        "With these cases and runs, true differences of about this size, up or down, would have been found "
        "in four of five studies; a smaller one may well be missed, and its p-value says nothing about it."
    )
    first = next(iter(differences.values()))[MACRO]
    needed = "mean AUC" if estimates.positive is None else heading(MACRO, estimates.positive)
    return PowerTable((*headings, f"Needed, {needed}"), rows, (note, power_legend(first)))


def write_power(estimates: GridEstimates, folder: Path, stamp: str = "") -> None:
    """Write power.md and power.csv; the latter is not rounded, and has a warning as a "#" line."""
    text = io.StringIO()
    text.write(f"# {stamp}\n" if stamp else "")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name, by_figure in estimates.differences.get(BASELINE, {}).items():
        for figure, difference in by_figure.items():
            cells = (getattr(difference, column) for column in _COLUMNS[2:])
            writer.writerow(harmless_row((name, figure, *cells)))
    write_text(text.getvalue(), folder / "power.csv")
    write_text(power_table(estimates).markdown(stamp), folder / "power.md")
