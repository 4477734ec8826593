"""What differences to the baseline the runs could have shown, and what a given one would need, as a table."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from radgaze.evaluation.summary import MACRO
from radgaze.files import write_text
from radgaze.markdown import escaped, table_of
from radgaze.reporting.paper.measured import OF_HEATMAP, Measured
from radgaze.reporting.paper.results import BASELINE, title
from radgaze.reporting.paper.tables import heading
from radgaze.reporting.statistics_words import in_words, legend

TITLE = "What differences to the baseline could have been found"
MISSING = f"Nothing can be said: no experiment was compared with the {title(BASELINE)}."
_COLUMNS = ("experiment", "figure", "detectable", "detectable_at", "detectable_note", "needed")


@dataclass(frozen=True)
class Powered:
    """The table.

    Attributes:
        headings: Of the columns after the experiment's.
        rows: Per experiment its title and a cell for each heading.
        notes: What the numbers mean; if there are no rows, why.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    notes: tuple[str, ...]

    def markdown(self, stamp: str = "") -> str:
        """The same as Markdown, under a stamp if there is one."""
        lines = [[escaped(name), *map(escaped, cells)] for name, cells in self.rows]
        table = [table_of(["Experiment", *map(escaped, self.headings)], lines)] if lines else []
        stamped = [f"> **{escaped(stamp)}**"] if stamp else []
        return "\n\n".join([*stamped, f"**{TITLE}**", *table, *map(escaped, self.notes)]) + "\n"


def powered(measured: Measured) -> Powered:
    """The table of all experiments that were compared with the baseline."""
    found = measured.differences.get(BASELINE, {})
    if not found:
        return Powered((), (), (MISSING,))
    figures = [*measured.groups, *(f for f in OF_HEATMAP if any(f in of for of in found.values()))]
    first = next(iter(found.values()))[MACRO]
    rows = tuple(
        (
            title(name),
            (*(in_words(of.get(f, {})) for f in figures), str(of[MACRO].get("needed") or "–")),
        )
        for name, of in found.items()
    )
    names = (*(heading(f) if f in measured.groups else f"heatmap, {f}" for f in figures), "Needed, mean AUC")
    note = (
        "With these cases and runs, true differences of about so much, up or down, would have been found in "
        "four of five studies; a smaller one may well be missed, and its p-value says nothing of it."
    )
    return Powered(names, rows, (note, legend(first)))


def write_powered(measured: Measured, folder: Path, stamp: str = "") -> None:
    """Write power.md and power.csv, unrounded; a stamp is a line after "#" there."""
    text = io.StringIO()
    text.write(f"# {stamp}\n" if stamp else "")
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for name, of in measured.differences.get(BASELINE, {}).items():
        for figure, entry in of.items():
            writer.writerow({"experiment": name, "figure": figure, **entry})
    write_text(text.getvalue(), folder / "power.csv")
    write_text(powered(measured).markdown(stamp), folder / "power.md")
