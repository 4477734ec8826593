"""One run's maps against what is known of its test cases, gaze or boxes, on draws that all runs share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.metrics import agreement, localisation
from radgaze.evaluation.results import read_scores
from radgaze.evaluation.scoring import SCHEMA
from radgaze.evaluation.statistics.means import means
from radgaze.evaluation.statistics.resampling import Estimate, Resampling
from radgaze.evaluation.summary import MAPS


@dataclass(frozen=True)
class Reference:
    """What maps are held against.

    Attributes:
        file: The table in a run's folder, a row per case and map.
        metrics: Its columns.
    """

    file: str
    metrics: tuple[str, ...]


GAZE = Reference("agreement.parquet", tuple(agreement.METRICS))
BOXES = Reference("localisation.parquet", tuple(localisation.METRICS))


@dataclass(frozen=True)
class Held:
    """The test cases on which a reference is known, and how the maps of these did.

    Attributes:
        cases: Those of the test predictions that have it.
        table: A row per case and map.
        metrics: Its columns.
    """

    cases: pl.DataFrame
    table: pl.DataFrame
    metrics: tuple[str, ...]

    @classmethod
    def against(cls, reference: Reference, run: Path, test: pl.DataFrame) -> Held:
        """Without a case where the run was not measured against it."""
        file = run / reference.file
        keys = {name: SCHEMA[name] for name in ("case_id", "patient", "map")}
        empty = pl.DataFrame(schema={**keys, **dict.fromkeys(reference.metrics, pl.Float64)})
        table = read_scores(file) if file.is_file() else empty
        table = table.filter(pl.col("case_id").is_in(test["case_id"].implode()))
        cases = test.join(table, on="case_id", how="semi", maintain_order="left")
        # What an older version wrote may lack a metric.
        return cls(cases, table, tuple(name for name in reference.metrics if name in table.columns))

    def scored(self, draws: Resampling) -> Scored:
        """The same as figures, on draws of the cases."""
        values: dict[tuple[str, str], NDArray[np.float64]] = {}
        for kind in MAPS:
            own = self.table.filter(pl.col("map") == kind)
            if own.height:
                own = self.cases.select("case_id").join(own, on="case_id", how="left", maintain_order="left")
                values |= {(kind, m): own[m].to_numpy().astype(np.float64) for m in self.metrics}
        return Scored(self.cases, values, means(values, self.cases["patient"].to_numpy(), draws), draws)


@dataclass(frozen=True)
class Scored:
    """How a run's maps did.

    Attributes:
        cases: The cases that count.
        values: Per map and metric a value for each of them.
        means: The means over them.
        draws: Of them.
    """

    cases: pl.DataFrame
    values: Mapping[tuple[str, str], NDArray[np.float64]]
    means: Mapping[tuple[str, str], Estimate]
    draws: Resampling

    def gained(self, other: Scored, metric: str, kind: str = "heatmap") -> NDArray[np.float64] | None:
        """The difference of each case, NaN where either is undefined.

        None where either was not measured, or on other cases.
        """
        key = (kind, metric)
        if key not in self.values or key not in other.values:
            return None
        if not self.cases["case_id"].equals(other.cases["case_id"]):
            return None
        return self.values[key] - other.values[key]

    def less(self, other: Scored, metric: str, kind: str = "heatmap") -> Estimate | None:
        """The mean over cases of the difference, over those on which both are defined; None as `gained`."""
        key, values = (kind, metric), self.gained(other, metric, kind)
        if values is None:
            return None
        return means({key: values}, self.cases["patient"].to_numpy(), self.draws)[key]


def maps_and_metrics(of: Sequence[Scored]) -> list[tuple[str, str]]:
    """Each map and metric that some of them have, in the order of `MAPS`."""
    found = dict.fromkeys(key for one in of for key in one.means)
    return sorted(found, key=lambda key: MAPS.index(key[0]))
