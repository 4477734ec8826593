"""Check whether the agreement with gaze, and the reliance on confounders, of several runs can be compared."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.results import RELIANCE, read_agreement, read_reliance, read_results
from radgaze.runs.run import Run

SETTINGS = ("generator", "target", "heatmap_smoothing", "case_gaze", "size", "fit")
"""Settings that metrics of agreement depend on."""
_WORDS = {"case_gaze": "gaze"}
_LEFT_OUT = "Agreement with gaze is left out: "


def comparable_agreement(
    runs: Sequence[Run], names: Sequence[str], cases: pl.DataFrame
) -> tuple[list[pl.DataFrame], str]:
    """Read agreement.parquet of each run.

    Args:
        runs: The runs.
        names: Names of the runs.
        cases: The test cases.

    Returns:
        The tables, and an empty text; or no table, and the reason why they cannot be compared.
    """
    for name, run in zip(names, runs, strict=True):
        if not ((run.path / "agreement.parquet").is_file() and (run.path / "metrics.json").is_file()):
            return [], f"{_LEFT_OUT}{name} was not evaluated yet (`radgaze evaluate RUN`)."
    if reason := _different_settings(runs, names):
        return [], reason
    tables = [read_agreement(run.path) for run in runs]
    for name, table in zip(names, tables, strict=True):
        if missing := [metric for metric in METRICS if metric not in table.columns]:
            return [], (f"{_LEFT_OUT}{name} was evaluated before there was {missing[0]}; evaluate it again.")
    ids = [set(table["case_id"]) for table in tables]
    if any(of_run != ids[0] for of_run in ids) or not ids[0] <= set(cases["case_id"]):
        return [], f"{_LEFT_OUT}the runs were evaluated on different cases; evaluate them again."
    return (tables, "") if ids[0] else ([], f"{_LEFT_OUT}no test case has gaze.")


def comparable_reliance(runs: Sequence[Run], cases: pl.DataFrame) -> list[pl.DataFrame]:
    """Read reliance.parquet of each run; no table where a run has none, or has other cases.

    Args:
        runs: The runs.
        cases: The test cases.
    """
    paths = [run.path / RELIANCE for run in runs]
    if not all(path.is_file() for path in paths):
        return []
    tables = [read_reliance(path.parent) for path in paths]
    keys = [table.select("case_id", "confounder") for table in tables]
    of_test = set(tables[0]["case_id"]) <= set(cases["case_id"])
    return tables if of_test and all(key.equals(keys[0]) for key in keys) else []


def _different_settings(runs: Sequence[Run], names: Sequence[str]) -> str:
    settings = [read_results(run.path).settings for run in runs]
    for key in SETTINGS:
        values = [getattr(of_run, key) for of_run in settings]
        for name, value in zip(names, values, strict=True):
            if value != values[0]:
                return f"{_LEFT_OUT}{names[0]} and {name} measured it with another {_WORDS.get(key, key)}."
    return ""
