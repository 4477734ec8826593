"""Why the case's own gaze adds little on the device: what regions keep, each class, and ideal readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.kept import Figures, kept
from benchmarks.phantom_methods import configured
from benchmarks.reasons import (
    FOUND,
    MACHINES,
    PATIENTS,
    SEEDS,
    STRENGTH,
    TEST_PATIENTS,
    WORLDS,
    Cell,
    Quality,
    figures_of,
    measured,
    methods,
    place_of,
    published,
    store_of,
    there,
)
from benchmarks.reasons_table import BASELINE, CLEAN, NONE, mean_of, of_seeds
from benchmarks.results import Cell as Entry
from benchmarks.results import Result
from radgaze import experiments
from radgaze.runs.data import batches, dataset
from radgaze.training.counterfactual import regions

WORLD = "device"
READERS: tuple[Quality, ...] = ("typical", "ideal")
EXPERIMENTS = ("set3_guided", "exchange_guided")
REGION = "exchange_guided"
"""The experiment whose regions are measured."""

BATCH = 50
HALF = 127
KEPT = Path(__file__).parent / "results" / "reasons_readers.json"

Key = tuple[str, str, int]
"""Readers, what was measured, and the seed."""


def run(*, seeds: Sequence[int] = SEEDS, keep: str = "reasons", collect: bool = False) -> Result:
    """Compare the case's own gaze with another patient's on the device, for typical and for ideal readers.

    Runs that the published results of this benchmark and of `reasons` hold are not repeated. Several
    processes may share a folder: each takes what no other has begun.

    Args:
        seeds: Seeds.
        keep: Folder for phantoms, runs and figures, see the benchmark `reasons`.
        collect: Train nothing: take the figures of the runs that are there.
    """
    measure = there if collect else _figures
    found: dict[Key, Figures] = {
        ("typical", name, seed): dict(figures)
        for (world, name, seed), figures in published(FOUND).items()
        if world == WORLD and name in _rows()
    }
    found |= {key: dict(figures) for key, figures in published(KEPT, "readers").items()}
    for seed, readers in product(seeds, READERS):
        for name in (*_rows(), "regions"):
            if (readers, name, seed) not in found:
                method = methods()[REGION if name == "regions" else name]
                figures = measure(Cell(WORLD, name, method, seed, readers), Path(keep))
                if figures is not None:
                    found[readers, name, seed] = figures
    return Result(
        "Own gaze and another patient's on the device: regions, classes and ideal readers",
        f"The device phantoms of the benchmark `reasons` ({WORLDS[WORLD]}), and the same ones read by ideal "
        "readers (`radgaze phantom --readers ideal`), who dwell on every finding and do not glance at the "
        "device, with a tracker without an offset. Anatomy, findings and images are the same. The first rows "
        f"are the shares of the finding and of the device in the region that `{REGION}` keeps, and that "
        "region's share of the image, means over the training cases; the others are AUCs of "
        "test patients, in whom the device tells nothing. Own is with the case's own gaze in training, "
        "shuffled with another patient's. Brackets are 95% t-intervals over seeds; differences are paired by "
        "seed, and not corrected for their number.",
        _table(found),
        {"patients": PATIENTS, "test patients": TEST_PATIENTS, "strength": STRENGTH},
        [_harm(), MACHINES],
        runs=[
            {"readers": readers, "name": name, "seed": seed, **figures}
            for (readers, name, seed), figures in sorted(found.items())
        ],
    )


def _harm() -> str:
    """Say what the device costs the baseline."""
    runs = published(FOUND)
    with_device, clean = (of_seeds(runs, world, BASELINE, "AUC") for world in (WORLD, CLEAN))
    paired = [with_device[seed] - clean[seed] for seed in with_device if seed in clean]
    return (
        f"The macro AUC of `{BASELINE}` on this store minus that on the clean one, both trained and tested "
        f"there: {mean_of(paired, '+')}, {len(paired)} seeds."
    )


def _rows() -> list[str]:
    """The experiments, each followed by its control."""
    return [row for name in EXPERIMENTS for row in (name, experiments.with_control(name, "shuffled"))]


def _figures(cell: Cell, folder: Path) -> Figures | None:
    if cell.name != "regions":
        return measured(cell, folder)
    return kept(figures_of(cell, folder), partial(_regions, cell, place_of(cell, folder)))


def _regions(cell: Cell, place: Path) -> Figures:
    """Mean shares that the regions of the own and of another patient's gaze keep."""
    store = store_of(cell, place)
    figures: dict[str, list[float]] = {}
    for whose, name in (("own", REGION), ("shuffled", experiments.with_control(REGION, "shuffled"))):
        config = configured(methods()[name], str(store.path), cell.seed)
        cases = dataset(store, config, "train", controlled=True)
        for batch in batches(cases, BATCH):
            inside, has_region = (each.numpy() for each in regions(batch, config.counterfactual))
            for case_id, region, usable in zip(batch.case_id, inside[:, 0], has_region, strict=True):
                if not usable:
                    continue
                figures.setdefault(f"area, {whose}", []).append(float(region.mean()))
                for part in ("lesion", "device"):
                    where = mask_of(place / "raw" / "truth" / case_id / f"{part}.png", len(region))
                    if where is not None:
                        figures.setdefault(f"{part}, {whose}", []).append(float(region[where].mean()))
    return {name: round(float(np.mean(values)), 5) for name, values in figures.items()}


def mask_of(path: Path, size: int) -> np.ndarray | None:
    """A mask of the phantom on the model's input (size, size), stretched; None where it is empty."""
    if not path.is_file():
        return None
    with Image.open(path) as image:
        inside = np.asarray(image.convert("L").resize((size, size), Image.Resampling.BOX)) > HALF
    return inside if inside.any() else None


def _table(found: dict[Key, Figures]) -> list[dict[str, Entry]]:
    """A row for each figure and kind of readers."""
    rows: list[dict[str, Entry]] = []
    for word, part in (
        ("finding in the region", "lesion"),
        ("device in the region", "device"),
        ("area of the region", "area"),
    ):
        for readers in READERS:
            regions_of = partial(_of_seeds, found, readers, "regions")
            rows.append(_row(word, readers, regions_of(f"{part}, own"), regions_of(f"{part}, shuffled")))
    for name in EXPERIMENTS:
        for word, figure in {
            "macro AUC": "AUC",
            **{f"AUC of {each}": f"AUC {each}" for each in ("Normal", "CHF", "pneumonia")},
        }.items():
            for readers in READERS:
                of: Callable[[str], dict[int, float]] = partial(_of_seeds, found, readers, figure=figure)
                own, shuffled = of(name), of(experiments.with_control(name, "shuffled"))
                rows.append(_row(f"`{name}`, {word}", readers, own, shuffled))
    return rows


def _of_seeds(found: dict[Key, Figures], readers: str, name: str, figure: str) -> dict[int, float]:
    return {
        seed: figures[figure]
        for (of_readers, of_name, seed), figures in found.items()
        if (of_readers, of_name) == (readers, name) and figure in figures
    }


def _row(word: str, readers: str, own: dict[int, float], shuffled: dict[int, float]) -> dict[str, Entry]:
    seeds = [seed for seed in own if seed in shuffled]
    return {
        "figure": word,
        "readers": readers,
        "seeds": len(seeds),
        "own": mean_of([own[seed] for seed in seeds], ""),
        "shuffled": mean_of([shuffled[seed] for seed in seeds], ""),
        "own minus shuffled": mean_of([own[seed] - shuffled[seed] for seed in seeds], "+") if seeds else NONE,
    }
