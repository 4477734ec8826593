"""Section of discrimination and calibration: tables, and the curves."""

from __future__ import annotations

import math
from dataclasses import dataclass

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import MACRO, EvaluationResults, SplitResults
from radgaze.reporting import curves
from radgaze.reporting.groups import of_two, shown_classes, shown_groups
from radgaze.reporting.page import Picture
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.wording import bounds, estimate, listed


@dataclass(frozen=True)
class IntervalKind:
    """A kind of interval.

    Attributes:
        name: Name in the heading of a column.
        words: Explanation.
    """

    name: str
    words: str


BOOTSTRAP = IntervalKind(
    "95% bootstrap",
    "patients are resampled with replacement, for AUC, average precision and sensitivity within each class, "
    "and the interval spans the middle 95% of the results. It says how much the figure would vary with "
    "another sample of as many patients.",
)
UNSTRATIFIED = IntervalKind(
    BOOTSTRAP.name,
    BOOTSTRAP.words.replace(", for AUC, average precision and sensitivity within each class,", ""),
)
DELONG = IntervalKind(
    "95% DeLong",
    "DeLong's standard error, summed over patients, on the logit scale, with the quantile of Student's t. "
    "Where a class is separated without error, or fewer than six patients have it, these cases do not "
    "determine the standard error, and Newcombe's interval is used instead. On 84 cases and more it covers "
    ".92 to .99 in simulations, least where fewer than 20 patients, some of several cases, have the class.",
)
SEED_PAPER = IntervalKind(
    "95% as in the paper",
    "the 2.5th and 97.5th percentile over 30 resamples of 55 to 60 test cases, as by Watanabe et al. (2022). "
    "It is for comparison with their table; it ignores patients, and its width says little about this set.",
)


@dataclass(frozen=True)
class Row:
    """A row of a table of metrics.

    Attributes:
        name: Label of the row.
        entries: Figures, by column.
        cases: Number of cases, in the table of AUCs.
        is_total: Whether it is the mean over the classes.
    """

    name: str
    entries: tuple[IntervalEstimate | None, ...]
    cases: int = 0
    is_total: bool = False


