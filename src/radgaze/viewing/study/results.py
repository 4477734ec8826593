"""Results of a reader study: figures of each condition, and differences from the first one, with tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.statistics.auc_intervals import auc_interval, placed
from radgaze.evaluation.statistics.case_means import Mean, means
from radgaze.evaluation.statistics.delong import delong_test
from radgaze.evaluation.statistics.multi_reader import (
    ReaderMean,
    mean_over_readers,
    mixed_difference,
    mixed_mean,
    pseudovalues,
)
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.evaluation.statistics.resampling import RESAMPLES, PatientBootstrap, number
from radgaze.evaluation.statistics.wilson import wilson_interval
from radgaze.records import Record
from radgaze.viewing.study.design import Design
from radgaze.viewing.study.readings import MEASURES, measured, model_alone, readings
from radgaze.viewing.study.record import Recorder

Floats = NDArray[np.float64]
EVERYONE = ""
"""Name of the reader in figures over all readers."""


@dataclass(frozen=True)
class Figure(IntervalEstimate):
    """A figure of a condition.

    Attributes:
        measure: Name of the measure.
        condition: Name of the condition.
        reader: Code of the reader, or `EVERYONE`.
        readings: Number of readings.
    """

    measure: str = ""
    condition: str = ""
    reader: str = EVERYONE
    readings: int = 0


@dataclass(frozen=True)
class Contrast(IntervalEstimate):
    """The difference of a condition from one that stands before it in the design; of time, the ratio.

    Attributes:
        measure: Name of the measure.
        condition: Name of the condition.
        reference: Name of the condition that it is compared with.
        reader: Code of the reader, or `EVERYONE`.
        p: Two-sided p-value; None where there is none.
        p_holm: The same, adjusted by Holm over the contrasts of the primary measures of all readers; None for
            other measures and for one reader.
        readers: Number of readers.
        cases: Number of cases.
        method: "anova", "mixed", "paired" for one reader, or "" where there is no test.
    """

    measure: str = ""
    condition: str = ""
    reference: str = ""
    reader: str = EVERYONE
    p: float | None = None
    p_holm: float | None = None
    readers: int = 0
    cases: int = 0
    method: str = ""


@dataclass(frozen=True)
class StudyResults(Record):
    """Results of a reader study.

    Attributes:
        conditions: Names of the conditions; the first is the reference.
        readers: Codes of the readers who have answered.
        answered: Number of answers that count.
        planned: Number of answers that the design asks for.
        late: Number of answers after the time limit.
        reopened: Number of readings whose page was opened more than once.
        model_accuracy: Accuracy of the model on the cases; None where undefined.
        figures: Figures of each condition.
        contrasts: Differences between each two conditions.
    """

    conditions: tuple[str, ...]
    readers: tuple[str, ...]
    answered: int
    planned: int
    late: int
    reopened: int
    model_accuracy: float | None
    figures: tuple[Figure, ...]
    contrasts: tuple[Contrast, ...]

    def figure(self, measure: str, condition: str, reader: str = EVERYONE) -> Figure | None:
        """The figure of a condition; None where there is none."""
        keys = (measure, condition, reader)
        return next((f for f in self.figures if (f.measure, f.condition, f.reader) == keys), None)

    def contrast(
        self, measure: str, condition: str, reader: str = EVERYONE, reference: str | None = None
    ) -> Contrast | None:
        """The contrast of a condition with the reference, or another one; None where there is none."""
        keys = (measure, condition, reader, reference or self.conditions[0])
        for each in self.contrasts:
            if (each.measure, each.condition, each.reader, each.reference) == keys:
                return each
        return None

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each two conditions that are compared: the one that stands first in the design, and the other."""
        return list(combinations(self.conditions, 2))


def results(recorder: Recorder) -> StudyResults:
    """Compute the results of a study from its record, also of one that is not finished."""
    design = recorder.design()
    cases = [each for each in recorder.cases() if not each.practice]
    table = readings(recorder).filter(~pl.col("practice"))
    planned = len(cases) * len(design.readers) * design.sessions
    return replace(of_readings(table, design), planned=planned, model_accuracy=model_alone(cases))


