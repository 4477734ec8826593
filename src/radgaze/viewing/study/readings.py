"""The readings of a study as a table, and the measures of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from radgaze.viewing.study.record import Known, Recorder

SCHEMA: dict[str, pl.DataType] = {
    **{name: pl.String() for name in ("reader", "condition", "case_id", "truth", "answer", "model")},
    **{name: pl.Int64() for name in ("session", "place", "patient", "confidence", "views")},
    **{name: pl.Boolean() for name in ("practice", "over_time")},
    **{name: pl.Float64() for name in ("seconds", "hidden", "server_seconds", "opened", "answered")},
}


def readings(recorder: Recorder) -> pl.DataFrame:
    """Make a table with a row for each answer, practice included.

    Returns:
        Columns of `SCHEMA`: seconds is the time during which the image was visible, by the browser's clock,
        over all views of the page; hidden the time during which the page was not; server_seconds that from
        the first view to the answer, by the server's clock.
    """
    by_id = {each.case_id: each for each in recorder.cases()}
    views = {
        (row["reader"], row["session"], row["place"]): row
        for row in recorder.rows(
            "SELECT reader, session, place, MIN(opened) AS opened, COUNT(*) AS views FROM views "
            "GROUP BY reader, session, place"
        )
    }
    times = {
        (row["reader"], row["session"], row["place"]): row
        for row in recorder.rows(
            "SELECT reader, session, place, SUM(active) AS active, SUM(hidden) AS hidden FROM views JOIN "
            "(SELECT view, MAX(active) AS active, MAX(hidden) AS hidden FROM pieces GROUP BY view) "
            "USING (view) GROUP BY reader, session, place"
        )
    }
    rows = []
    for answer in recorder.answers():
        key, case = (answer.reader, answer.session, answer.place), by_id[answer.case_id]
        seen, timed = views.get(key), times.get(key)
        rows.append(
            {
                **{name: getattr(answer, name) for name in SCHEMA if hasattr(answer, name)},
                **{"truth": case.truth, "model": case.model, "patient": case.patient},
                "seconds": None if timed is None else timed["active"],
                "hidden": None if timed is None else timed["hidden"],
                "opened": None if seen is None else seen["opened"],
                "views": None if seen is None else seen["views"],
                "server_seconds": None if seen is None else answer.answered - seen["opened"],
            }
        )
    return pl.DataFrame(rows, schema=SCHEMA).select(list(SCHEMA))


@dataclass(frozen=True)
class Measure:
    """A figure of a reading.

    Attributes:
        name: Name in files.
        title: Title in tables.
        words: Explanation.
        digits: Decimal places.
    """

    name: str
    title: str
    words: str
    digits: int = 3


MEASURES = {
    each.name: each
    for each in (
        Measure("accuracy", "accuracy", "share of the readings whose answer is true"),
        Measure("sensitivity", "sensitivity", "share of the cases with disease of which the reader says so"),
        Measure(
            "specificity", "specificity", "share of the cases without disease of which the reader says so"
        ),
        Measure(
            "auc",
            "AUC",
            "AUC of disease, ordered by the answer and the confidence in it: from sure of its absence to "
            "sure of its presence",
        ),
        Measure(
            "time",
            "time",
            "seconds from the image's appearance to the answer, without those during which the page was "
            "hidden: the median, and the ratio of geometric means",
            digits=2,
        ),
        Measure(
            "agrees_wrong",
            "agreement, model wrong",
            "share of the cases on which the model is wrong, and the reader's answer is the model's: "
            "over-reliance, where an explanation raises it",
        ),
        Measure(
            "agrees_right",
            "agreement, model right",
            "share of the cases on which the model is right, and the reader's answer is the model's: low "
            "where readers rely on it too little",
        ),
    )
}
"""The figures, in the order of the tables."""


def measured(table: pl.DataFrame, normal: str | None) -> pl.DataFrame:
    """Add a column for each of `MEASURES` of single readings, null where it does not apply, and a score.

    Args:
        table: Table of `readings`.
        normal: The answer that means the absence of disease; None for none.

    Returns:
        The table with accuracy, sensitivity, specificity, time (the natural logarithm of seconds),
        agrees_wrong, agrees_right, and for the AUC diseased and score.
    """
    correct = pl.col("answer") == pl.col("truth")
    agrees, right = pl.col("answer") == pl.col("model"), pl.col("model") == pl.col("truth")
    seconds = pl.col("seconds")
    columns: Mapping[str, pl.Expr] = {
        "accuracy": correct,
        "time": pl.when(seconds > 0).then(seconds.log(math.e)),
        "agrees_wrong": pl.when(~right).then(agrees),
        "agrees_right": pl.when(right).then(agrees),
    }
    if normal is not None:
        says, has = pl.col("answer") != normal, pl.col("truth") != normal
        columns = {
            **columns,
            "sensitivity": pl.when(has).then(says),
            "specificity": pl.when(~has).then(~says),
            "diseased": has,
            "score": pl.when(says).then(pl.col("confidence")).otherwise(-pl.col("confidence")),
        }
    return table.with_columns(**{name: each.cast(pl.Float64) for name, each in columns.items()})


def model_alone(cases: Sequence[Known]) -> float | None:
    """Accuracy of the model on cases; None without cases."""
    return sum(each.model == each.truth for each in cases) / len(cases) if cases else None
