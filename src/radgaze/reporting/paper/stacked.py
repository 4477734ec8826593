"""Tables whose cells have several lines, as Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radgaze.files import write_text
from radgaze.markdown import escaped, table_of
from radgaze.tables import harmless_row

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class StackedRow:
    """A row of a table.

    Attributes:
        title: Title of the row.
        cells: The lines of each cell; empty where there is a reason.
        remark: Remark below the title.
        reason: Reason why there are no cells.
        is_control: Whether the row is a control of the experiment above it.
    """

    title: str
    cells: tuple[tuple[str, ...], ...] = ()
    remark: str = ""
    reason: str = ""
    is_control: bool = False


@dataclass(frozen=True)
class StackedTable:
    """A table.

    Attributes:
        caption: Caption.
        headings: Headings of the columns after that of the rows.
        rows: The rows.
        notes: Notes below the table.
        columns: Columns of the CSV file.
        records: Rows of the CSV file, not rounded.
    """

    caption: str
    headings: tuple[str, ...]
    rows: tuple[StackedRow, ...]
    notes: tuple[str, ...]
    columns: tuple[str, ...]
    records: tuple[tuple[Cell, ...], ...]

    def markdown(self, stamp: str = "") -> str:
        """Format the table in Markdown.

        Args:
            stamp: Warning above the table; may be empty.
        """
        lines = []
        for row in self.rows:
            name = "<br>".join(map(escaped, (row.title, *([row.remark] if row.remark else []))))
            cells = ["<br>".join(map(escaped, cell)) for cell in row.cells]
            lines.append([name, *(cells or [escaped(row.reason), *[""] * (len(self.headings) - 1)])])
        stamped = [f"> **{escaped(stamp)}**"] if stamp else []
        table = table_of(["Experiment", *map(escaped, self.headings)], lines)
        return (
            "\n\n".join([*stamped, f"**{escaped(self.caption)}**", table, *map(escaped, self.notes)]) + "\n"
        )


def write_stacked(tables: Sequence[StackedTable], path: Path, stamp: str = "") -> None:
    """Write tables with the same columns as PATH.md and PATH.csv; a warning is a "#" line of the latter."""
    text = io.StringIO()
    text.write(f"# {stamp}\n" if stamp else "")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(tables[0].columns)
    for table in tables:
        writer.writerows(map(harmless_row, table.records))
    write_text(text.getvalue(), path.with_name(f"{path.name}.csv"))
    write_text("\n".join(table.markdown(stamp) for table in tables), path.with_name(f"{path.name}.md"))