def of_readings(table: pl.DataFrame, design: Design) -> StudyResults:
    """Compute the results of readings (`readings.readings`) without those for practice."""
    names = tuple(each.name for each in design.conditions)
    analysis = _Analysis(measured(table, design.normal), names)
    pairs = list(combinations(names, 2))
    contrasts = [analysis.contrast(measure, pair) for pair in pairs for measure in analysis.measures]
    adjusted = holm([each.p if each.measure in design.primary else None for each in contrasts])
    everyone = [replace(each, p_holm=p) for each, p in zip(contrasts, adjusted, strict=True)]
    readers = tuple(name for name in design.readers if name in set(table["reader"]))
    figures = [analysis.figure(measure, name) for measure in analysis.measures for name in names]
    for reader in readers:
        one = _OneReader(analysis.table.filter(pl.col("reader") == reader), reader)
        figures += [one.figure(measure, name) for measure in analysis.measures for name in names]
        everyone += [one.contrast(measure, pair) for measure in analysis.measures for pair in pairs]
    return StudyResults(
        conditions=names,
        readers=readers,
        answered=len(table),
        planned=len(table),
        late=int(table["over_time"].sum()),
        reopened=int((table["views"] > 1).sum()),
        model_accuracy=None,
        figures=tuple(figures),
        contrasts=tuple(everyone),
    )


