"""Figures of several runs on the same cases, and their differences to the first run's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.metrics.multilabel import averaged
from radgaze.evaluation.results import read_agreement, read_metrics
from radgaze.evaluation.statistics.delong import delong_test, placements
from radgaze.evaluation.statistics.evidence import bounds_after
from radgaze.evaluation.statistics.holm import holm
from radgaze.evaluation.statistics.means import means
from radgaze.evaluation.statistics.power import PLANNED, of_difference
from radgaze.evaluation.statistics.resampling import Estimate, Resampling, number
from radgaze.evaluation.summary import MACRO, MAPS, OF_A_RUN, score
from radgaze.runs.run import Run

Row = dict[str, Any]

OF_A_CLASS = ("auc", "average_precision", "brier")
LOWER_IS_BETTER: set[str] = {
    "brier",
    *(name for name, metric in METRICS.items() if not metric.higher_is_better),
}

TABLE = {
    **dict.fromkeys(("run", "metric", "map", "group"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
}
PAIRED = {
    **dict.fromkeys(("run", "reference", "metric", "map", "group"), pl.String),
    **dict.fromkeys(("difference", "low", "high"), pl.Float64),
    **dict.fromkeys(("p_bootstrap", "p_delong", "p_bootstrap_holm", "p_delong_holm"), pl.Float64),
    "higher_is_better": pl.Boolean,
    **dict.fromkeys(("detectable", "detectable_at"), pl.Float64),
    **dict.fromkeys(("detectable_note", "needed"), pl.String),
    **dict.fromkeys(("patients", "discordant"), pl.Int64),
    **dict.fromkeys(("p_bootstrap_is_bound", "p_bootstrap_holm_is_bound"), pl.Boolean),
}


def of_predictions(
    names: Sequence[str], tables: Sequence[pl.DataFrame], classes: Sequence[str], draws: Resampling
) -> tuple[list[Row], list[Row]]:
    """Rows of `TABLE` and of `PAIRED` for AUC, average precision and Brier score, macro and per class.

    Args:
        names: The runs, the reference first.
        tables: Their predictions of the same cases in the same order.
        classes: The classes.
        draws: Resamples of the cases.
    """
    scores = [score(table, classes, draws, OF_A_CLASS) for table in tables]
    rows, differences = [], []
    for metric in OF_A_CLASS:
        for group in (MACRO, *classes):
            found = [of_run[metric, group] for of_run in scores]
            rows += [_row(n, e, metric, group=group) for n, e in zip(names, found, strict=True)]
            delong = (
                [_delong(table, tables[0], group, classes) for table in tables[1:]]
                if metric == "auc"
                else None
            )
            changes = [estimate - found[0] for estimate in found[1:]]
            rests_on = [
                rests_on_patients(tables[0], differing(table, tables[0], metric, group, classes))
                for table in tables[1:]
            ]
            differences += _differences(
                names, changes, metric, tables[0], rests_on, group=group, delong=delong
            )
    return rows, differences


def comparable_agreement(
    runs: Sequence[Run], names: Sequence[str], cases: pl.DataFrame
) -> tuple[list[pl.DataFrame], list[str]]:
    """Each run's agreement.parquet, or none of them and the reason why they cannot be compared."""
    for name, run in zip(names, runs, strict=True):
        if not ((run.path / "agreement.parquet").is_file() and (run.path / "metrics.json").is_file()):
            return [], [
                f"Agreement with gaze is left out: {name} was not evaluated yet (`radgaze evaluate RUN`)."
            ]
    metrics = [read_metrics(run.path) for run in runs]
    for key in ("generator", "target", "heatmap_smoothing", "gaze", "size", "fit"):
        values = [found.get("settings", {}).get(key) for found in metrics]
        for name, value in zip(names, values, strict=True):
            if value != values[0]:
                return [], [
                    f"Agreement with gaze is left out: {names[0]} and {name} measured it with another {key}."
                ]
    tables = [read_agreement(run.path) for run in runs]
    for name, table in zip(names, tables, strict=True):
        if lacking := [metric for metric in METRICS if metric not in table.columns]:
            return [], [
                f"Agreement with gaze is left out: {name} was evaluated before there was {lacking[0]}; "
                "evaluate it anew."
            ]
    known = [set(table["case_id"]) for table in tables]
    if any(ids != known[0] for ids in known) or not known[0] <= set(cases["case_id"]):
        return [], [
            "Agreement with gaze is left out: the runs were evaluated on different cases; evaluate them anew."
        ]
    return (tables, []) if known[0] else ([], ["Agreement with gaze is left out: no test case has gaze."])


