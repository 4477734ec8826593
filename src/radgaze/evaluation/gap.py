"""The gap closed: how much of what a confounder costs a method recovers.

It is (A − B) / (C − B), with A the macro AUC of the method, B that of the baseline trained on the same store,
and C that of the baseline trained on a clean store, where the confounder tells nothing: 0 for the baseline
itself, and 1 where a method is as good as if there had been no confounder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from radgaze.evaluation.per_run import Grid, aucs, distinct, with_own_patients
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.seed_differences import SeedMean, over_seeds
from radgaze.evaluation.statistics.evidence import too_few_seeds
from radgaze.evaluation.statistics.policy import bootstraps
from radgaze.evaluation.statistics.ratio import ratio_over_seeds
from radgaze.evaluation.statistics.resampling import Estimate, number

if TYPE_CHECKING:
    from radgaze.runs.run import Run

BASELINE = "baseline"
"""The experiment whose gap is closed."""

Lack = Literal["", "no clean run", "no baseline", "no common seed", "no gap"]


@dataclass(frozen=True)
class Gap(SeedMean):
    """The gap that one experiment closed.

    Attributes:
        lack: Reason why it is undefined; empty where it is defined. "no gap" means that the interval of the
            gap of the runs in question does not lie above 0.
    """

    lack: Lack = ""


@dataclass(frozen=True)
class Gaps:
    """The gap of a store, and how much of it each experiment closed.

    Attributes:
        clean: Macro AUC of the baseline trained on the clean store, on that store's test cases.
        size: The gap C − B.
        closed: The gap that each experiment closed, without the baseline.
        lack: Reason why the gap is undefined for all experiments; empty where it is defined.
        shared: Number of the compared seeds for which the clean run has the same test patients. For these,
            all AUCs are on the same resamples of the patients; for the others, those of the clean run are
            on resamples of their own.
        seeds: Number of the compared seeds.
    """

    clean: SeedMean = field(default_factory=lambda: SeedMean(None, seeds=0))
    size: SeedMean = field(default_factory=lambda: SeedMean(None, seeds=0))
    closed: Mapping[str, Gap] = field(default_factory=dict)
    lack: Lack = ""
    shared: int = 0
    seeds: int = 0


@dataclass(frozen=True)
class _Aucs:
    """Macro AUCs of each experiment and seed, and of the clean runs, by seed."""

    runs: Mapping[str, Mapping[int, Estimate]]
    clean: Mapping[int, Estimate]
    shared: frozenset[int]


def gaps(
    runs: Grid,
    clean: Mapping[int, Run],
    classes: Sequence[str],
    *,
    reference: str = BASELINE,
    resamples: int,
    seed: int,
) -> Gaps:
    """Compute the gap that each experiment closed, paired by seed.

    It is a ratio of means over the seeds that the experiment, the baseline and the clean runs have in common,
    with Fieller's interval (`statistics.ratio`).

    Args:
        runs: The runs of each experiment on one store (for each seed), controls among them.
        clean: Runs of the baseline on the clean store, by seed.
        classes: Names of the classes of all runs.
        reference: Name of the baseline among the experiments.
        resamples: Number of resamples of the patient bootstrap.
        seed: Seed of the resamples.
    """
    others = [name for name, by_seed in runs.items() if name != reference and by_seed]
    lack: Lack = ""
    if not clean:
        lack = "no clean run"
    elif not runs.get(reference):
        lack = "no baseline"
    elif not set(clean) & set(runs[reference]):
        lack = "no common seed"
    if not clean or lack == "no clean run":
        return Gaps(closed={name: Gap(None, seeds=0, lack=lack) for name in others}, lack=lack)
    aucs_by_run = _aucs(runs, clean, classes, reference, resamples=resamples, seed=seed)
    cleaned = over_seeds([*aucs_by_run.clean.values()], (0, 1))
    if lack:
        return Gaps(cleaned, closed={name: Gap(None, seeds=0, lack=lack) for name in others}, lack=lack)
    common = [s for s in aucs_by_run.clean if s in aucs_by_run.runs[reference]]
    size = over_seeds([aucs_by_run.clean[s] - aucs_by_run.runs[reference][s] for s in common], (-1, 1))
    return Gaps(
        clean=cleaned,
        size=size,
        closed={name: _closed(aucs_by_run, name, reference) for name in others},
        lack="" if _is_gap(size) else "no gap",
        shared=sum(s in aucs_by_run.shared for s in common),
        seeds=len(common),
    )


def _closed(aucs_by_run: _Aucs, name: str, reference: str) -> Gap:
    method, base = aucs_by_run.runs[name], aucs_by_run.runs[reference]
    common = [s for s in aucs_by_run.clean if s in method and s in base]
    above, below = [method[s] - base[s] for s in common], [aucs_by_run.clean[s] - base[s] for s in common]
    defined = [k for k in range(len(common)) if np.isfinite([above[k].value, below[k].value]).all()]
    above, below = [above[k] for k in defined], [below[k] for k in defined]
    if not defined:
        return Gap(None, seeds=0, lack="no common seed")
    if not _is_gap(over_seeds(below, (-1, 1))):
        return Gap(None, seeds=len(defined), lack="no gap")
    value, (low, high) = ratio_over_seeds(above, below)
    if too_few_seeds(len(defined)):
        return Gap(value, seeds=len(defined))
    return Gap(value, number(low), number(high), seeds=len(defined))


def _is_gap(size: SeedMean) -> bool:
    """Whether the interval of a gap lies above 0; where two seeds have no interval, whether the gap does."""
    least = size.value if size.has_too_few_seeds else size.low
    return least is not None and least > 0


def _aucs(
    runs: Grid, clean: Mapping[int, Run], classes: Sequence[str], reference: str, *, resamples: int, seed: int
) -> _Aucs:
    """The macro AUCs on resamples of the patients that runs on the same test patients share."""
    keys = [(name, s) for name, by_seed in runs.items() for s in sorted(by_seed)]
    tests = _tests([runs[name][s] for name, s in keys])
    clean_tests = _tests([clean[s] for s in sorted(clean)])
    apart = 1 + max((int(table["patient"].max() or 0) for table in tests), default=0)  # type: ignore[arg-type]  # integers
    shared, by_key = set(), dict(zip(keys, tests, strict=True))
    for place, s in enumerate(sorted(clean)):
        other = by_key.get((reference, s))
        if other is not None and _same_patients(runs[reference][s], clean[s], classes):
            shared.add(s)
            clean_tests[place] = clean_tests[place].with_columns(other["patient"])
        else:
            clean_tests[place] = clean_tests[place].with_columns(pl.col("patient") + apart)
    tables = [*tests, *clean_tests]
    draws = bootstraps([distinct(table) for table in tables], classes, resamples=resamples, seed=seed)
    members = [*(runs[name][s] for name, s in keys), *(clean[s] for s in sorted(clean))]
    macros = [
        aucs(table, classes, each, exclusive=run.exclusive)[MACRO]
        for table, each, run in zip(tables, draws, members, strict=True)
    ]
    by_run: dict[str, dict[int, Estimate]] = {name: {} for name in runs}
    for (name, s), estimate in zip(keys, macros, strict=False):
        by_run[name][s] = estimate
    return _Aucs(by_run, dict(zip(sorted(clean), macros[len(keys) :], strict=True)), frozenset(shared))


def _tests(runs: Sequence[Run]) -> list[pl.DataFrame]:
    return [table.filter(pl.col("split") == "test") for table in with_own_patients(runs)]


def _same_patients(run: Run, clean: Run, classes: Sequence[str]) -> bool:
    """Whether two runs have the same test cases of the same patients with the same labels, in one order."""
    columns = ["case_id", "patient", *(f"label_{name}" for name in classes)]
    first, second = (
        each.predictions().filter(pl.col("split") == "test").select(columns) for each in (run, clean)
    )
    return first.equals(second)
