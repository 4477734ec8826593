"""A cohort refuses tables that are not what it says, or that contradict each other."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from pandera.errors import SchemaError

from radgaze.errors import UserError
from radgaze.evaluation.metrics import localisation
from radgaze.evaluation.results import MACRO
from radgaze.sources import external_sort as spool
from radgaze.sources.cohort import Cohort


@pytest.fixture
def cohort() -> Cohort:
    return Cohort(
        source="made",
        classes=("A", "B"),
        cases=pl.DataFrame(
            {
                "case_id": ["a", "b"],
                "patient": [0, 0],
                "split": ["test", "test"],
                "image": ["/a", "/b"],
                "label_A": [1, 0],
                "label_B": [0, 1],
            },
            schema_overrides={"patient": pl.Int32, "label_A": pl.Int8, "label_B": pl.Int8},
        ),
        readings=pl.DataFrame(
            {"reading_id": ["a/0"], "case_id": ["a"], "reader": [None], "recorded": [3], "duration": [1.0]},
            schema_overrides={"reader": pl.String, "recorded": pl.Int32},
        ),
        fixations=pl.LazyFrame(
            {
                "reading_id": ["a/0", "a/0"],
                "index": [0, 2],
                "x": [0.5, 1.5],
                "y": [2.5, 3.5],
                "onset": [0.0, 0.5],
                "duration": [0.25, 0.5],
            },
            schema_overrides={"index": pl.Int32},
        ),
        boxes=pl.DataFrame(
            {"case_id": ["b"], "label": ["x"], "x1": [0.0], "y1": [0.0], "x2": [1.0], "y2": [1.0]}
        ),
        rejections=pl.DataFrame(
            {"reason": ["no_gaze"], "case_id": ["c"], "reading_id": [None], "detail": ["none"]},
            schema_overrides={"reading_id": pl.String},
        ),
        parameters={},
    )


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("cases", pl.lit("a").alias("case_id")),
        ("cases", pl.lit("training").alias("split")),
        ("cases", pl.lit(2, pl.Int8).alias("label_A")),
        ("cases", pl.col("patient").cast(pl.Int64)),
        ("cases", pl.lit("10012345").alias("subject")),
        ("cases", pl.lit(None, pl.String).alias("image")),
        ("readings", pl.lit(-1.0).alias("duration")),
        ("readings", pl.lit(float("inf")).alias("duration")),
        ("fixations", pl.lit(float("nan")).alias("x")),
        ("fixations", pl.lit(-0.5).alias("y")),
        ("boxes", pl.lit(float("inf")).alias("x2")),
        ("rejections", pl.lit("lost").alias("reason")),
        ("rejections", pl.lit(None, pl.String).alias("detail")),
    ],
)
def test_a_table_that_is_not_as_described_is_refused(
    cohort: Cohort, table: str, change: pl.Expr | pl.Series
) -> None:
    with pytest.raises(SchemaError):
        replace(cohort, **{table: getattr(cohort, table).with_columns(change)})


@pytest.mark.parametrize("table", ["cases", "readings", "fixations", "boxes", "rejections"])
def test_a_table_without_one_of_its_columns_is_refused(cohort: Cohort, table: str) -> None:
    for column in getattr(cohort, table).lazy().collect_schema():
        with pytest.raises(SchemaError):
            replace(cohort, **{table: getattr(cohort, table).drop(column)})


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("readings", pl.lit("z").alias("case_id"), "readings have a case_id"),
        ("fixations", pl.lit("z").alias("reading_id"), "2 fixations have a reading_id"),
        ("fixations", pl.lit(0, pl.Int32).alias("index"), "1 fixations repeat"),
        ("boxes", pl.lit("z").alias("case_id"), "boxes have a case_id"),
        (
            "readings",
            pl.lit(2, pl.Int32).alias("recorded"),
            "1 fixations have an index past the number",
        ),
        ("cases", pl.Series("split", ["train", "test"]), "1 patients are in more than one split"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(
    cohort: Cohort, table: str, change: pl.Expr | pl.Series, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(cohort, **{table: getattr(cohort, table).with_columns(change)})


def test_a_fixation_that_is_repeated_far_from_the_first_is_found(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "ROWS", 1)
    with pytest.raises(ValueError, match="1 fixations repeat another's index in its reading"):
        replace(cohort, fixations=pl.concat([cohort.fixations, cohort.fixations.head(1)]))


@pytest.mark.parametrize("of_b", [[1, 1], [0, 0]])
def test_classes_that_exclude_each_other_are_one_to_a_case_and_others_any_number(
    cohort: Cohort, of_b: list[int]
) -> None:
    cases = cohort.cases.with_columns(label_B=pl.Series(of_b, dtype=pl.Int8))  # of A: 1 and 0
    with pytest.raises(ValueError, match="1 cases have not exactly one"):
        replace(cohort, cases=cases)
    assert replace(cohort, cases=cases, exclusive=False).cases.equals(cases)


def test_empty_tables_are_fine(cohort: Cohort) -> None:
    empty = replace(cohort, readings=cohort.readings.clear(), fixations=cohort.fixations.clear())
    assert empty.readings.is_empty()


@pytest.mark.parametrize("name", [MACRO, "multiclass", "validation", "nss", *localisation.METRICS])
def test_a_class_has_no_name_that_results_use_for_something_else(cohort: Cohort, name: str) -> None:
    cases = cohort.cases.rename({"label_A": f"label_{name}"})
    with pytest.raises(UserError, match=f"{name} cannot be the name of a class"):
        replace(cohort, cases=cases, classes=(name, "B"))