def of_agreement(
    names: Sequence[str], tables: Sequence[pl.DataFrame], cases: pl.DataFrame, draws: Resampling
) -> tuple[list[Row], list[Row]]:
    """Rows of `TABLE` and of `PAIRED` for the agreement of every run's maps with gaze.

    A difference is the mean over cases of the difference, over those cases on which both are defined.

    Args:
        names: The runs, the reference first.
        tables: Their agreement tables.
        cases: The cases with gaze.
        draws: Resamples of these.
    """
    values: dict[tuple[str, str, str], np.ndarray[Any, Any]] = {}
    for name, table in zip(names, tables, strict=True):
        for kind in MAPS:
            own = table.filter(pl.col("map") == kind)
            if own.height:
                own = cases.select("case_id").join(own, on="case_id", how="left", maintain_order="left")
                values |= {(name, kind, m): own[m].to_numpy().astype(np.float64) for m in METRICS}
    patients = cases["patient"].to_numpy()
    found = means(values, patients, draws)
    rows = [_row(name, estimate, metric, kind=kind) for (name, kind, metric), estimate in found.items()]
    differences: list[Row] = []
    for kind in OF_A_RUN:
        if (names[0], kind, "nss") not in values:
            continue
        others = [name for name in names[1:] if (name, kind, "nss") in values]
        for metric in METRICS:
            reference = values[names[0], kind, metric]
            changed = {name: values[name, kind, metric] - reference for name in others}
            changes = list(means(changed, patients, draws).values())
            rests_on = []
            for name in others:
                defined = np.isfinite(changed[name])
                known = cases.filter(pl.Series(defined))
                rests_on.append(rests_on_patients(known, changed[name][defined] != 0))
            differences += _differences([names[0], *others], changes, metric, cases, rests_on, kind=kind)
    return rows, differences


def differing(
    table: pl.DataFrame, reference: pl.DataFrame, metric: str, group: str, classes: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(n,) the cases on which two runs differ in a figure of the predictions.

    Of the Brier score those with another probability. AUC and average precision see only the order of a
    class's cases and the others, so that a case must, besides, be placed otherwise among the other side's.

    Args:
        table, reference: Predictions of the same cases in the same order.
        metric: One of `OF_A_CLASS`.
        group: A class, or "macro".
        classes: The classes.
    """
    found = np.zeros(table.height, dtype=bool)
    for name in averaged(reference, classes) if group == MACRO else [group]:
        scores = np.stack([t[f"probability_{name}"].cast(pl.Float64).to_numpy() for t in (table, reference)])
        differ = scores[0] != scores[1]
        if metric != "brier":
            first, second = placements(reference[f"label_{name}"].to_numpy(), scores)
            differ &= ~np.isclose(first, second, rtol=0, atol=1e-9)
        found |= differ
    return found


def rests_on_patients(cases: pl.DataFrame, differ: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[str, int]:
    """How many patients these are, and how many of them have a case on which the two sides differ."""
    return {
        "patients": cases["patient"].n_unique(),
        "discordant": cases.filter(pl.Series(differ, dtype=pl.Boolean))["patient"].n_unique(),
    }


def _delong(table: pl.DataFrame, reference: pl.DataFrame, group: str, classes: Sequence[str]) -> float | None:
    chosen = averaged(reference, classes) if group == MACRO else [group]
    labels = reference.select([f"label_{c}" for c in chosen]).to_numpy().T
    a, b = (t.select([f"probability_{c}" for c in chosen]).to_numpy().T for t in (table, reference))
    return number(delong_test(labels, a, b).p)


def _row(
    name: str, estimate: Estimate, metric: str, *, group: str | None = None, kind: str | None = None
) -> Row:
    found = estimate.entry(METRICS[metric].bounds) if metric in METRICS else estimate.entry()
    entry = {key: found[key] for key in ("value", "low", "high")}
    return {"run": name, "metric": metric, "map": kind, "group": group, **entry}


def _differences(
    names: Sequence[str],
    changes: Sequence[Estimate],
    metric: str,
    cases: pl.DataFrame,
    rests_on: Sequence[dict[str, int]],
    *,
    group: str | None = None,
    kind: str | None = None,
    delong: Sequence[float | None] | None = None,
) -> list[Row]:
    """Rows of `PAIRED` of one figure: each run but the first, Holm's correction over them."""
    of_bootstrap = [number(change.p) for change in changes]
    at_floor = [change.p_is_bound for change in changes]
    after_holm = bounds_after(holm, of_bootstrap, at_floor)
    of_delong = delong or [None] * len(changes)
    columns = zip(
        names[1:], changes, of_bootstrap, holm(of_bootstrap), of_delong, holm(of_delong), strict=True
    )
    largest = float(np.ptp(METRICS[metric].bounds)) if metric in METRICS else 1.0
    rows = []
    for place, (name, change, p_bootstrap, p_bootstrap_holm, p_delong, p_delong_holm) in enumerate(columns):
        entry = change.entry()
        rows.append(
            {
                "run": name,
                "reference": names[0],
                "metric": metric,
                "map": kind,
                "group": group,
                "difference": entry["value"],
                "low": entry["low"],
                "high": entry["high"],
                "p_bootstrap": p_bootstrap,
                "p_delong": p_delong,
                "p_bootstrap_holm": p_bootstrap_holm,
                "p_delong_holm": p_delong_holm,
                "higher_is_better": metric not in LOWER_IS_BETTER,
                **of_difference(
                    [change],
                    patients=cases["patient"].n_unique(),
                    cases=cases.height,
                    comparisons=sum(p is not None for p in of_bootstrap),
                    largest=largest,
                ).entry(PLANNED if (metric, group) == ("auc", MACRO) else None),
                **rests_on[place],
                "p_bootstrap_is_bound": at_floor[place],
                "p_bootstrap_holm_is_bound": after_holm[place],
            }
        )
    return rows
