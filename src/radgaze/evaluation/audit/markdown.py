"""An audit as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.rows import (
    PROBED,
    VERDICT_COLUMNS,
    aspect_rows,
    criterion,
    heading,
    unchanged,
    verdict_rows,
)
from radgaze.markdown import table_of
from radgaze.reporting.statistics_words import cautions, marked
from radgaze.words import listed


def audit_markdown(summary: Mapping[str, Any]) -> str:
    """A table of verdicts and one per aspect, value [95% interval]."""
    parts = [
        f"# Audit of the maps of {summary['experiment']}",
        f"{summary['cases']} {summary['settings']['split']} cases of {summary['patients']} patients, "
        f"{summary['probed']} of them probed for {listed(PROBED)}. In brackets intervals "
        "over patients. ↑: higher is better, ↓: lower is better.",
        "## Verdicts",
        table_of(["method", *VERDICT_COLUMNS], verdict_rows(summary)),
        criterion(summary),
    ]
    for aspect in ASPECTS.values():
        metrics, rows = aspect.metrics.values(), aspect_rows(summary, aspect)
        if rows:
            parts += [
                f"## {aspect.title}. {aspect.question}",
                table_of(
                    [aspect.title, *(heading(metric) for metric in metrics)],
                    [
                        [words + (" ✗" if unchanged(summary, name) else ""), *map(_cell, entries)]
                        for words, name, entries in rows
                    ],
                ),
                "\n".join(f"- {metric.title}: {metric.words}" for metric in metrics),
            ]
    return "\n\n".join([*parts, *cautions("".join(parts))]) + "\n"


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    text = f"{entry['value']:.2f}"
    if entry["low"] is not None and entry["high"] is not None:
        text += f" [{entry['low']:.2f}, {entry['high']:.2f}]" + marked(entry["low"], entry["high"])
    return text.replace("-", "−")
