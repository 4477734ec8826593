"""What an audit found: estimates with intervals, verdicts against the floors, and their files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from radgaze.evaluation import baselines
from radgaze.evaluation.audit.aspects import ASPECTS
from radgaze.evaluation.audit.aspects.subject import Floats
from radgaze.evaluation.audit.cache import SCHEMA, Part
from radgaze.evaluation.audit.ceilings import CEILINGS
from radgaze.evaluation.audit.sampling import Drawn
from radgaze.evaluation.statistics.evidence import Evidence
from radgaze.evaluation.statistics.means import Mean, means
from radgaze.evaluation.statistics.policy import bootstrap
from radgaze.evaluation.statistics.resampling import PatientBootstrap
from radgaze.evaluation.statistics.verdict import against_all, verdict
from radgaze.files import write_text
from radgaze.tables import write_csv, write_parquet

FLOORS = tuple(baselines.REGISTRY)
"""Maps that know nothing of the case."""
COMPARED = tuple(name for name, aspect in ASPECTS.items() if aspect.of_baselines)
"""Aspects in which the floors are measured too."""


@dataclass(frozen=True)
class Audit:
    """What `audit` found.

    Attributes:
        summary: What is in audit.json: of each method `figures`, `against_floors`, `changes` and `cascades`.
        table: method, aspect, metric, value, low, high, n, changes (with the weights; null of what has none);
            unrounded, null where undefined.
        cases: case_id, method, aspect, metric, value.
    """

    summary: dict[str, Any]
    table: pl.DataFrame
    cases: pl.DataFrame


def write(
    out: Path,
    parts: Sequence[Part],
    drawn: Drawn,
    classes: Sequence[str],
    *,
    resamples: int,
    seed: int,
    about: Mapping[str, Any],
) -> Audit:
    """Summarise the parts; write audit.json, audit.csv and cases.parquet into a folder.

    Args:
        out: Folder.
        parts: Of methods, floors and ceilings.
        drawn: The cases.
        classes: Within which patients are drawn again.
        resamples: Of the patient bootstrap.
        seed: Of the bootstrap.
        about: What else audit.json is to hold.
    """
    figures = pl.concat([pl.DataFrame(schema=SCHEMA), *(part.figures for part in parts)])
    found = _of_aspects(figures, drawn, classes, resamples, seed)
    entries = {
        key: mean.entry(ASPECTS[key[1]].metrics[key[2]].bounds)
        | {"n": int(np.isfinite(of.values[key]).sum()), "patients": mean.patients}
        for of in found.values()
        for key, mean in of.of(of.values).items()
    }
    methods = {}
    for part in parts:
        own = {key[1:]: one for key, one in entries.items() if key[0] == part.method}
        if not own:
            continue
        entry: dict[str, Any] = {"figures": {}}
        for (aspect, metric), of_metric in own.items():
            entry["figures"].setdefault(aspect, {})[metric] = of_metric
        alone = {
            "low": None,
            "high": None,
            "n": drawn.cases.height,
            "patients": drawn.cases["patient"].n_unique(),
        }
        for aspect, values in part.alone.items():
            of_all = {metric: {"value": value, **alone} for metric, value in values.items()}
            entry["figures"][aspect] = entry["figures"].get(aspect, {}) | of_all
        if part.method not in (*FLOORS, *CEILINGS):
            entry["against_floors"] = _against_floors(part.method, found)
            for name, of_aspect in ASPECTS.items():
                entry |= of_aspect.entry(entry["figures"].get(name, {}), part.details.get(name))
        methods[part.method] = entry
    summary = {
        **about,
        "cases": drawn.cases.height,
        "patients": drawn.cases["patient"].n_unique(),
        "probed": len(drawn.probed),
        **{key: value for aspect in ASPECTS.values() for key, value in aspect.thresholds.items()},
        "methods": methods,
    }
    audit = Audit(summary, _tidy(methods), figures)
    out.mkdir(parents=True, exist_ok=True)
    write_parquet(figures, out / "cases.parquet")
    write_csv(audit.table, out / "audit.csv")
    text = json.dumps(summary, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(text + "\n", out / "audit.json")
    return audit


Key = tuple[str, str, str]
"""Method, aspect, metric."""


@dataclass(frozen=True)
class _Means:
    """Figures of the same cases, and how these are drawn again: every mean and difference is of these draws.

    Attributes:
        cases: Those on which some figure of the aspect is known.
        values: (n,) of each method and metric of the aspect, NaN where undefined.
        draws: Of the cases.
    """

    cases: pl.DataFrame
    values: Mapping[Key, Floats]
    draws: PatientBootstrap

    def of(self, values: Mapping[Any, Floats]) -> dict[Any, Mean]:
        return means(values, self.cases["patient"].to_numpy(), self.draws)


def _of_aspects(
    figures: pl.DataFrame, drawn: Drawn, classes: Sequence[str], resamples: int, seed: int
) -> dict[str, _Means]:
    """Within an aspect all methods see the same resamples of the same cases, so differences are paired."""
    found: dict[str, _Means] = {}
    for aspect in ASPECTS:
        own = figures.filter((pl.col("aspect") == aspect) & pl.col("value").is_not_null())
        cases = drawn.cases.join(own, on="case_id", how="semi", maintain_order="left")
        if cases.is_empty():
            continue
        values: dict[Key, Floats] = {}
        for (method, metric), of_one in own.group_by("method", "metric", maintain_order=True):
            aligned = cases.select("case_id").join(of_one, on="case_id", how="left", maintain_order="left")
            values[str(method), aspect, str(metric)] = aligned["value"].cast(pl.Float64).to_numpy()
        found[aspect] = _Means(cases, values, bootstrap(cases, classes, resamples=resamples, seed=seed))
    return found


def _against_floors(method: str, found: Mapping[str, _Means]) -> dict[str, dict[str, Any]]:
    """How much better than each floor a method is, by aspect and floor, positive where it is; and a verdict:
    better than all, "even" with the best, or worse than one. Over cases on which both are known."""
    verdicts = {}
    for aspect in COMPARED:
        metric = ASPECTS[aspect].headline
        of = found.get(aspect)
        if of is None or (method, aspect, metric) not in of.values:
            continue
        own = of.values[method, aspect, metric]
        sign = 1.0 if ASPECTS[aspect].metrics[metric].higher_is_better else -1.0
        gained = {
            floor: sign * (own - of.values[floor, aspect, metric])
            for floor in FLOORS
            if (floor, aspect, metric) in of.values
        }
        entries = {floor: difference.difference() for floor, difference in of.of(gained).items()}
        said = against_all(verdict(entry) for entry in entries.values())
        rests_on = [Evidence(entry["patients"], entry["discordant"]) for entry in entries.values()]
        why = min((one.lacking for one in rests_on if one.lacking), default="")
        verdicts[aspect] = {"metric": metric, "differences": entries, "verdict": said, "lacking": why}
    return verdicts


def _tidy(methods: Mapping[str, Any]) -> pl.DataFrame:
    rows = [
        {"method": method, "aspect": aspect, "metric": metric}
        | {key: entry[key] for key in ("value", "low", "high", "n")}
        | {"changes": found.get("changes")}
        for method, found in methods.items()
        for aspect, figures in found["figures"].items()
        for metric, entry in figures.items()
    ]
    names = {"method": pl.String, "aspect": pl.String, "metric": pl.String}
    numbers = dict.fromkeys(("value", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, schema=names | numbers | {"n": pl.Int64, "changes": pl.Boolean})