@dataclass(frozen=True)
class Discrimination:
    """Content of the section.

    Attributes:
        columns: Metric and kind of interval of each column of the table of AUCs.
        rows: The table of AUCs: a row per class, and the macro mean.
        axis_start: Left end of the axis of the bars in it.
        intervals: The kinds of intervals, explained below it.
        groups: Columns of the second table: the classes and the macro mean.
        scalars: The second table: a row per metric.
        of_all_classes: Name and value of metrics over all classes.
        curves: Figures of the curves.
        has_history: Whether there is a history of the training.
        of_two: Which of two classes is the positive one; empty for more classes.
        has_chance: Whether the second table has the calibration error of calibrated probabilities.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    axis_start: float
    intervals: tuple[IntervalKind, ...]
    groups: tuple[str, ...]
    scalars: tuple[Row, ...]
    of_all_classes: tuple[tuple[str, str], ...]
    curves: tuple[Picture, ...]
    has_history: bool
    of_two: str
    has_chance: bool


@register("discrimination", title="How well it distinguishes the classes", order=20)
class DiscriminationSection(Section):
    """The AUC of each class with its intervals, the other metrics of predictions, and the curves."""

    def content(self, evaluated: EvaluatedRun) -> Discrimination:
        results, test = evaluated.results, evaluated.results.test
        groups = shown_groups(evaluated.test, evaluated.run.classes)
        of_auc, resampled = _interval_kinds(results)
        rows = tuple(_auc_row(evaluated, group) for group in groups)
        lows = [low for row in rows for entry in row.entries[:2] if (low := bounds(entry)[1]) is not None]
        pictures = _curves(evaluated)
        return Discrimination(
            columns=(
                ("AUC", of_auc.name),
                ("AUC", SEED_PAPER.name),
                ("Average precision", resampled.name),
            ),
            rows=rows,
            axis_start=min(0.4, math.floor(10 * min(lows, default=0.4)) / 10),
            intervals=tuple(dict.fromkeys([of_auc, SEED_PAPER, resampled])),
            groups=tuple("Macro mean" if group == MACRO else group for group in groups),
            of_two=of_two(evaluated.test, evaluated.run.classes),
            has_chance=bool(test.calibration_error_if_calibrated),
            scalars=_scalars(test, groups),
            of_all_classes=_of_all_classes(test),
            curves=pictures,
            has_history=not evaluated.run.history().is_empty(),
        )


def _interval_kinds(results: EvaluationResults) -> tuple[IntervalKind, IntervalKind]:
    """The kinds of the intervals of AUCs, and of all other figures."""
    kind = results.settings.interval
    resampled = BOOTSTRAP if results.exclusive else UNSTRATIFIED
    if kind == "paper":
        resampled = SEED_PAPER
    return (DELONG if kind == "delong" else resampled), resampled


def _auc_row(evaluated: EvaluatedRun, group: str) -> Row:
    test, table = evaluated.results.test, evaluated.test
    entries = (test.auc.get(group), test.auc_paper.get(group), test.average_precision.get(group))
    if group == MACRO:
        return Row("Macro mean", entries, table.height, is_total=True)
    return Row(group, entries, int(table[f"label_{group}"].sum()))


def _scalars(test: SplitResults, groups: tuple[str, ...]) -> tuple[Row, ...]:
    metrics = {
        f"Sensitivity at {float(level):.0%} specificity ↑": by_group
        for level, by_group in test.sensitivity_at_specificity.items()
    }
    metrics |= {
        "Brier score ↓": test.brier,
        "Calibration error ↓": test.calibration_error,
        "Calibration error by chance": test.calibration_error_if_calibrated,
    }
    return tuple(
        Row(name, tuple(by_group.get(group) for group in groups))
        for name, by_group in metrics.items()
        if by_group
    )


def _of_all_classes(test: SplitResults) -> tuple[tuple[str, str], ...]:
    metrics = {
        "accuracy": test.accuracy,
        "every class of a case correct, at a probability of 0.5,": test.exact_match,
        "Brier score over all classes (0 to 2)": test.brier.get("multiclass"),
    }
    return tuple((name, estimate(entry)) for name, entry in metrics.items() if bounds(entry)[0] is not None)


def _curves(evaluated: EvaluatedRun) -> tuple[Picture, ...]:
    """The figures of the curves, written to RUN/figures."""
    table, test = evaluated.test, evaluated.results.test
    classes = shown_classes(table, evaluated.run.classes)
    names, history = listed(classes), evaluated.run.history()
    pictures = [
        evaluated.picture(
            curves.roc(table, classes, test.auc),
            "roc",
            f"One-vs-rest ROC curves of {names}; the AUC of each is in the table above",
            "Dots: operating points at 90% specificity.",
        ),
        evaluated.picture(
            curves.precision_recall(table, classes, test.average_precision),
            "precision_recall",
            f"Precision–recall curves of {names}; the average precision of each is in the table above",
            "Precision depends on the prevalence of a class among the test cases.",
        ),
        evaluated.picture(
            curves.calibration(table, classes, test.calibration_error),
            "calibration",
            f"Reliability diagram of {names}: observed share against predicted probability",
            "The dotted line is perfect calibration. Five bins of equal numbers of cases, 95% Wilson "
            "intervals; the error in the legend is over ten bins.",
        ),
    ]
    if not history.is_empty():
        pictures.append(
            evaluated.picture(
                curves.training(history),
                "training",
                "Losses and AUC over the epochs of the training",
                _selection(evaluated),
            )
        )
    return tuple(pictures)


def _selection(evaluated: EvaluatedRun) -> str:
    """State how the epoch of the weights was selected."""
    if evaluated.run.config.selection == "test":
        return "The weights are those of the epoch with the best AUC on the test cases."
    return (
        "The weights are those of the epoch with the best validation AUC; no test case was used to select it."
    )
