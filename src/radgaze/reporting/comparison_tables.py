"""DIR/compare.md: a comparison of runs as Markdown tables."""

from __future__ import annotations

from pathlib import Path

from radgaze.evaluation import baselines
from radgaze.evaluation.comparison import Comparison
from radgaze.evaluation.comparison_rows import EstimateRow, PairedRow
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics import classification, reliance
from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.metrics.metric import Metric
from radgaze.evaluation.paired import CLASS_METRICS
from radgaze.files import write_text
from radgaze.markdown import escaped, table_of
from radgaze.reporting.control_words import control_sentences
from radgaze.reporting.statistics_words import (
    POWER_HEADING,
    cautions,
    in_words,
    legend,
    marked,
    p_words,
    verdict_words,
)

MAPS = {
    "heatmap": "heatmap",
    "heatmap_raw": "heatmap, not smoothed",
    "grad_cam": "Grad-CAM",
    "mask": "mask",
    **{name: kind.label for name, kind in baselines.evaluated().items()},
}
FLOORS = tuple(baselines.evaluated())
MOST_COLUMNS = 5
"""Maximum number of columns of figures, so that a row fits a line of a terminal."""


def comparison_markdown(comparison: Comparison) -> str:
    """Return the tables of estimates, as value [95% interval], and of paired differences, and the notes."""
    parts = [
        f"# Comparison of {', '.join(map(escaped, comparison.names))}",
        f"{comparison.cases} test cases of {comparison.patients} patients; 95% intervals of the patient "
        "bootstrap, of a run's AUC by DeLong's errors over patients. ↓: lower is better.",
    ]
    parts += [escaped(words)] if (words := compared_classes(comparison)) else []
    for metric in CLASS_METRICS:
        heading = _heading(metric)
        parts += [f"## {heading[0].upper()}{heading[1:]}", _class_table(comparison, metric)]
    if comparison.table["map"].is_not_null().any():
        parts += ["## Agreement with gaze", _agreement_table(comparison)]
    if table := _reliance_table(comparison):
        parts += ["## Reliance on confounders", table]
    differences = [row for row in comparison.differences() if is_shown(row, comparison)]
    reference = escaped(comparison.reference) if differences else ""
    parts += [f"## Paired differences to {reference}", _paired_table(differences)]
    if sentences := control_sentences(comparison):
        parts += ["## Controls of gaze", "\n".join(f"- {escaped(each)}" for each in sentences)]
    macro = comparison.differences(metric="auc", group=comparison.main)
    parts += [legend(macro[0].power)] if macro else []
    return "\n\n".join([*parts, *map(escaped, [*comparison.notes, *cautions("".join(parts))])]) + "\n"


def write_markdown(comparison: Comparison, out: Path) -> Path:
    """Write compare.md into a folder; return its path."""
    write_text(comparison_markdown(comparison), out / "compare.md")
    return out / "compare.md"


def is_shown(row: PairedRow, comparison: Comparison) -> bool:
    """Whether a difference is told: not one of a class whose figures are those of the other."""
    return row.metric not in classification.METRICS or row.group in comparison.groups


def compared_classes(comparison: Comparison) -> str:
    """Say which of two classes is compared, as a sentence; empty for more classes."""
    if comparison.positive is None:
        return ""
    other = next(name for name in comparison.classes if name != comparison.positive)
    return (
        f"Of the two classes, {comparison.positive} is the positive one, against {other}; the AUC of {other} "
        "and the mean over both are the same."
    )


def p_value(row: PairedRow, column: str) -> str:
    """Format a p-value of a paired difference; a dash where there are too few patients for a test.

    Args:
        row: The row.
        column: Name of the field.
    """
    if row.estimate.lacking:
        return p_words(None)
    return p_words(getattr(row, column), getattr(row, f"{column}_is_bound", False))


def _class_table(comparison: Comparison, metric: str) -> str:
    """Table with a row for each run or, where there are many classes, a row for each class."""
    groups, runs = comparison.groups, comparison.names
    cells = {(row.run, row.group): _estimate(row) for row in comparison.estimates(metric=metric)}
    if len(groups) > max(MOST_COLUMNS, len(runs)):
        rows = [[escaped(group), *(cells.get((run, group), "–") for run in runs)] for group in groups]
        return table_of(["class", *map(escaped, runs)], rows)
    rows = [[escaped(run), *(cells.get((run, group), "–") for group in groups)] for run in runs]
    return table_of(["run", *map(escaped, groups)], rows)


def _agreement_table(comparison: Comparison) -> str:
    rows = []
    for kind, label in MAPS.items():
        is_baseline = kind in FLOORS
        # Baseline maps are the same for all runs, and have one row.
        for run in comparison.names[:1] if is_baseline else comparison.names:
            cells = {row.metric: _estimate(row) for row in comparison.estimates(run=run, map=kind)}
            if cells:
                name = "–" if is_baseline else escaped(run)
                rows.append([name, label, *(cells.get(metric, "–") for metric in METRICS)])
    return table_of(["run", "map", *map(_heading, METRICS)], rows)


def _reliance_table(comparison: Comparison) -> str:
    """Table with a row for each confounder and run; empty where reliance is not compared."""
    metrics = reliance.METRICS
    estimates = {(r.group, r.run, r.metric): r for r in comparison.estimates() if r.metric in metrics}
    rows = [
        [escaped(str(group)), escaped(run), *(_estimate(estimates[group, run, metric]) for metric in metrics)]
        for group in dict.fromkeys(group for group, *_ in estimates)
        for run in comparison.names
    ]
    return table_of(["confounder", "run", *map(_heading, metrics)], rows) if rows else ""


def _paired_table(differences: list[PairedRow]) -> str:
    several = len({row.run for row in differences}) > 1
    columns = ["p_bootstrap", "p_delong"] + (["p_bootstrap_holm", "p_delong_holm"] if several else [])
    header = ["run", "figure", "difference [95%]", "verdict", "p (bootstrap)", "p (DeLong)"]
    header += ["p (bootstrap, Holm)", "p (DeLong, Holm)"] if several else []
    rows = [
        [
            escaped(row.run),
            f"{_heading(row.metric)} {escaped(_subject(row))}",
            _with_interval(row.estimate, signed=True),
            verdict_words(row.estimate, higher_is_better=row.higher_is_better),
            *(p_value(row, column) for column in columns),
            in_words(row.power),
        ]
        for row in differences
    ]
    return table_of([*header, POWER_HEADING], rows)


def _subject(row: PairedRow) -> str:
    return f"of {MAPS[row.map]}" if row.map else row.group or ""


def _estimate(row: EstimateRow) -> str:
    return _with_interval(row.estimate)


def _with_interval(estimate: IntervalEstimate, *, signed: bool = False) -> str:
    if estimate.value is None:
        return "undefined"
    text = f"{estimate.value:+.3f}" if signed else f"{estimate.value:.3f}"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{estimate.low:.3f}, {estimate.high:.3f}]" + marked(estimate.low, estimate.high)
    return text.replace("-", "−")


def _heading(metric: str) -> str:
    described: dict[str, Metric] = {**METRICS, **classification.METRICS, **reliance.METRICS}
    return described[metric].heading
