"""Which cases a report shows: chosen by a rule, never by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

SELECTION = (
    "The cases are chosen by a rule, not by hand: of the correct ones of each class those with the highest, the middle "
    "and the lowest probability of the true class; of the wrong ones those with the highest probability of a wrong class."
)


@dataclass(frozen=True)
class Choice:
    """Case ids of one class: correctly and wrongly classified, and how many of each there were to choose from."""

    correct: tuple[str, ...]
    wrong: tuple[str, ...]
    all_correct: int
    all_wrong: int


def decisions(predictions: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """The table with `truth` and `predicted` (class names), `probability` (of the predicted class) and
    `probability_of_truth` added."""
    probabilities = [pl.col(f"probability_{name}").cast(pl.Float64) for name in classes]
    labels = [pl.col(f"label_{name}").cast(pl.Int64) for name in classes]
    names = pl.Series("class", list(classes), dtype=pl.String)
    return (
        predictions.with_columns(
            _scores=pl.concat_list(probabilities),
            _truth=pl.concat_list(labels).list.arg_max(),
        )
        .with_columns(
            truth=pl.col("_truth").map_elements(lambda i: names[i], return_dtype=pl.String),
            predicted=pl.col("_scores")
            .list.arg_max()
            .map_elements(lambda i: names[i], return_dtype=pl.String),
            probability=pl.col("_scores").list.max(),
            probability_of_truth=pl.col("_scores").list.get(pl.col("_truth")),
        )
        .drop("_scores", "_truth")
    )


def choose(predictions: pl.DataFrame, classes: Sequence[str], each: int = 3) -> dict[str, Choice]:
    """For every class up to `each` correct and `each` wrong cases, by the rule that SELECTION states."""
    table = decisions(predictions, classes)
    choices = {}
    for name in classes:
        own = table.filter(pl.col("truth") == name)
        correct = own.filter(pl.col("predicted") == name).sort(
            "probability_of_truth", "case_id", descending=[True, False]
        )
        wrong = own.filter(pl.col("predicted") != name).sort(
            "probability", "case_id", descending=[True, False]
        )
        choices[name] = Choice(
            tuple(_spread(correct["case_id"].to_list(), each)),
            tuple(wrong["case_id"].head(each).to_list()),
            correct.height,
            wrong.height,
        )
    return choices


def changed(
    before: pl.DataFrame, after: pl.DataFrame, classes: Sequence[str], each: int = 1
) -> dict[str, tuple[str, ...]]:
    """Per class the case whose true class gained most from one run to another, the middle one, and the greatest loss.

    Args:
        before, after: The two runs' predictions; cases that only one of them has are left out.
        classes: The classes.
        each: How many of the greatest gains and losses.
    """
    both = (
        decisions(before, classes)
        .select("case_id", "truth", "probability_of_truth")
        .join(
            decisions(after, classes).select("case_id", after="probability_of_truth"),
            on="case_id",
            how="inner",
        )
        .with_columns(gain=pl.col("after") - pl.col("probability_of_truth"))
        .sort("gain", "case_id", descending=[True, False])
    )
    chosen = {}
    for name in classes:
        ids = both.filter(pl.col("truth") == name)["case_id"].to_list()
        chosen[name] = tuple(
            dict.fromkeys([*ids[:each], *ids[len(ids) // 2 :][:1], *ids[max(0, len(ids) - each) :]])
        )
    return chosen


def _spread(ids: list[str], n: int) -> list[str]:
    """n of the ids, evenly from the first to the last."""
    if len(ids) <= n or n < 2:
        return ids[:n]
    return [ids[round(place * (len(ids) - 1) / (n - 1))] for place in range(n)]
