"""The table of the benchmark `reasons`: means over seeds, differences, and the gap closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import spearmanr

from benchmarks.results import Cell
from radgaze import experiments
from radgaze.evaluation.statistics.across_seeds import across
from radgaze.evaluation.statistics.ratio import ratio_over_seeds
from radgaze.evaluation.statistics.resampling import Estimate

BASELINE, CLEAN = "baseline", "clean"

Runs = dict[tuple[str, str, int], Mapping[str, float]]
"""Figures of each run, by store, row and seed."""

FIGURES = {
    "reliance": "reliance",
    "total variation": "total_variation",
    "flips": "flips",
    "heatmap NSS": "heatmap NSS",
    "heatmap share": "heatmap share",
    "Grad-CAM share": "grad_cam share",
}
"""Columns of means, and the figures that they average."""

NONE = "–"
LEAST = 3
"""Number of seeds below which no interval is given."""


def table(runs: Runs, names: Sequence[str]) -> list[dict[str, Cell]]:
    """A row for each store and experiment, controls after their experiment."""
    worlds = dict.fromkeys(world for world, _, _ in runs)
    rows = [
        _row(runs, world, name) for world in worlds for name in names if of_seeds(runs, world, name, "AUC")
    ]
    said = [column for column in (rows[0] if rows else ()) if any(row[column] != NONE for row in rows)]
    return [{column: row[column] for column in said} for row in rows]


def _row(runs: Runs, world: str, name: str) -> dict[str, Cell]:
    aucs = of_seeds(runs, world, name, "AUC")
    row: dict[str, Cell] = {
        "store": world,
        "experiment": name,
        "seeds": len(aucs),
        "AUC": mean_of(list(aucs.values()), ""),
        "minus baseline": _difference(runs, world, name, BASELINE) if name != BASELINE else NONE,
        "gap closed": gap_closed(runs, world, name),
    }
    for column, figure in FIGURES.items():
        row[column] = mean_of(list(of_seeds(runs, world, name, figure).values()), "")
    for control in ("shuffled", "lungs"):
        row[f"AUC minus {control}"] = _difference(runs, world, name, experiments.with_control(name, control))
    return row


def of_seeds(runs: Runs, world: str, name: str, figure: str) -> dict[int, float]:
    """A figure of each seed of a row that has it."""
    return {
        seed: figures[figure]
        for (of_world, of_name, seed), figures in runs.items()
        if (of_world, of_name) == (world, name) and figure in figures
    }


def _difference(runs: Runs, world: str, name: str, other: str) -> str:
    one, two = (of_seeds(runs, world, each, "AUC") for each in (name, other))
    return mean_of([one[seed] - two[seed] for seed in one if seed in two], "+")


def mean_of(values: Sequence[float], sign: str) -> str:
    """The mean over seeds, with its 95% t-interval."""
    if not values:
        return NONE
    text = f"{np.mean(values):{sign}.3f}"
    if len(values) < LEAST:
        return text
    low, high = across([Estimate(value, np.empty(0)) for value in values]).interval
    return f"{text} [{low:{sign}.3f}, {high:{sign}.3f}]"


def gap_closed(runs: Runs, world: str, name: str) -> str:
    """The gap that a row closes; a dash where it is undefined, see `radgaze.evaluation.gap`."""
    method, base, clean = (
        of_seeds(runs, *where, "AUC") for where in ((world, name), (world, BASELINE), (CLEAN, BASELINE))
    )
    seeds = [seed for seed in method if seed in base and seed in clean]
    if world == CLEAN or name == BASELINE or len(seeds) < LEAST:
        return NONE
    above, below = (
        [Estimate(each[seed] - base[seed], np.empty(0)) for seed in seeds] for each in (method, clean)
    )
    if across(below).interval[0] <= 0:
        return NONE
    value, (low, high) = ratio_over_seeds(above, below)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def shares_and_reliance(runs: Runs) -> list[str]:
    """State, for each store and map, whether runs whose map avoids the confounder rely on it less."""
    notes = []
    for world in dict.fromkeys(world for world, _, _ in runs):
        for word, figure in (("Guided back-propagation", "heatmap share"), ("Grad-CAM", "grad_cam share")):
            pairs = [
                (figures[figure], figures["total_variation"])
                for (of_world, _, _), figures in runs.items()
                if of_world == world and figure in figures and "total_variation" in figures
            ]
            if len(pairs) >= LEAST:
                correlation = spearmanr(*zip(*pairs, strict=True)).statistic
                notes.append(
                    f"{word}, {world}: over {len(pairs)} runs, the rank correlation of a run's mean share on "
                    f"the confounder with its total variation is {correlation:.2f}."
                )
    return notes
