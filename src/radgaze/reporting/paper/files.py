"""Writing of tables as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from radgaze.console import shown
from radgaze.files import write_text
from radgaze.markdown import escaped
from radgaze.reporting.paper.table_set import (
    Row,
    Table,
    beside_words,
    cell_words,
    difference_words,
    p_words_of,
    published_words,
    records,
)
from radgaze.reporting.paper.words import detectable_words
from radgaze.tables import harmless

COLUMNS = (
    *("table", "experiment", "title", "figure", "status", "seeds", "group", "value", "low", "high"),
    *(
        "published",
        "published_low",
        "published_high",
        "difference_to_published",
        "published_inside",
        "p_holm",
        "p_holm_is_bound",
    ),
    *("patients", "discordant", "no_interval", "no_verdict"),
    *("detectable", "detectable_at", "detectable_note"),
)


def write_tables(tables: Sequence[Table], seeds: Mapping[str, Sequence[int]], folder: Path) -> list[Path]:
    """Write tableN.md, .csv and .tex; return their paths.

    Args:
        tables: The tables.
        seeds: The finished seeds of each experiment.
        folder: The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        texts = {"md": markdown(table), "csv": as_csv(table, seeds), "tex": latex(table)}
        for kind, text in texts.items():
            path = folder / f"table{table.number}.{kind}"
            write_text(text, path)
            written.append(path)
    return written


def markdown(table: Table) -> str:
    """Format a table in Markdown; each cell has our figure, with the published one below it."""
    lines = [f"> **{escaped(table.stamp)}**", ""] if table.stamp else []
    lines += [f"**Table {table.number}.** {escaped(table.caption)}", ""]
    lines.append("| Experiment | " + " | ".join(map(escaped, table.headings)) + " |")
    lines.append("|---|" + "---|" * len(table.groups))
    for row in table.rows:
        name = escaped(row.title) + (f"<br>{escaped(row.remark)}" if row.remark else "")
        cells = (
            [escaped(row.reason), *[""] * (len(table.groups) - 1)]
            if row.reason
            else _cells(row, table.groups)
        )
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", *(f"{escaped(note)}\n" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def as_csv(table: Table, seeds: Mapping[str, Sequence[int]]) -> str:
    """Format a table in CSV: one line for each experiment and group, not rounded; a warning is a "#" line.

    Args:
        table: The table.
        seeds: The finished seeds of each experiment.
    """
    text = io.StringIO()
    if table.stamp:
        text.write(f"# {table.stamp}\n")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for record in records(table, seeds):
        writer.writerow(
            {name: harmless(value) if isinstance(value, str) else value for name, value in record.items()}
        )
    return text.getvalue()


def latex(table: Table) -> str:
    r"""Format a table in LaTeX, for \usepackage{booktabs}, with three lines for each experiment."""
    span = len(table.groups)
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering", r"\small"]
    stamp = rf"\textbf{{{_tex(table.stamp)}}} " if table.stamp else ""
    lines.append(rf"\caption{{{stamp}{_tex(table.caption)}. {' '.join(map(_tex, table.notes))}}}")
    lines += [rf"\label{{tab:radgaze-{table.number}}}", rf"\begin{{tabular}}{{l{'c' * span}}}", r"\toprule"]
    lines += [_line("Experiment", [*map(_tex, table.headings)]), r"\midrule"]
    for place, row in enumerate(table.rows):
        lines += [r"\addlinespace"] if place else []
        name = _tex(row.title)
        if row.reason:
            lines.append(_line(name, [_across(span, row.reason)]))
            continue
        cells = [row.cells[g] for g in table.groups]
        lines.append(_line(name, [_tex(cell_words(c)) for c in cells]))
        if row.paired:
            lines.append(_line(r"\quad Holm $p$", [_tex(p_words_of(c)) for c in cells]))
            if all(c.has_power for c in cells):
                lines.append(
                    _line(r"\quad detectable", [_tex(detectable_words(c.difference)) for c in cells])
                )
        elif all(c.is_comparable for c in cells):
            lines.append(_line(r"\quad published", [_tex(published_words(c)) for c in cells]))
            lines.append(_line(r"\quad difference", [_tex(difference_words(c)) for c in cells]))
        if row.remark:
            lines.append(_line("", [_across(span, row.remark)]))
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _cells(row: Row, groups: Sequence[str]) -> list[str]:
    words = [(cell_words(row.cells[g]), *beside_words(row.cells[g])) for g in groups]
    return ["<br>".join(map(escaped, lines)) for lines in words]


def _line(first: str, rest: Sequence[str]) -> str:
    return " & ".join([first, *rest]) + r" \\"


def _across(span: int, words: str) -> str:
    return rf"\multicolumn{{{span}}}{{p{{0.6\linewidth}}}}{{{_tex(words)}}}"


_TEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "−": "$-$",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "≤": r"$\le$",
    "≈": r"$\approx$",
    "†": r"\dag{}",
    "“": "``",
    "”": "''",
}


def _tex(text: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_TEX.get(sign, sign) for sign in shown(" ".join(text.split())))
