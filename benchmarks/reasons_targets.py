"""Target maps of comparison methods: what the own gaze, another patient's and a lung shape hold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.kept import Figures, kept
from benchmarks.phantom_methods import configured
from benchmarks.reasons import (
    PATIENTS,
    SEEDS,
    STRENGTH,
    TEST_PATIENTS,
    WORLDS,
    Cell,
    figures_of,
    methods,
    place_of,
    store_of,
)
from benchmarks.reasons_readers import BATCH, mask_of
from benchmarks.reasons_table import mean_of
from benchmarks.results import Result
from radgaze import experiments
from radgaze.runs.data import batches, dataset

WORLD = "marker"
EXPERIMENT = "energy"
"""The experiment whose training maps are measured; those of the others are the same."""

TARGETS = {"own": None, "shuffled": "shuffled", "lungs": "lungs"}
"""The control of each target."""

ABOVE = 0.05
"""Value above which `background` keeps a place."""

COLUMNS = {
    "lesion": "mean on the finding",
    "image": "mean of the image",
    "lesion above": f"finding above {ABOVE}",
    "marker above": f"marker above {ABOVE}",
    "image above": f"image above {ABOVE}",
}


def run(*, seeds: Sequence[int] = SEEDS, keep: str = "reasons") -> Result:
    """Measure how much of the finding and of the marker the target maps of training hold.

    Args:
        seeds: Seeds.
        keep: Folder for phantoms and figures, see the benchmark `reasons`.
    """
    found: dict[str, list[Figures]] = {name: [] for name in TARGETS}
    for seed in seeds:
        for name, of_targets in found.items():
            row = experiments.with_control(EXPERIMENT, TARGETS[name]) if TARGETS[name] else EXPERIMENT
            cell = Cell(WORLD, row, methods()[row], seed)
            path = figures_of(cell, Path(keep)).with_name(f"target {name}.json")
            figures = kept(path, partial(_figures, cell, place_of(cell, Path(keep))))
            if figures is not None:
                of_targets.append(figures)
    return Result(
        "What the maps hold that comparison methods train towards",
        f"The marker phantoms of the benchmark `reasons` ({WORLDS[WORLD]}). Target maps of the training "
        "cases with gaze, at the size of the model's input, with a maximum of 1: the case's own gaze, "
        "another patient's (`gaze.control=shuffled`), and a lung shape (`gaze.control=lungs`). Means over "
        "the pixels of the finding, of the marker and of the image, and the shares of them that are above "
        f"{ABOVE}, which `background` keeps. Means over cases; brackets are 95% t-intervals over seeds.",
        [
            {
                "target": name,
                "seeds": len(each),
                **{
                    word: mean_of([figures[figure] for figures in each], "")
                    for figure, word in COLUMNS.items()
                },
            }
            for name, each in found.items()
        ],
        {"patients": PATIENTS, "test patients": TEST_PATIENTS, "strength": STRENGTH},
    )


def _figures(cell: Cell, place: Path) -> Figures:
    store = store_of(cell, place)
    config = configured(cell.method, str(store.path), cell.seed)
    figures: dict[str, list[float]] = {}
    for batch in batches(dataset(store, config, "train", controlled=True), BATCH):
        maps = batch.gaze_maps().numpy()[:, 0]
        for case_id, target, usable in zip(batch.case_id, maps, batch.has_gaze.numpy(), strict=True):
            if not usable:
                continue
            everywhere = np.ones_like(target, dtype=bool)
            for part in ("lesion", "marker", "image"):
                truth = place / "raw" / "truth" / case_id / f"{part}.png"
                where = everywhere if part == "image" else mask_of(truth, len(target))
                if where is not None:
                    figures.setdefault(part, []).append(float(target[where].mean()))
                    figures.setdefault(f"{part} above", []).append(float((target[where] > ABOVE).mean()))
    return {name: round(float(np.mean(values)), 5) for name, values in figures.items()}
