"""Scores of a run's maps against gaze or boxes for each case, and their means on given resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.metrics import agreement, localisation
from radgaze.evaluation.results import read_scores
from radgaze.evaluation.scoring import MAPS, SCHEMA
from radgaze.evaluation.statistics.case_means import means
from radgaze.evaluation.statistics.resampling import Estimate, Resampling


@dataclass(frozen=True)
class Reference:
    """A reference with which maps are compared.

    Attributes:
        file: Name of the table in a run's folder, which has a row for each case and map.
        metrics: The columns of the metrics.
    """

    file: str
    metrics: tuple[str, ...]


GAZE = Reference("agreement.parquet", tuple(agreement.METRICS))
BOXES = Reference("localisation.parquet", tuple(localisation.METRICS))


@dataclass(frozen=True)
class MapScores:
    """The scores of a run's maps on the test cases that have a reference.

    Attributes:
        cases: The rows of these cases in the test predictions.
        values: For each map and metric an array of shape (cases,), NaN where undefined.
    """

    cases: pl.DataFrame
    values: Mapping[tuple[str, str], NDArray[np.float64]]

    @classmethod
    def read(cls, reference: Reference, run: Path, test: pl.DataFrame) -> MapScores:
        """Read the scores of a run.

        Args:
            reference: The reference.
            run: Folder of the run.
            test: The test predictions.

        Returns:
            The scores; without any case where the run was not scored against the reference.

        Raises:
            UserError: The table is damaged.
        """
        table = _table(reference, run).filter(pl.col("case_id").is_in(test["case_id"].implode()))
        cases = test.join(table, on="case_id", how="semi", maintain_order="left")
        # The table of an older version may lack a metric.
        metrics = [name for name in reference.metrics if name in table.columns]
        values: dict[tuple[str, str], NDArray[np.float64]] = {}
        for kind in MAPS:
            rows = table.filter(pl.col("map") == kind)
            if rows.height:
                rows = cases.select("case_id").join(rows, on="case_id", how="left", maintain_order="left")
                values |= {(kind, name): rows[name].to_numpy().astype(np.float64) for name in metrics}
        return cls(cases, values)

    def resampled(self, draws: Resampling) -> MapMeans:
        """Average the scores over the cases, with resamples of the cases."""
        patients = self.cases["patient"].to_numpy()
        return MapMeans(self.cases, self.values, means(self.values, patients, draws), draws)


@dataclass(frozen=True)
class MapMeans:
    """Means of the scores of a run's maps; see `MapScores` for cases and values.

    Attributes:
        means: The mean over the cases for each map and metric.
        draws: Resamples of the cases.
    """

    cases: pl.DataFrame
    values: Mapping[tuple[str, str], NDArray[np.float64]]
    means: Mapping[tuple[str, str], Estimate]
    draws: Resampling

    def gains(self, other: MapMeans, metric: str, kind: str = "heatmap") -> NDArray[np.float64] | None:
        """Subtract the scores of another run, case by case.

        Returns:
            Differences of shape (cases,), NaN where either score is undefined; None where one of the runs has
            no such scores, or has them for other cases.
        """
        key = (kind, metric)
        if key not in self.values or key not in other.values:
            return None
        if not self.cases["case_id"].equals(other.cases["case_id"]):
            return None
        return self.values[key] - other.values[key]

    def minus(self, other: MapMeans, metric: str, kind: str = "heatmap") -> Estimate | None:
        """Average `gains` over the cases on which both scores are defined; None where `gains` is None."""
        key, values = (kind, metric), self.gains(other, metric, kind)
        if values is None:
            return None
        return means({key: values}, self.cases["patient"].to_numpy(), self.draws)[key]


def maps_and_metrics(runs: Sequence[MapMeans]) -> list[tuple[str, str]]:
    """List the maps and metrics that at least one of the runs has, in the order of `MAPS`."""
    keys = dict.fromkeys(key for run in runs for key in run.means)
    return sorted(keys, key=lambda key: MAPS.index(key[0]))


def _table(reference: Reference, run: Path) -> pl.DataFrame:
    file = run / reference.file
    if file.is_file():
        return read_scores(file)
    keys = {name: SCHEMA[name] for name in ("case_id", "patient", "map")}
    return pl.DataFrame(schema={**keys, **dict.fromkeys(reference.metrics, pl.Float64)})
