"""Reliance on confounders: predictions of twins against those of the cases that they are twins of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, groupby
from operator import itemgetter
from typing import TypeVar

import numpy as np
import polars as pl

from radgaze.devices import usable_device
from radgaze.evaluation.metrics.reliance import METRICS, pairs
from radgaze.evaluation.results import Reliance
from radgaze.evaluation.statistics.case_means import means
from radgaze.evaluation.statistics.resampling import Resampling
from radgaze.runs import vote
from radgaze.runs.prediction import predict
from radgaze.runs.run import Run
from radgaze.store.twins import as_cases

SCHEMA: dict[str, type[pl.DataType]] = {
    "case_id": pl.String,
    "patient": pl.Int32,
    "confounder": pl.String,
    "pairs": pl.UInt32,
    **dict.fromkeys(METRICS, pl.Float64),
}
"""Columns of reliance.parquet."""

UNNAMED = "confounder"
"""Name of a confounder that the store's twins do not name."""

Image = TypeVar("Image")


def measure(run: Run, device: str = "auto") -> pl.DataFrame:
    """Measure the reliance of a run on each confounder, for each test case that has twins.

    All images of one case that differ in one confounder are compared with the one that does not show it;
    where none is said to be without it, with the case itself. The figures of a case are means over its pairs.

    Args:
        run: The run, or a vote.
        device: Device of the model: "cpu", "cuda" or "auto".

    Returns:
        A row for each case and confounder, see `SCHEMA`; no row where the store has no twins of test cases.

    Raises:
        UserError: The device is not available, or the store cannot be read.
    """
    if run.store.twins.is_empty():
        return pl.DataFrame(schema=SCHEMA)
    twins = as_cases(run.store)
    if twins.cases.filter(split="test").is_empty():
        return pl.DataFrame(schema=SCHEMA)
    device, names = usable_device(device), [f"probability_{name}" for name in run.classes]
    tables = [
        predict(voter.model(), twins, voter.config, ("test",), device=device).sort("case_id")
        for voter in run.voters
    ]
    values = vote.probabilities(run.vote, np.stack([table.select(names).to_numpy() for table in tables]))
    predicted = tables[0].select("case_id").with_columns(pl.from_numpy(values, names))
    return figures_of(run, run.store.twins, predicted)


def figures_of(run: Run, twins: pl.DataFrame, of_twins: pl.DataFrame) -> pl.DataFrame:
    """Compute the figures of `measure` from a run's predictions and those of some twins, see `figures`."""
    # Shares of the runs of a majority need not add up to 1, though the runs' probabilities do.
    softmax = (run.vote is None or run.vote.rule != "majority") and all(
        voter.config.objective.classification == "softmax" for voter in run.voters
    )
    return figures(twins, of_twins, run.predictions(), run.classes, exclusive=run.exclusive, softmax=softmax)


def figures(
    twins: pl.DataFrame,
    of_twins: pl.DataFrame,
    of_cases: pl.DataFrame,
    classes: Sequence[str],
    *,
    exclusive: bool,
    softmax: bool,
) -> pl.DataFrame:
    """Compute the figures of `measure` from predictions.

    Args:
        twins: Table of the twins, see `Store.twins`.
        of_twins: Predictions of the twins: case_id, and probability_<class> for each class.
        of_cases: Predictions of the cases, see `Run.predictions`.
        classes: The classes.
        exclusive: Whether each case has exactly one of them.
        softmax: Whether the probabilities of an image add up to 1.
    """
    images = _images(twins, of_twins, of_cases, classes)
    compared = [pair for rows in _by_case(images) for pair in pairs_of(rows)]
    first, second = ([pair[k] for pair in compared] for k in (0, 1))
    names = [f"probability_{name}" for name in classes]
    place = {name: k for k, name in enumerate(classes)}
    shown, without = images[first], images[second]
    scores = pairs(
        shown.select(names).to_numpy(),
        without.select(names).to_numpy(),
        [place.get(name, -1) for name in shown["shows"]],
        exclusive=exclusive,
        softmax=softmax,
    )
    rows = shown.select("case_id", "patient", "confounder").with_columns(
        pl.Series(name, column).fill_nan(None) for name, column in scores.items()
    )
    by_case = rows.group_by("case_id", "patient", "confounder", maintain_order=True)
    table = by_case.agg(pl.len().alias("pairs"), *(pl.col(name).mean() for name in METRICS))
    return table.select(*SCHEMA).cast(pl.Schema(SCHEMA)).sort("confounder", "case_id")


def pairs_of(images: Sequence[tuple[Image, str | None]]) -> list[tuple[Image, Image]]:
    """List the pairs that are compared, each of an image that shows a confounder and the one without it.

    Args:
        images: The images of a case that differ in one confounder alone, the case itself first, each with the
            class whose confounder it shows; None for none, or where it is not known.
    """
    case = images[0][0]
    without = next((image for image, shows in images if shows is None), case)
    shown = [image for image, shows in images if shows is not None]
    return [(image, without) for image in shown or [image for image, _ in images] if image != without]


def summarise(
    table: pl.DataFrame, test: pl.DataFrame, resampling: Callable[[pl.DataFrame], Resampling]
) -> dict[str, Reliance]:
    """Average the figures of `measure` over cases, with intervals over patients, for each confounder.

    Args:
        table: The figures.
        test: Predictions of the test cases.
        resampling: Function that makes the resampling of some test cases.
    """
    by_confounder = {}
    for (name,), rows in table.group_by("confounder", maintain_order=True):
        cases = rows.select("case_id").join(test, on="case_id", maintain_order="left")
        values = {metric: rows[metric].cast(pl.Float64).to_numpy() for metric in METRICS}
        averaged = means(values, rows["patient"].to_numpy(), resampling(cases))
        by_confounder[str(name)] = Reliance(
            {metric: averaged[metric].summary(each.bounds) for metric, each in METRICS.items()},
            rows.height,
            int(rows["pairs"].sum()),
        )
    return by_confounder


def _images(
    twins: pl.DataFrame, of_twins: pl.DataFrame, of_cases: pl.DataFrame, classes: Sequence[str]
) -> pl.DataFrame:
    """A row for each image of a case and confounder, the case itself first: what it shows, its prediction."""
    names = [f"probability_{name}" for name in classes]
    test = of_cases.filter(split="test").select("case_id", "patient", *names)
    twins = twins.with_columns(pl.col("confounder").fill_null(UNNAMED))
    originals = twins.unique(["twin_of", "confounder"], keep="first", maintain_order=True)
    parts = [
        originals.select(case_id="twin_of", confounder="confounder", shows="original_shows").join(
            test.drop("patient"), on="case_id", maintain_order="left"
        ),
        twins.join(of_twins, on="case_id", maintain_order="left").select(
            "confounder", "shows", *names, case_id="twin_of"
        ),
    ]
    columns = ["case_id", "confounder", "shows", *names]
    images = pl.concat([part.select(columns) for part in parts])
    images = images.join(test.select("case_id", "patient"), on="case_id", maintain_order="left")
    return images.sort("confounder", "case_id", maintain_order=True)


def _by_case(images: pl.DataFrame) -> Iterator[list[tuple[int, str | None]]]:
    """Place of each image of a case and confounder, and the class that it shows, the case itself first."""
    rows = zip(images["confounder"], images["case_id"], count(), images["shows"], strict=False)
    for _, group in groupby(rows, key=itemgetter(0, 1)):
        yield [(place, shows) for *_, place, shows in group]
