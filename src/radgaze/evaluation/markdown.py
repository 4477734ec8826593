"""A comparison as Markdown tables."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from radgaze.console import shown
from radgaze.evaluation import baselines
from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.statistics.evidence import Evidence, cautions, marked, p_words
from radgaze.evaluation.statistics.power_words import HEADING, in_words, legend
from radgaze.evaluation.statistics.verdict import verdict_words

NAMES = {
    "auc": "AUC",
    "average_precision": "average precision",
    "brier": "Brier score ↓",
    **{name: metric.heading for name, metric in METRICS.items()},
}
MAPS = {
    "heatmap": "heatmap",
    "heatmap_raw": "heatmap, not smoothed",
    "grad_cam": "Grad-CAM",
    "mask": "mask",
    **{name: kind.label for name, kind in baselines.evaluated().items()},
}
FLOORS = tuple(baselines.evaluated())
MANY = 5
"""Columns of figures that a line of a terminal holds at most."""


def comparison_markdown(
    table: pl.DataFrame,
    paired: pl.DataFrame,
    classes: Sequence[str],
    cases: int,
    patients: int,
    notes: Sequence[str],
) -> str:
    """The tables of a `Comparison`, value [95% interval], and its notes."""
    runs = table["run"].unique(maintain_order=True).to_list()
    groups = ("macro", *classes)
    parts = [
        f"# Comparison of {', '.join(map(escaped, runs))}",
        f"{cases} test cases of {patients} patients; 95% intervals of the patient bootstrap, of a run's AUC "
        "by DeLong's errors over patients. "
        "↓: lower is better.",
    ]
    for metric in ("auc", "average_precision", "brier"):
        own = table.filter(pl.col("metric") == metric)
        rows = [[escaped(run), *(_entry(own, run=run, group=g) for g in groups)] for run in runs]
        if len(groups) > max(MANY, len(runs)):  # a row for each class: a line stays readable
            rows = [[escaped(group), *(row[place] for row in rows)] for place, group in enumerate(groups, 1)]
            parts += [f"## {_title(metric)}", table_of(["class", *map(escaped, runs)], rows)]
        else:
            parts += [f"## {_title(metric)}", table_of(["run", *map(escaped, groups)], rows)]
    if table["map"].is_not_null().any():
        parts += ["## Agreement with gaze", _agreement(table, runs)]
    of = paired["reference"][0] if paired.height else ""
    parts += [f"## Paired differences to {escaped(of)}", _paired(paired)]
    macro = paired.filter(metric="auc", group="macro")
    parts += [legend(macro.row(0, named=True))] if macro.height else []
    return "\n\n".join([*parts, *map(escaped, [*notes, *cautions("".join(parts))])]) + "\n"


def _agreement(table: pl.DataFrame, runs: Sequence[str]) -> str:
    rows = []
    for kind, label in MAPS.items():
        # The floors know nothing of the run: one line is enough.
        for run in runs[:1] if kind in FLOORS else runs:
            own = table.filter((pl.col("map") == kind) & (pl.col("run") == run))
            if own.height:
                name = "–" if kind in FLOORS else escaped(run)
                rows.append([name, label, *(_entry(own, metric=metric) for metric in METRICS)])
    return table_of(["run", "map", *(NAMES[m] for m in METRICS)], rows)


def _paired(paired: pl.DataFrame) -> str:
    several = paired["run"].n_unique() > 1
    header = ["run", "figure", "difference [95%]", "p (bootstrap)", "p (DeLong)"]
    header += ["p (bootstrap, Holm)", "p (DeLong, Holm)"] if several else []
    header.insert(3, "verdict")
    header.append(HEADING)
    rows = []
    for row in paired.iter_rows(named=True):
        what = f"{NAMES[row['metric']]} {escaped(row['group'] or 'of ' + MAPS[row['map']])}"
        columns = ("p_bootstrap", "p_delong") + (("p_bootstrap_holm", "p_delong_holm") if several else ())
        rows.append(
            [
                escaped(row["run"]),
                what,
                _with_interval(row["difference"], row, signed=True),
                verdict_words(row, higher_is_better=row["higher_is_better"]),
                *(p_of(row, c) for c in columns),
                in_words(row),
            ]
        )
    return table_of(header, rows)


def _entry(table: pl.DataFrame, **where: str) -> str:
    rows = table.filter(**where)
    return _with_interval(rows["value"][0], rows.row(0, named=True)) if rows.height else "–"


def _with_interval(value: float | None, row: dict[str, Any], *, signed: bool = False) -> str:
    if value is None:
        return "undefined"
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    if row["low"] is not None and row["high"] is not None:
        text += f" [{row['low']:.3f}, {row['high']:.3f}]"
        text += marked(row["low"], row["high"])
    return text.replace("-", "−")


def p_of(row: Mapping[str, Any], column: str) -> str:
    """A p-value of a row of `Comparison.paired`; a dash where too few patients were tested for one."""
    evidence = Evidence.of(row)
    if evidence is not None and evidence.lacking:
        return p_words(None)
    return p_words(row[column], row.get(f"{column}_is_bound"))


def _title(metric: str) -> str:
    return NAMES[metric][0].upper() + NAMES[metric][1:]


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of cells that are Markdown: names of runs, classes and cases go through `escaped`."""
    lines = [header, ["---"] * len(header), *rows]
    bar = re.compile(r"(?<!\\)\|")
    return "\n".join(
        "| " + " | ".join(bar.sub(r"\|", shown(" ".join(cell.split()))) for cell in line) + " |"
        for line in lines
    )


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line and within a table's cell too."""
    flat = html.escape(shown(" ".join(text.split())), quote=False)
    # An underscore within a word, as of set3_guided, is no mark of emphasis.
    return re.sub(r"([\\`*\[\]|~#]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", flat)
