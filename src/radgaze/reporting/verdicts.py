"""Whether a run's maps do better than maps that never saw the case: differences and a sentence on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from radgaze.evaluation.resampling import PatientBootstrap, estimates, mean_of
from radgaze.reporting.wording import AGREEMENT, FLOORS, MAPS, bounds, listed

Differences = dict[str, dict[str, dict[str, Any]]]


def floor_differences(
    agreement: pl.DataFrame, kind: str, *, resamples: int = 2000, seed: int = 0
) -> Differences:
    """How much better than each floor a map is, per metric and floor: mean over cases, 95% patient bootstrap.

    Args:
        agreement: RUN/agreement.parquet: case_id, patient, map, and a column per metric.
        kind: The map, e.g. "heatmap".
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        Entries with `value`, `low` and `high`, positive where the map is better, also where less is better;
        empty where the map or the floors were not measured.
    """
    own = agreement.filter(pl.col("map") == kind)
    if own.is_empty():
        return {}
    patients = own["patient"].cast(pl.Int64).to_numpy()
    draws = PatientBootstrap(patients, np.zeros(len(patients), dtype=np.int64), resamples, seed)
    statistics = {}
    for floor in FLOORS:
        other = agreement.filter(pl.col("map") == floor)
        if other.is_empty():
            continue
        aligned = own.select("case_id").join(other, on="case_id", how="left", maintain_order="left")
        for metric, (_, higher, _) in AGREEMENT.items():
            gained = (own[metric] - aligned[metric]).cast(pl.Float64).to_numpy()
            statistics[metric, floor] = mean_of(gained if higher else -gained)
    found: Differences = {}
    for (metric, floor), figure in estimates(statistics, len(patients), draws).items():
        found.setdefault(metric, {})[floor] = figure.entry()
    return found


def verdict(kind: str, differences: Differences) -> tuple[bool, str] | None:
    """Whether the map beats both floors on every metric, and a sentence on which; None without numbers."""
    better: list[str] = []
    even: list[str] = []
    worse: list[str] = []
    for metric, by_floor in differences.items():
        signs = [_sign(entry) for entry in by_floor.values()]
        known = [sign for sign in signs if sign is not None]
        if known:
            (better if min(known) > 0 else worse if min(known) < 0 else even).append(AGREEMENT[metric][0])
    if not (better or even or worse):
        return None
    name = MAPS[kind]
    parts = []
    if better:
        parts.append(f"better than both floors on {listed(better)}")
    if even:
        parts.append(f"not distinguishable from the better floor on {listed(even)}")
    if worse:
        parts.append(f"worse than at least one floor on {listed(worse)}")
    sentence = f"{name} against the floors, case by case: {'; '.join(parts)}."
    if not better:
        sentence += (
            " By these numbers it follows a case's own gaze no better than a map that never saw the case."
        )
    return bool(better) and not even and not worse, sentence


def chance_sentence(auc: Mapping[str, Any], classes: tuple[str, ...]) -> str:
    """Which classes' AUC cannot be told from 0.5; empty if all can."""
    lost = [name for name in classes if (low := bounds(auc.get(name))[1]) is not None and low <= 0.5]
    if not lost:
        return ""
    return (
        f"{listed(lost)} {'is' if len(lost) == 1 else 'are'} not distinguishable from chance: "
        "the interval of the AUC reaches 0.5."
    )


def _sign(entry: Mapping[str, Any]) -> int | None:
    """1 if clearly better, −1 if clearly worse, 0 if the interval holds 0."""
    value, low, high = bounds(entry)
    if value is None or low is None or high is None:
        return None
    return 1 if low > 0 else -1 if high < 0 else 0
