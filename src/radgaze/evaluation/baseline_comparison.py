"""Differences between a run's maps and baseline maps, which do not depend on the case."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from radgaze.evaluation import baselines
from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.statistics.case_means import Floats, means
from radgaze.evaluation.statistics.decision import Difference
from radgaze.evaluation.statistics.policy import ResamplingSettings, resampling_of

BaselineDifferences = dict[str, dict[str, Difference]]
"""Differences by metric and baseline map."""


def baseline_differences(
    agreement: pl.DataFrame,
    kind: str,
    cases: pl.DataFrame,
    settings: ResamplingSettings | Mapping[str, object],
) -> BaselineDifferences:
    """Compute by how much a map exceeds each baseline map: the mean difference over cases, with an interval.

    The cases are resampled as for all other intervals of the run.

    Args:
        agreement: Content of agreement.parquet: case_id, patient, map, and a column for each metric.
        kind: Name of the map, such as "heatmap".
        cases: The test cases, with `patient`.
        settings: Settings in metrics.json, which state the resampling.

    Returns:
        Differences, positive where the map is better, also for metrics of which lower values are better;
        empty where the map or the baseline maps were not measured.
    """
    rows = agreement.filter(pl.col("map") == kind)
    cases = cases.join(rows, on="case_id", how="semi", maintain_order="left")
    if cases.is_empty():
        return {}
    rows = _in_order(rows, cases)
    gains: dict[tuple[str, str], Floats] = {}
    for baseline in baselines.evaluated():
        baseline_rows = agreement.filter(pl.col("map") == baseline)
        if baseline_rows.is_empty():
            continue
        baseline_rows = _in_order(baseline_rows, cases)
        for name, metric in METRICS.items():
            if name in agreement.columns:  # the table of an earlier version may lack a metric
                difference = (rows[name] - baseline_rows[name]).cast(pl.Float64).to_numpy()
                gains[name, baseline] = difference if metric.higher_is_better else -difference
    differences: BaselineDifferences = {}
    resampling = resampling_of(cases, settings)
    for (name, baseline), mean in means(gains, cases["patient"].to_numpy(), resampling).items():
        differences.setdefault(name, {})[baseline] = mean.paired_difference(METRICS[name].bounds)
    return differences


def _in_order(rows: pl.DataFrame, cases: pl.DataFrame) -> pl.DataFrame:
    return cases.select("case_id").join(rows, on="case_id", how="left", maintain_order="left")
