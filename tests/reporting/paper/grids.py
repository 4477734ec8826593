"""Small grids of fake runs, and made figures for what needs no runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from radgaze.evaluation.across_runs import Difference, GridEstimates, SeedMean
from radgaze.evaluation.results import MACRO
from radgaze.reporting.paper import Results
from radgaze.runs.run import Run
from tests.reporting.fakes import CLASSES, FakeRun, evaluated

SKILL = {"baseline": 1.0, "no_decoder": 0.9, "set1_guided": 1.0, "set3_guided": 2.4, "temporal": 0.7}
NEARER = {"set3_guided": 1.2, "set1_guided": 0.2}  # how far the heatmap lies above the lung shape
REASON = "CUDA out of memory; the store was /archives of somebody/private archive/store\nTraceback …"


def grid(
    folder: Path,
    experiments: Sequence[str] = ("baseline", "no_decoder", "set3_guided"),
    seeds: Sequence[int] = (0, 1),
    *,
    protocol: str = "honest",
    selection: str = "validation",
    failed: Mapping[tuple[str, int], str] | None = None,
    **options: Any,
) -> Results:
    """A grid whose runs are evaluated; each seed has test cases of its own, the same for every experiment."""
    runs: dict[str, dict[int, Run]] = {}
    for place, name in enumerate(experiments):
        for seed in seeds:
            if (name, seed) in (failed or {}):
                continue
            run = FakeRun(
                folder / name / f"seed-{seed}",
                experiment="no_decoder" if name == "no_decoder" else "set3_guided",
                seed=100 * place + seed,
                cases=seed,
                skill=SKILL.get(name, 1.0),
                decoder=name != "no_decoder",
                **{"test_cases": 72, **options},
            )
            evaluated(run, heatmap=NEARER.get(name, -0.2))
            runs.setdefault(name, {})[seed] = run
    return Results(protocol=protocol, selection=selection, runs=runs, failed=failed or {})


def mean(value: float, half: float = 0.03, **others: Any) -> SeedMean:
    """A figure with its interval."""
    return SeedMean(**{"value": value, "low": value - half, "high": value + half, **others})


def change(value: float, half: float = 0.03, **others: Any) -> Difference:
    """A paired difference with its interval."""
    return Difference(**{"value": value, "low": value - half, "high": value + half, **others})


def made(
    auc: Mapping[str, float],
    differences: Mapping[str, dict[str, dict[str, Difference]]] | None = None,
    classes: tuple[str, ...] = CLASSES,
) -> GridEstimates:
    """Figures that no run has: each experiment has one AUC, in all groups."""
    groups = (MACRO, *classes)
    return GridEstimates(
        classes=classes,
        auc={name: {g: mean(value) for g in groups} for name, value in auc.items()},
        seeds={
            name: {0: dict.fromkeys((*groups, "validation", "nss"), value)} for name, value in auc.items()
        },
        agreement={name: {"heatmap": {"nss": mean(value)}} for name, value in auc.items()},
        localisation={},
        differences=differences or {},
        best=max(auc, key=lambda name: auc[name]) if auc else None,
    )


def results(names: Sequence[str], **options: Any) -> Results:
    """Results whose runs are never opened."""

    class Nobody:
        classes = options.pop("classes", CLASSES)

    given = {"protocol": "honest", "selection": "validation", "failed": {}, **options}
    nobody = cast(Run, Nobody())  # of whom only the classes are asked
    return Results(runs={name: {0: nobody} for name in names}, **given)
