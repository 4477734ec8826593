"""Whether a run's maps do better than maps that never saw the case: differences and a sentence on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.evaluation.statistics.evidence import Evidence
from radgaze.evaluation.statistics.means import means
from radgaze.evaluation.statistics.policy import resampling_of
from radgaze.evaluation.statistics.verdict import Verdict, against_all, verdict
from radgaze.reporting.wording import FLOORS, MAPS, bounds, listed

Differences = dict[str, dict[str, dict[str, Any]]]


def floor_differences(
    agreement: pl.DataFrame,
    kind: str,
    cases: pl.DataFrame,
    classes: Sequence[str],
    settings: Mapping[str, Any],
) -> Differences:
    """How much better than each floor a map is, per metric and floor: the mean over cases, with its interval.

    The cases are drawn again as for every other interval of the run: those of the tables beside it.

    Args:
        agreement: RUN/agreement.parquet: case_id, patient, map, and a column per metric.
        kind: The map, e.g. "heatmap".
        cases: The test cases, with `patient` and `label_<class>`.
        classes: The classes.
        settings: Those of metrics.json: how the cases are drawn again.

    Returns:
        Entries with `value`, `low` and `high`, positive where the map is better, also where less is better;
        empty where the map or the floors were not measured.
    """
    own = agreement.filter(pl.col("map") == kind)
    cases = cases.join(own, on="case_id", how="semi", maintain_order="left")
    if cases.is_empty():
        return {}
    own = cases.select("case_id").join(own, on="case_id", how="left", maintain_order="left")
    gained: dict[tuple[str, str], NDArray[np.float64]] = {}
    for floor in FLOORS:
        other = agreement.filter(pl.col("map") == floor)
        if other.is_empty():
            continue
        aligned = cases.select("case_id").join(other, on="case_id", how="left", maintain_order="left")
        for name, metric in METRICS.items():
            if name in agreement.columns:  # not in the file of a run that was evaluated before it was added
                difference = (own[name] - aligned[name]).cast(pl.Float64).to_numpy()
                gained[name, floor] = difference if metric.higher_is_better else -difference
    found: Differences = {}
    draws = resampling_of(cases, classes, settings)
    for (name, floor), mean in means(gained, cases["patient"].to_numpy(), draws).items():
        found.setdefault(name, {})[floor] = mean.difference()
    return found


def floor_sentence(kind: str, differences: Differences) -> tuple[bool, str] | None:
    """Whether the map beats every floor on every metric, and a sentence on which; None without numbers."""
    said: dict[Verdict | None, list[str]] = {"better": [], "even": [], "worse": [], "few": [], None: []}
    for metric, by_floor in differences.items():
        said[against_all(map(verdict, by_floor.values()))].append(METRICS[metric].title)
    if said["few"]:
        lacking = {
            Evidence(entry["patients"], entry["discordant"]).lacking
            for by_floor in differences.values()
            for entry in by_floor.values()
        }
        return False, f"{MAPS[kind]} against the floors: no verdict, {min(lacking - {''})}."
    if not (said["better"] or said["even"] or said["worse"]):
        return None
    two = max(map(len, differences.values())) <= 2
    every, best = ("both floors", "better") if two else ("every floor", "best")
    parts = []
    if said["better"]:
        parts.append(f"better than {every} on {listed(said['better'])}")
    if said["even"]:
        parts.append(f"not distinguishable from the {best} floor on {listed(said['even'])}")
    if said["worse"]:
        parts.append(f"worse than at least one floor on {listed(said['worse'])}")
    sentence = f"{MAPS[kind]} against the floors, case by case: {'; '.join(parts)}."
    if not said["better"]:
        sentence += (
            " By these numbers it follows a case's own gaze no better than a map that never saw the case."
        )
    return bool(said["better"]) and not said["even"] and not said["worse"], sentence


def chance_sentence(auc: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    """Which classes' AUC cannot be told from 0.5; empty if all can."""
    lost = [name for name in classes if (low := bounds(auc.get(name))[1]) is not None and low <= 0.5]
    if not lost:
        return ""
    return (
        f"{listed(lost)} {'is' if len(lost) == 1 else 'are'} not distinguishable from chance: "
        "the interval of the AUC reaches 0.5."
    )
