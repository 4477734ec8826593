"""Markdown tables of an audit."""

from __future__ import annotations

from pathlib import Path

from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults
from radgaze.files import write_text
from radgaze.markdown import table_of
from radgaze.reporting.audit.rows import (
    PROBED,
    VERDICT_COLUMNS,
    aspect_rows,
    criterion,
    heading,
    is_flagged,
    verdict_rows,
)
from radgaze.reporting.statistics_words import cautions, marked
from radgaze.words import listed


def write_audit_markdown(results: AuditResults, folder: Path) -> str:
    """Write DIR/audit.md; return its text."""
    text = audit_markdown(results)
    write_text(text, folder / "audit.md")
    return text


def audit_markdown(results: AuditResults) -> str:
    """Return a table of verdicts and one for each aspect, with value [95% interval]."""
    parts = [
        f"# Audit of the maps of {results.experiment}",
        f"{results.cases} {results.settings.split} cases of {results.patients} patients, "
        f"{results.probed} of them probed for {listed(PROBED)}. In brackets intervals "
        "over patients. ↑: higher is better, ↓: lower is better.",
        "## Verdicts",
        table_of(["method", *VERDICT_COLUMNS], verdict_rows(results)),
        criterion(results),
    ]
    for aspect in ASPECTS.values():
        metrics, rows = aspect.metrics.values(), aspect_rows(results, aspect)
        if not rows:
            continue
        cells = [
            [words + (" ✗" if is_flagged(results.methods[name]) else ""), *map(_cell, entries)]
            for words, name, entries in rows
        ]
        parts += [
            f"## {aspect.title}. {aspect.question}",
            table_of([aspect.title, *map(heading, metrics)], cells),
            "\n".join(f"- {metric.title}: {metric.words}" for metric in metrics),
        ]
    return "\n\n".join([*parts, *cautions("".join(parts))]) + "\n"


def _cell(entry: AuditEstimate | None) -> str:
    if entry is None or entry.value is None:
        return "–"
    text = f"{entry.value:.2f}"
    if entry.low is not None and entry.high is not None:
        text += f" [{entry.low:.2f}, {entry.high:.2f}]" + marked(entry.low, entry.high)
    return text.replace("-", "−")
