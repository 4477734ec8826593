"""Section of the decisions: confusion matrix, and predictive values at a threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.operating_points import OperatingPoint, points_of_run
from radgaze.reporting.gallery import decisions
from radgaze.reporting.groups import of_two, shown_classes
from radgaze.reporting.sections.section import EvaluatedRun, Section, register
from radgaze.reporting.wording import listed, number


@dataclass(frozen=True)
class PointRow:
    """A row of the table of thresholds.

    Attributes:
        name: The class.
        threshold: Its threshold.
        prevalence: Share of the test cases that have the class, with the numbers.
        counts: True positives, false negatives, false positives and true negatives.
        entries: Sensitivity, specificity, PPV and NPV.
    """

    name: str
    threshold: str
    prevalence: str
    counts: tuple[int, int, int, int]
    entries: tuple[IntervalEstimate, ...]


@dataclass(frozen=True)
class Decisions:
    """Content of the section.

    Attributes:
        classes: The classes, the columns of the confusion matrix.
        matrix: The confusion matrix: true class, and number of cases by predicted class; empty for classes
            that are not exclusive.
        rows: The table of thresholds: a row per class.
        unchosen: Classes whose threshold the validation cases could not choose, in words; empty for none.
        of_two: Which of two classes is the positive one; empty for more classes.
    """

    classes: tuple[str, ...]
    matrix: tuple[tuple[str, tuple[int, ...]], ...]
    rows: tuple[PointRow, ...]
    unchosen: str
    of_two: str


@register("decisions", title="What it decides", order=21)
class DecisionsSection(Section):
    """The confusion matrix, and sensitivity, specificity, PPV and NPV at a threshold of each class."""

    def unsupported(self, evaluated: EvaluatedRun) -> str | None:
        return None if evaluated.test.height else ""

    def content(self, evaluated: EvaluatedRun) -> Decisions:
        run, results, test = evaluated.run, evaluated.results, evaluated.test
        shown = shown_classes(test, run.classes)
        points = points_of_run(evaluated.predictions, shown, results.settings)
        unchosen = [point.name for point in points if not point.chosen]
        return Decisions(
            classes=run.classes,
            matrix=confusion(test, run.classes) if results.exclusive else (),
            rows=tuple(map(_row, points)),
            unchosen=listed(unchosen),
            of_two=of_two(test, run.classes),
        )


def confusion(test: pl.DataFrame, classes: tuple[str, ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Count the cases of each true class by the most probable class.

    Args:
        test: Predictions of the test cases, of which each has exactly one class.
        classes: The classes.

    Returns:
        A row for each true class: its name, and the number of cases by predicted class.
    """
    place = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for truth, predicted in decisions(test, classes).select("truth", "predicted").iter_rows():
        counts[place[truth], place[predicted]] += 1
    return tuple((name, tuple(map(int, row))) for name, row in zip(classes, counts, strict=True))


def _row(point: OperatingPoint) -> PointRow:
    return PointRow(
        name=point.name,
        threshold=number(point.threshold),
        prevalence=f"{number(point.with_class / point.cases)} ({point.with_class:,} of {point.cases:,})",
        counts=(point.true_positive, point.false_negative, point.false_positive, point.true_negative),
        entries=(point.sensitivity, point.specificity, point.ppv, point.npv),
    )
