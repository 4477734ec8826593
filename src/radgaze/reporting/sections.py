"""The parts of a run's report as plain values for the template: numbers in, words and rows out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from radgaze.evaluation import baselines
from radgaze.reporting.statistics_words import marked
from radgaze.reporting.verdicts import Differences, chance_sentence, floor_sentence
from radgaze.reporting.wording import (
    AGREEMENT,
    FLOORS,
    LOCALISATION,
    MAPS,
    bounds,
    count,
    estimate,
    listed,
    number,
)

BOOTSTRAP = (
    "95% bootstrap",
    "patients are drawn again with replacement, stratified by class, and the middle 95% of the results kept. "
    "It says how much the figure would move with another sample of as many patients.",
)
UNSTRATIFIED = (
    BOOTSTRAP[0],
    BOOTSTRAP[1].replace("stratified by class", "not stratified, since a case may have several classes"),
)
DELONG = (
    "95% DeLong",
    "DeLong's standard error, summed over patients, on the scale of the logit, with the quantile of "
    "Student's t. Where a class is told apart without error, or fewer than six patients have it, these cases "
    "do not tell the spread and Newcombe's interval takes its place. On 84 cases and more it covers "
    ".92 to .99 in simulations, least where fewer than 20 patients, some of several cases, have the class.",
)
SEED_PAPER = (
    "95% as in the seed paper",
    "the 2.5th and 97.5th percentile over 30 draws of 55 to 60 test cases, as Watanabe et al. (2022) did. It "
    "is there to be laid beside their table; it ignores patients, and its width says little about this set.",
)
GROUPS_AT_ONCE = "macro"


def discrimination(metrics: Mapping[str, Any], classes: Sequence[str], cases: pl.DataFrame) -> dict[str, Any]:
    """The AUC table (a row per class and the macro mean), its intervals explained, and the other metrics."""
    test = metrics.get("test") or {}
    groups = [*classes, GROUPS_AT_ONCE]
    columns = [test.get(metric) or {} for metric in ("auc", "auc_seed", "average_precision")]
    rows = [
        {
            "name": "Macro mean" if name == GROUPS_AT_ONCE else name,
            "total": name == GROUPS_AT_ONCE,
            "cases": cases.height if name == GROUPS_AT_ONCE else int(cases[f"label_{name}"].sum()),
            "entries": [column.get(name) for column in columns],
        }
        for name in groups
    ]
    lows = [x for name in groups for c in columns[:2] if (x := bounds(c.get(name))[1]) is not None]
    kind = (metrics.get("settings") or {}).get("interval")
    drawn = SEED_PAPER if kind == "seed" else BOOTSTRAP if metrics.get("exclusive", True) else UNSTRATIFIED
    of_auc = DELONG if kind == "delong" else drawn
    return {
        "columns_auc": [("AUC", of_auc[0]), ("AUC", SEED_PAPER[0]), ("Average precision", drawn[0])],
        "rows_auc": rows,
        "axis_start": min(0.4, math.floor(10 * min(lows, default=0.4)) / 10),
        "intervals": list(dict.fromkeys([of_auc, SEED_PAPER, drawn])),
        "scalar_columns": [*classes, "Macro mean"],
        "scalars": _scalars(test, groups),
        "together": [
            (name, estimate(entry))
            for name, entry in (
                ("accuracy", test.get("accuracy")),
                ("every class of a case right, at a probability of 0.5,", test.get("exact_match")),
                ("Brier score over all classes (0 to 2)", (test.get("brier") or {}).get("multiclass")),
            )
            if bounds(entry)[0] is not None
        ],
    }


def agreement(test: Mapping[str, Any], differences: Mapping[str, Differences]) -> dict[str, Any]:
    """The agreement table, and how the run's maps stand against the floors.

    Args:
        test: metrics.json's part about the test cases.
        differences: Per map what `verdicts.floor_differences` found.
    """
    found = test.get("agreement") or {}
    return {
        "rows_agreement": [
            {"name": label, "floor": kind in FLOORS, "entries": [found[kind].get(m) for m in AGREEMENT]}
            for kind, label in MAPS.items()
            if found.get(kind)
        ],
        "columns_agreement": [
            (name, "↑" if higher else "↓", "higher" if higher else "lower")
            for name, higher, _ in AGREEMENT.values()
        ],
        "glossary": [(name, words) for name, _, words in AGREEMENT.values()],
        "verdicts": [v for kind, of_kind in differences.items() if (v := floor_sentence(kind, of_kind))],
        "compared": _compared(test.get("agreement_cases") or {}),
    }


def localisation(test: Mapping[str, Any]) -> dict[str, Any]:
    """The table of how the maps point into boxes; no rows where no test case has any."""
    found, cases = test.get("localisation") or {}, test.get("localisation_cases") or {}
    return {
        "rows_localisation": [
            {"name": label, "floor": kind in FLOORS, "entries": [found[kind].get(m) for m in LOCALISATION]}
            for kind, label in MAPS.items()
            if found.get(kind)
        ],
        "columns_localisation": [name for name, _ in LOCALISATION.values()],
        "glossary_localisation": list(LOCALISATION.values()),
        "located": count(cases.get("compared", 0), "test case"),
    }


def tiles(test: Mapping[str, Any], cases: pl.DataFrame) -> list[tuple[str, str, str]]:
    """The three numbers to take away: name, value, and what stands beside it."""
    auc = (test.get("auc") or {}).get(GROUPS_AT_ONCE)
    value, low, high = bounds(auc)
    found = test.get("agreement") or {}
    nss = (found.get("heatmap") or {}).get("nss")
    name, of_floor = next(iter(baselines.evaluated().items()))
    floor = (found.get(name) or {}).get("nss")
    interval = "no interval"
    if low is not None and high is not None:
        interval = f"95% interval {number(low)} to {number(high)}{marked(low, high)}"
    return [
        ("Macro AUC on the test cases", number(value), interval),
        (
            "Heatmap–gaze agreement (NSS)",
            number(bounds(nss)[0], 2),
            f"{of_floor.summary({}).removeprefix('the ')} reaches {number(bounds(floor)[0], 2)}"
            if nss is not None
            else "not measured",
        ),
        (
            "Test cases",
            f"{cases.height:,}",
            f"of {count(cases['patient'].n_unique(), 'patient')}, none of whom was trained on",
        ),
    ]


def findings(metrics: Mapping[str, Any], classes: Sequence[str]) -> list[str]:
    """What the headline numbers say, in sentences."""
    auc = (metrics.get("test") or {}).get("auc") or {}
    known = [(value, name) for name in classes if (value := bounds(auc.get(name))[0]) is not None]
    sentences = []
    if len(known) > 1:
        best, worst = max(known)[1], min(known)[1]
        sentences.append(
            f"{best} is told from the rest best (AUC {estimate(auc[best])}), "
            f"{worst} worst ({estimate(auc[worst])})."
        )
    if left_out := (metrics.get("test") or {}).get("not_averaged"):
        are = "is" if len(left_out) == 1 else "are"
        sentences.append(
            f"{listed(left_out)} {are} left out of the macro mean: among the test cases there are not "
            "both some with the class and some without it, and its AUC is undefined."
        )
    if lost := chance_sentence(auc, tuple(classes)):
        sentences.append(lost)
    validation = ((metrics.get("validate") or {}).get("auc") or {}).get(GROUPS_AT_ONCE)
    if bounds(validation)[0] is not None:
        sentences.append(
            f"On the validation cases, which chose the epoch, the macro AUC is {estimate(validation)}."
        )
    return sentences


def limits(test: Mapping[str, Any], classes: Sequence[str], cases: pl.DataFrame) -> list[str]:
    """What a reader must keep in mind about these numbers."""
    sizes = {name: int(cases[f"label_{name}"].sum()) for name in classes}
    smallest = min(sizes, key=lambda name: sizes[name])
    _, low, high = bounds((test.get("auc") or {}).get(smallest))
    known = f"{number((high - low) / 2, 2)}" if low is not None and high is not None else ""
    patients = count(cases["patient"].n_unique(), "patient")
    return [
        f"The test set holds {count(cases.height, 'case')} of {patients}. "
        f"The rarest class, {smallest}, has {count(sizes[smallest], 'case')}; "
        + (f"its AUC is known to about ±{known}." if known else "its AUC has no interval."),
        "The intervals cover the choice of test patients. They do not cover another random start of the "
        "training, another split, another hospital or another reader.",
        "Agreement with gaze says where a map is bright, not why the classifier decided. One radiologist's "
        "gaze is one way of reading, not the truth.",
        "A heatmap can look right and depend little on what was learnt. Read it beside the floors.",
    ]


def _scalars(test: Mapping[str, Any], groups: Sequence[str]) -> list[tuple[str, list[Any]]]:
    """Rows of the second table: name and one entry per group."""
    at = test.get("sensitivity_at_specificity") or {}
    named = [(f"Sensitivity at {float(level):.0%} specificity ↑", at[level]) for level in at]
    named += [("Brier score ↓", test.get("brier")), ("Calibration error ↓", test.get("calibration_error"))]
    return [(name, [source.get(group) for group in groups]) for name, source in named if source]


def _compared(cases: Mapping[str, Any]) -> str:
    """On how many cases agreement was measured, and which maps were empty."""
    if not cases.get("compared"):
        return ""
    parts = [f"{count(cases['compared'], 'test case')} compared"]
    if cases.get("without_gaze"):
        parts.append(f"{cases['without_gaze']} without gaze left out")
    parts += [said for kind in baselines.evaluated().values() if (said := kind.remark(cases))]
    own = {k: n for k, n in (cases.get("constant_maps") or {}).items() if n and k not in FLOORS}
    if own:
        maps = listed([f"{MAPS.get(kind, kind)} {n}" for kind, n in own.items()])
        parts.append(f"maps that are the same everywhere, scored as chance: {maps}")
    return "; ".join(parts) + "."
