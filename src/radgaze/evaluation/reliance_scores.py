"""Reliance of a run on confounders for each case, for estimates over several runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from radgaze.evaluation.map_scores import MapScores
from radgaze.evaluation.metrics.reliance import METRICS
from radgaze.evaluation.results import RELIANCE, read_reliance


def reliance_scores(run: Path, test: pl.DataFrame) -> MapScores:
    """Read the reliance of a run; the confounders stand in place of maps.

    Args:
        run: Folder of the run.
        test: The test predictions.

    Returns:
        The scores; without any case where the run was not evaluated on twins.

    Raises:
        UserError: The table is damaged.
    """
    if not (run / RELIANCE).is_file():
        return MapScores(test.clear(), {})
    table = read_reliance(run)
    cases = test.join(table, on="case_id", how="semi", maintain_order="left")
    values = {}
    for (confounder,), rows in table.group_by("confounder", maintain_order=True):
        rows = cases.select("case_id").join(rows, on="case_id", how="left", maintain_order="left")
        for metric in METRICS:
            values[str(confounder), metric] = rows[metric].cast(pl.Float64).to_numpy().astype(np.float64)
    return MapScores(cases, values)
