"""Runs of the matrix of reasons whose predictions and twins are made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from radgaze.reporting.paper import Results
from radgaze.reporting.reasons import ReasonsResults
from radgaze.runs.run import Run
from tests.evaluation.test_grid_reliance import add_twins
from tests.reporting.fakes import FakeRun, evaluated

SKILL = {"baseline": 0.4, "set3_guided": 0.7, "exchange": 1.3, "no_decoder": 0.4}
RELIANCE = {"baseline": 0.4, "set3_guided": 0.25, "exchange": 0.02, "no_decoder": 0.42}
CONTROLS = {"shuffled": 0.7, "lungs": 0.9}
"""Share of the skill of the experiment that a control has."""


def runs_on(
    folder: Path,
    names: Sequence[str],
    seeds: Sequence[int],
    *,
    skill: float | None = None,
    cases: int = 0,
    twins: bool = True,
) -> dict[str, dict[int, Run]]:
    """Evaluated runs on one store, whose test cases are those of number `cases`."""
    made: dict[str, dict[int, Run]] = {}
    for place, name in enumerate(names):
        experiment, _, control = name.partition("+")
        for seed in seeds:
            own = SKILL[experiment] if skill is None else skill
            run = FakeRun(
                folder / name / f"seed-{seed}",
                experiment=experiment,
                seed=1000 * place + seed + sum(map(ord, folder.name)),
                cases=cases,
                skill=own * CONTROLS.get(control, 1.0),
                test_cases=90,
            )
            evaluated(run, heatmap=0.1)
            if twins:
                add_twins(run, RELIANCE[experiment], 10 * place + seed)
            made.setdefault(name, {})[seed] = run
    return made


def reasons_of(
    stores: Mapping[str, Mapping[str, Mapping[int, Run]]],
    failed: Mapping[str, Mapping[tuple[str, int], str]] | None = None,
    selection: str = "validation",
) -> ReasonsResults:
    """Results of the runs on each store."""
    return ReasonsResults(
        {
            name: Results("honest", selection, runs, (failed or {}).get(name, {}))
            for name, runs in stores.items()
        }
    )
