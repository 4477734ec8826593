"""The choice of the settings of `exchange` and `exchange_guided`, on development seeds alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.phantom_methods import Method
from benchmarks.reasons import MACHINES, PATIENTS, STRENGTH, TEST_PATIENTS, Cell, measured, published
from benchmarks.reasons_table import BASELINE, CLEAN, table
from benchmarks.results import Result
from radgaze import experiments

SEEDS = (101, 102, 103)
"""Development seeds: their phantoms serve this choice alone."""

WORLDS = (CLEAN, "marker", "device")
FOUND = Path(__file__).parent / "results" / "reasons_tuning.json"


def run(
    *,
    seeds: Sequence[int] = SEEDS,
    worlds: Sequence[str] = WORLDS,
    names: Sequence[str] | None = None,
    keep: str = "reasons",
) -> Result:
    """Train and evaluate variants of counterfactual training on development phantoms.

    Args:
        seeds: Seeds.
        worlds: Names of the stores.
        names: Rows; None for all.
        keep: Folder for phantoms, runs and figures, see the benchmark `reasons`.
    """
    found = published(FOUND)
    rows = {name: method for name, method in variants().items() if names is None or name in names}
    for seed, world, (name, method) in product(seeds, worlds, rows.items()):
        key = (world, name, seed)
        if key in found or (world == CLEAN and name != BASELINE):
            continue
        if (figures := measured(Cell(world, name, method, seed), Path(keep))) is not None:
            found[key] = figures
    return Result(
        "Settings of counterfactual training",
        "As the benchmark `reasons`, on phantoms that serve the choice of settings alone. γ is the weight of "
        "the classification; the demo's is 0.1.",
        table(found, list(variants())),
        {"patients": PATIENTS, "test patients": TEST_PATIENTS, "strength": STRENGTH},
        [MACHINES],
        runs=[
            {"world": world, "name": name, "seed": seed, **figures}
            for (world, name, seed), figures in sorted(found.items())
        ],
    )


def variants() -> dict[str, Method]:
    """The variants by the name of their row, each followed by its control."""
    rows = {name: Method(name, demo_gamma=True) for name in (BASELINE, "set3_guided")}

    def add(name: str, experiment: str, gamma: float = 0.1, **counterfactual: object) -> None:
        overrides = {"objective": {"gamma": gamma}, "counterfactual": counterfactual}
        rows[name] = Method(experiment, overrides, demo_gamma=True)
        control = {**overrides, "gaze": {"control": "shuffled"}}
        rows[experiments.with_control(name, "shuffled")] = Method(experiment, control, demo_gamma=True)

    for threshold in (0.05, 0.1):
        add(f"exchange, threshold {threshold}", "exchange", threshold=threshold)
        add(f"exchange_guided, threshold {threshold}", "exchange_guided", threshold=threshold)
    add("exchange_guided, threshold 0.05, γ 0.3", "exchange_guided", 0.3, threshold=0.05)
    add("exchange_guided, threshold 0.05, share 0.5", "exchange_guided", threshold=0.05, share=0.5)
    for threshold in (0.05, 0.2):
        add(
            f"exchange_guided, threshold {threshold}, own", "exchange_guided", threshold=threshold, keep="own"
        )
    return rows
