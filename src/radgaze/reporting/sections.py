"""The parts of a run's report as plain values for the template: numbers in, words and rows out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from radgaze.reporting.wording import (
    AGREEMENT,
    FLOORS,
    INTERVALS,
    MAPS,
    against_chance,
    bounds,
    count,
    estimate,
    listed,
    number,
)


def discrimination(test: Mapping[str, Any], classes: Sequence[str], cases: pl.DataFrame) -> dict[str, Any]:
    """The AUC table (a row per class and the macro mean), the two intervals explained, and the other metrics."""
    groups = [*classes, "macro"]
    auc, seed = test.get("auc") or {}, test.get("auc_seed") or {}
    precision = test.get("average_precision") or {}
    rows = []
    for name in groups:
        total = name == "macro"
        positives = cases.height if total else int(cases[f"label_{name}"].sum())
        rows.append(
            {
                "name": "Macro mean" if total else name,
                "total": total,
                "cases": positives,
                "entries": [auc.get(name), seed.get(name), precision.get(name)],
            }
        )
    lows = [x for name in groups for source in (auc, seed) if (x := bounds(source.get(name))[1]) is not None]
    return {
        "columns_auc": [
            {"name": "AUC", "more": INTERVALS["auc"][0]},
            {"name": "AUC", "more": INTERVALS["auc_seed"][0]},
            {"name": "Average precision", "more": "95% bootstrap"},
        ],
        "rows_auc": rows,
        "axis_start": min(0.4, math.floor(10 * min(lows, default=0.4)) / 10),
        "intervals": list(INTERVALS.values()),
        "scalar_columns": [*classes, "Macro / all"],
        "scalars": _scalars(test, classes),
    }


def agreement(found: Mapping[str, Any] | None) -> dict[str, Any]:
    """The agreement table, and how heatmap and mask stand against the floors."""
    found = found or {}
    rows = [
        {
            "name": label,
            "floor": kind in FLOORS,
            "entries": [found[kind].get(metric) for metric in AGREEMENT],
        }
        for kind, label in MAPS.items()
        if found.get(kind)
    ]
    return {
        "rows_agreement": rows,
        "columns_agreement": [
            (name, "↑" if higher else "↓", "higher" if higher else "lower")
            for name, higher, _ in AGREEMENT.values()
        ],
        "glossary": [(name, words) for name, _, words in AGREEMENT.values()],
        "agreement_findings": [
            sentence for kind in ("heatmap", "mask") if (sentence := against_floors(found, kind))
        ],
    }


def against_floors(found: Mapping[str, Any], kind: str) -> tuple[str, str] | None:
    """How one of the run's maps stands against the floors: ("good" or "flag", a sentence); None without numbers.

    A map is said to beat a floor on a metric only if their 95% intervals do not touch; that is stricter than a
    paired test, so the sentence errs on the side of doubt.
    """
    if not found.get(kind) or not any(found.get(floor) for floor in FLOORS):
        return None
    won: list[str] = []
    lost: list[str] = []
    tied: list[str] = []
    for metric, (name, higher, _) in AGREEMENT.items():
        verdicts = [
            _compare(found[kind].get(metric), found[floor].get(metric), higher)
            for floor in FLOORS
            if found.get(floor)
        ]
        verdicts = [v for v in verdicts if v is not None]
        if not verdicts:
            continue
        (won if min(verdicts) > 0 else lost if min(verdicts) < 0 else tied).append(name)
    if not (won or lost or tied):
        return None
    floors = "the floors (mean gaze of the training cases, lung shape)"
    name = MAPS[kind].lower()
    parts = []
    if won:
        parts.append(f"beats {floors} on {listed(won)}")
    if tied:
        parts.append(f"is not clearly better than the better of the floors on {listed(tied)}")
    if lost:
        parts.append(f"is worse than at least one of the floors on {listed(lost)}")
    sentence = f"The {name} {listed(parts)}."
    if not won:
        sentence += (
            " By these numbers it does not follow the individual case's gaze any better than a map that never saw "
            "the case."
        )
    return ("good" if won and not lost and not tied else "flag"), sentence


def tiles(test: Mapping[str, Any], cases: pl.DataFrame) -> list[dict[str, str]]:
    """The three numbers to take away."""
    auc = (test.get("auc") or {}).get("macro")
    value, low, high = bounds(auc)
    found = test.get("agreement") or {}
    kind = "heatmap" if found.get("heatmap") else "mask"
    nss = (found.get(kind) or {}).get("nss")
    floor = (found.get("mean_gaze") or {}).get("nss")
    shown = [
        {
            "name": "Macro AUC on the test cases",
            "value": number(value),
            "more": f"95% interval {number(low)} to {number(high)}" if low is not None else "no interval",
        },
        {
            "name": f"{MAPS[kind]}–gaze agreement (NSS)",
            "value": number(bounds(nss)[0], 2),
            "more": f"mean gaze of the training cases: {estimate(floor, 2)}"
            if floor is not None
            else "not measured",
        },
        {
            "name": "Test cases",
            "value": f"{cases.height:,}",
            "more": f"of {count(cases['patient'].n_unique(), 'patient')}, none of them trained on",
        },
    ]
    return shown


def findings(test: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    """What the headline numbers say, in sentences."""
    auc = test.get("auc") or {}
    sentences = []
    known = [(value, name) for name in classes if (value := bounds(auc.get(name))[0]) is not None]
    if len(known) > 1:
        best, worst = max(known), min(known)
        sentences.append(
            f"Told apart best: {best[1]}, AUC {estimate(auc[best[1]])}; worst: {worst[1]}, {estimate(auc[worst[1]])}."
        )
    if lost := against_chance(auc, classes):
        sentences.append(lost)
    return sentences


def limits(test: Mapping[str, Any], classes: Sequence[str], cases: pl.DataFrame) -> list[str]:
    """What a reader must keep in mind about these numbers."""
    smallest = min(classes, key=lambda name: int(cases[f"label_{name}"].sum())) if classes else ""
    fewest = int(cases[f"label_{smallest}"].sum()) if smallest else 0
    _, low, high = bounds((test.get("auc") or {}).get(smallest))
    width = (
        f" its AUC is known to ±{number((high - low) / 2, 2)} only"
        if low is not None and high is not None
        else ""
    )
    sentences = [
        f"The test set holds {count(cases.height, 'case')} of {count(cases['patient'].n_unique(), 'patient')}. "
        f"The smallest class, {smallest}, has {count(fewest, 'case')};{width or ' its interval is undefined'}.",
        "The intervals cover the choice of test patients. They do not cover another random start of the training, "
        "another split, another hospital or another reader.",
        "Agreement with gaze says where a map is bright, not why the classifier decided. One radiologist's gaze is one "
        "way of reading, not the truth.",
        "A heatmap can look plausible and yet depend little on what was learnt; read it beside the floors, never alone.",
    ]
    return sentences


def _compare(entry: Any, floor: Any, higher: bool) -> int | None:
    """1 if the map is clearly better than the floor, −1 if clearly worse, 0 if their intervals overlap."""
    value, low, high = bounds(entry)
    other, floor_low, floor_high = bounds(floor)
    if value is None or other is None:
        return None
    low, high = (value if low is None else low), (value if high is None else high)
    floor_low, floor_high = (
        (other if floor_low is None else floor_low),
        (other if floor_high is None else floor_high),
    )
    if low > floor_high:
        return 1 if higher else -1
    if high < floor_low:
        return -1 if higher else 1
    return 0


def _scalars(test: Mapping[str, Any], classes: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Rows of the second table: whatever of these metrics is there, per class and together."""
    rows: list[tuple[str, list[Any]]] = []
    at_specificity = test.get("sensitivity_at_specificity") or {}
    for level in sorted({k for k in at_specificity if _is_number(k)}, key=float):
        rows.append(
            (f"Sensitivity at {float(level):.0%} specificity", _per_class(at_specificity[level], classes))
        )
    if not rows and at_specificity:
        rows.append(("Sensitivity at fixed specificity", _per_class(at_specificity, classes)))
    for key, name in (
        ("accuracy", "Accuracy"),
        ("brier", "Brier score ↓"),
        ("calibration_error", "Calibration error ↓"),
    ):
        if test.get(key) is not None:
            rows.append((name, _per_class(test[key], classes)))
    return rows


def _per_class(source: Any, classes: Sequence[str]) -> list[Any]:
    """The classes' entries, then the one for all: from a mapping by class, or from one entry for all."""
    if isinstance(source, Mapping) and any(name in source for name in (*classes, "macro")):
        return [source.get(name) for name in (*classes, "macro")]
    return [*[None for _ in classes], source]


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True
