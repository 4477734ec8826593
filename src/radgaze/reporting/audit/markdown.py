"""Markdown tables of an audit."""

from __future__ import annotations

from pathlib import Path

from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.results import AuditEstimate, AuditResults
from radgaze.evaluation.audit.verdicts import verdict_columns, verdict_rows
from radgaze.files import write_text
from radgaze.markdown import escaped, table_of
from radgaze.reporting.audit.rows import (
    PROBED,
    aspect_rows,
    criterion,
    heading,
    is_flagged,
    notes,
    shown,
    unmeasured,
)
from radgaze.reporting.statistics_words import cautions, marked
from radgaze.words import listed


def write_audit_markdown(results: AuditResults, folder: Path, name: str) -> str:
    """Write DIR/audit.md of the run of a name; return its text."""
    text = audit_markdown(results, name)
    write_text(text, folder / "audit.md")
    return text


def audit_markdown(results: AuditResults, name: str) -> str:
    """Return a table of verdicts and one for each aspect, with value [95% interval], of the run `name`."""
    parts = [
        f"# Audit of the maps of {escaped(name)}",
        f"{results.cases} {results.settings.split} cases of {results.patients} patients, "
        f"{results.probed} of them probed for {listed(PROBED)}. In brackets intervals "
        "over patients. ↑: higher is better, ↓: lower is better.",
        "## Verdicts",
        table_of(["method", *verdict_columns(results)], verdict_rows(results)),
        criterion(results),
        *([" ".join(said)] if (said := unmeasured(results)) else []),
    ]
    for aspect in ASPECTS.values():
        metrics, rows = shown(aspect).values(), aspect_rows(results, aspect)
        if not rows:
            continue
        cells = [
            [
                words + (" ✗" if is_flagged(results.methods[name]) else ""),
                *(_cell(entry, aspect.digits) for entry in entries),
            ]
            for words, name, entries in rows
        ]
        parts += [
            f"## {aspect.title}. {aspect.question}",
            table_of([aspect.title, *map(heading, metrics)], cells),
            "\n".join(f"- {metric.title}: {metric.words}" for metric in aspect.metrics.values()),
            *notes(results, aspect),
        ]
    return "\n\n".join([*parts, *cautions("".join(parts))]) + "\n"


def _cell(entry: AuditEstimate | None, digits: int) -> str:
    if entry is None or entry.value is None:
        return (entry and entry.undefined) or "–"
    text = f"{entry.value:.{digits}f}"
    if entry.low is not None and entry.high is not None:
        text += f" [{entry.low:.{digits}f}, {entry.high:.{digits}f}]" + marked(entry.low, entry.high)
    return text.replace("-", "−")