@dataclass(frozen=True)
class _Analysis:
    """Readings of all readers; a patient counts once, with the mean over their cases.

    Attributes:
        table: Table of `readings.measured`.
        conditions: Names of the conditions.
    """

    table: pl.DataFrame
    conditions: tuple[str, ...]

    @cached_property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that the design has."""
        columns = {*self.table.columns, *(["auc"] if "score" in self.table.columns else [])}
        return tuple(name for name in MEASURES if name in columns)

    def figure(self, measure: str, condition: str) -> Figure:
        """The figure of a condition over all readers."""
        long = self._long(measure, (condition,))
        of_condition = self.table.filter(pl.col("condition") == condition)
        n = len(of_condition) if measure == "auc" else of_condition[measure].count()
        if measure == "time":
            median = of_condition["seconds"].median()
            value = float(median) if isinstance(median, (int, float)) else math.nan
            return Figure(number(value), measure=measure, condition=condition, readings=n)
        matrix = _complete(long, (condition,))
        if matrix is not None:
            mean = mean_over_readers(matrix[0])
        else:
            mean = mixed_mean(long["value"], long["reader"], long["patient"])
        low, high = np.clip(mean.interval, 0, 1)
        return Figure(
            *(number(mean.value), number(low), number(high)),
            measure=measure, condition=condition, readings=n,
        )  # fmt: skip

    def contrast(self, measure: str, pair: tuple[str, str]) -> Contrast:
        """The difference of the second of two conditions from the first over all readers."""
        reference, condition = pair
        long = self._long(measure, pair)
        matrix = _complete(long, pair)
        if matrix is not None:
            mean = mean_over_readers(matrix[1] - matrix[0])
        else:
            is_second = (long["condition"] == condition).cast(pl.Int64)
            mean = mixed_difference(long["value"], is_second, long["reader"], long["patient"])
        value, (low, high) = mean.value, mean.interval
        if measure == "time":
            value, low, high = (math.exp(each) for each in (value, low, high))
        return Contrast(
            *(number(value), number(low), number(high)),
            measure=measure, condition=condition, reference=reference, p=number(mean.p),
            readers=mean.readers, cases=mean.cases, method=mean.method if _is_tested(mean) else "",
        )  # fmt: skip

    def _long(self, measure: str, conditions: Sequence[str]) -> pl.DataFrame:
        """Columns reader, patient, condition and value, of readings for which the measure is defined."""
        table = self.table.filter(pl.col("condition").is_in(list(conditions)))
        if measure == "auc":
            table = _with_pseudovalues(table)
        defined = table.filter(pl.col(measure).is_not_null() & pl.col(measure).is_finite())
        return (
            defined.group_by("reader", "patient", "condition", maintain_order=True)
            .agg(value=pl.col(measure).mean())
            .sort("reader", "patient", "condition")
        )


def _is_tested(mean: ReaderMean) -> bool:
    return math.isfinite(mean.p)


def _with_pseudovalues(table: pl.DataFrame) -> pl.DataFrame:
    """Add the pseudovalues of the AUC of each reader in each condition."""
    parts = []
    for _, part in table.group_by("reader", "condition", maintain_order=True):
        values = pseudovalues(part["diseased"].to_numpy(), part["score"].to_numpy())[0]
        parts.append(part.with_columns(auc=pl.Series(values)))
    return pl.concat(parts) if parts else table.with_columns(auc=pl.lit(None, pl.Float64))


def _complete(long: pl.DataFrame, conditions: Sequence[str]) -> Floats | None:
    """Values (conditions, R, C) where each reader read each case in each condition; None elsewhere."""
    R, C = long["reader"].n_unique(), long["patient"].n_unique()
    if len(long) != len(conditions) * R * C or not R:
        return None
    order = {name: place for place, name in enumerate(conditions)}
    ranked = long.with_columns(rank=pl.col("condition").replace_strict(order, return_dtype=pl.Int64))
    values = ranked.sort("rank", "reader", "patient")["value"].to_numpy()
    return np.asarray(values, dtype=np.float64).reshape(len(conditions), R, C)


@dataclass(frozen=True)
class _OneReader:
    """Readings of one reader, which stand for other cases and for no other reader.

    Attributes:
        table: Table of `readings.measured` of the reader.
        reader: Code of the reader.
    """

    table: pl.DataFrame
    reader: str

    def figure(self, measure: str, condition: str) -> Figure:
        """The figure of a condition: Wilson's interval of a share, that of `auc_intervals` of an AUC.

        A patient counts once in both, as if several cases told no more than one.
        """
        part = self.table.filter(pl.col("condition") == condition)
        if measure == "auc":
            one = placed(*(part[name].to_numpy() for name in ("diseased", "score", "patient")))
            value, (low, high), n = one.value, auc_interval([one]), len(part)
        elif measure == "time":
            seconds = part["seconds"].drop_nulls().to_numpy()
            value, low, high, n = _median(seconds), math.nan, math.nan, len(seconds)
        else:
            given = part.drop_nulls(measure)
            values, n, patients = given[measure].to_numpy(), len(given), given["patient"].n_unique()
            value = float(values.mean()) if n else math.nan
            low, high = (
                (float(end[0]) for end in wilson_interval(np.array([value]), np.array([patients])))
                if n
                else (math.nan, math.nan)
            )
        return Figure(
            *(number(value), number(low), number(high)),
            measure=measure, condition=condition, reader=self.reader, readings=n,
        )  # fmt: skip

    def contrast(self, measure: str, pair: tuple[str, str]) -> Contrast:
        """The difference of the second condition, paired by case; none where cases were read once."""
        reference, condition = pair
        contrast = partial(
            Contrast,
            measure=measure,
            condition=condition,
            reference=reference,
            reader=self.reader,
            readers=1,
        )
        columns = ["case_id", "patient", *(("diseased", "score") if measure == "auc" else (measure,))]
        first, second = (self.table.filter(pl.col("condition") == name).select(columns) for name in pair)
        both = first.join(second, on=["case_id", "patient"], suffix="_second", maintain_order="left")
        both = both.drop_nulls()
        if both.is_empty():
            return contrast(None)
        if measure == "auc":
            change = delong_test(both["diseased"], both["score_second"], both["score"], both["patient"])
            value, low, high, p = change.value, change.low, change.high, change.p
        else:
            mean = _paired(both[f"{measure}_second"] - both[measure], both["patient"])
            value, (low, high), p = mean.value, mean.interval, mean.p
        if measure == "time":
            value, low, high = (math.exp(each) for each in (value, low, high))
        method = "paired" if math.isfinite(p) else ""
        ends = (number(value), number(low), number(high))
        return contrast(*ends, p=number(p), cases=len(both), method=method)


def _paired(change: pl.Series, patients: pl.Series) -> Mean:
    """The mean of a change over cases, with an interval over patients."""
    of_cases = patients.to_numpy()
    resampling = PatientBootstrap(of_cases, np.zeros(len(of_cases), np.int64), RESAMPLES)
    return means({"change": change.to_numpy()}, of_cases, resampling)["change"]


def _median(seconds: Floats) -> float:
    return float(np.median(seconds)) if len(seconds) else math.nan
