"""Measure what experiments rely on: phantoms with confounders of several kinds, and controls of the gaze."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
import torch

from benchmarks.kept import Figures, kept
from benchmarks.phantom_methods import Method, configured, trained_run
from benchmarks.reasons_table import BASELINE, CLEAN, Runs, shares_and_reliance, table
from benchmarks.results import Result
from radgaze import experiments
from radgaze.console import progress, say
from radgaze.evaluation import evaluate
from radgaze.evaluation.audit import confounders
from radgaze.evaluation.maps import case_maps
from radgaze.evaluation.options import GENERATOR, EvaluationOptions
from radgaze.evaluation.results import MACRO
from radgaze.locks import exclusive
from radgaze.reproduction.plans import controlled
from radgaze.reproduction.reasons import CONTROLS, EXPERIMENTS
from radgaze.runs.run import Run
from radgaze.simulation.archive import simulate
from radgaze.simulation.options import SimulationOptions
from radgaze.sources import egd
from radgaze.store.options import PrepareOptions
from radgaze.store.preparation import prepare
from radgaze.store.store import Store

SEEDS = (1, 2, 3, 4, 5)
"""Fixed before any of them was run."""

STRENGTH = 0.9
WORLDS = {CLEAN: "marker=0", **{kind: f"{kind}={STRENGTH}" for kind in ("marker", "device", "detector")}}
"""The confounder of each store."""

PATIENTS, TEST_PATIENTS, PIXELS, STORED = 1200, 400, 384, 256
MAPPED = 96
"""Number of test cases whose maps are measured."""

OF_DEMO = ("baseline", "set1_guided", "set3_guided", "exchange", "exchange_guided")
"""Experiments with the demo's γ; the others have their own, which their authors' weights belong to."""

FOUND = Path(__file__).parent / "results" / "reasons.json"

Quality = Literal["ideal", "typical", "poor"]

MACHINES = "The runs come from more than one kind of processor; the one named below is the last."


@dataclass(frozen=True)
class Cell:
    """One run of the table.

    Attributes:
        world: Name of the store.
        name: Name of the row: the experiment, with its control if any.
        method: The experiment and its settings.
        seed: Seed of the phantom, of the order of the cases and of the first weights.
        readers: Quality of the gaze, see `SimulationOptions.readers`.
    """

    world: str
    name: str
    method: Method
    seed: int
    readers: Quality = "typical"


def run(
    *,
    seeds: Sequence[int] = SEEDS,
    worlds: Sequence[str] = tuple(WORLDS),
    names: Sequence[str] | None = None,
    keep: str = "reasons",
    collect: bool = False,
) -> Result:
    """Train and evaluate the experiments of `reproduce --matrix reasons`, with their controls.

    Runs that the published results hold are not repeated. Several processes may share a folder: each takes
    what no other has begun.

    Args:
        seeds: Seeds.
        worlds: Names of the stores, of `WORLDS`.
        names: Rows; None for all.
        keep: Folder for phantoms, runs and figures: a stopped benchmark goes on from there.
        collect: Train nothing: take the figures of the runs that are there, of whatever process.
    """
    rows = {name: method for name, method in methods().items() if names is None or name in names}
    cells = [
        Cell(world, name, method, seed)
        for seed, world, (name, method) in product(seeds, worlds, rows.items())
        if world != CLEAN or name == BASELINE
    ]
    found = published(FOUND)
    for cell in cells:
        key = (cell.world, cell.name, cell.seed)
        measure = there if collect else measured
        if key not in found and (figures := measure(cell, Path(keep))) is not None:
            found[key] = figures
    return Result(
        "What each experiment relies on",
        f"Phantoms of {PATIENTS} patients and {TEST_PATIENTS} test patients with twins "
        f"(`radgaze phantom --confounder KIND={STRENGTH} --twins`), readers as in published figures, and "
        "the demo's network and settings; the experiments and controls of `radgaze reproduce --matrix "
        "reasons`. In training and validation patients the confounder follows the class; in the test "
        "patients, who are scored here, it tells nothing. AUC is the macro mean over the classes. Brackets "
        "are 95% t-intervals over seeds, each of which has its own phantom, patients and first weights; "
        "differences are paired by seed, and not corrected for their number. The gap closed is (AUC − B) / "
        "(C − B), with B the AUC of `baseline` and C that of `baseline` trained and tested on the clean "
        "phantom, with Fieller's interval. Reliance, total variation and flips are the effect of the "
        "confounder on the predictions, measured on twins. The share of a map is that on the pixels of the "
        f"confounder, mean over {MAPPED} test cases.",
        table(found, list(rows)),
        {"patients": PATIENTS, "test patients": TEST_PATIENTS, "strength": STRENGTH},
        [*shares_and_reliance(found), MACHINES],
        runs=[
            {"world": world, "name": name, "seed": seed, **figures}
            for (world, name, seed), figures in sorted(found.items())
        ],
    )


def methods() -> dict[str, Method]:
    """The rows of each store: experiments, each followed by its controls."""
    rows = {}
    for each in experiments.catalogue():
        if each.name in EXPERIMENTS:
            plain = Method(each.name, demo_gamma=each.name in OF_DEMO)
            rows[each.name] = plain
            for name in controlled(configured(plain, "", 0), CONTROLS):
                control = experiments.control_of(name)[1]
                rows[name] = Method(each.name, {"gaze": {"control": control}}, plain.demo_gamma)
    return rows


def published(path: Path, first: str = "world") -> Runs:
    """The figures of the runs in a result, by store (or another field, `first`), row and seed."""
    if not path.is_file():
        return {}
    runs = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return {(each.pop(first), each.pop("name"), each.pop("seed")): each for each in runs}


def measured(cell: Cell, folder: Path) -> Figures | None:
    """Figures of a run, kept in a folder; None while another process measures them."""
    place = place_of(cell, folder)
    store_of(cell, place)
    return kept(figures_of(cell, folder), partial(_figures, cell, place))


def there(cell: Cell, folder: Path) -> Figures | None:
    """Figures of a run that was measured; None without."""
    path = figures_of(cell, folder)
    figures: Figures | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    return figures


def place_of(cell: Cell, folder: Path) -> Path:
    """The folder of a store and its runs."""
    name = cell.world if cell.readers == "typical" else f"{cell.world}-{cell.readers}"
    return folder / f"{name}-{cell.seed}"


def figures_of(cell: Cell, folder: Path) -> Path:
    """The file of a run's figures."""
    return place_of(cell, folder) / "figures" / f"{cell.name}.json"


def store_of(cell: Cell, place: Path) -> Store:
    """The store of a run, made where it is missing; other processes wait for it."""
    path = place / "store"
    place.mkdir(parents=True, exist_ok=True)
    with exclusive(place / "store.lock", "another process makes the store", patience=3600):
        if not path.is_dir():
            say(f"Making the store {place.name}", bold=True)
            raw = place / "raw"
            with redirect_stdout(io.StringIO()):
                simulate(
                    SimulationOptions(
                        raw,
                        patients=PATIENTS,
                        test_patients=TEST_PATIENTS,
                        seed=cell.seed,
                        pixels=PIXELS,
                        confounder=(WORLDS[cell.world],),
                        readers=cell.readers,
                        twins=True,
                        workers=1,
                    )
                )
                cohort = egd.read(egd.EgdOptions(raw / "egd", raw / "mimic"))
                prepare(cohort, PrepareOptions(path, size=STORED, workers=1))
    return Store.open(path)


def _figures(cell: Cell, place: Path) -> Figures:
    say(f"{place.name}: {cell.name}", bold=True)
    config = configured(cell.method, str((place / "store").resolve()), cell.seed)
    with redirect_stdout(io.StringIO()):
        trained, seconds = trained_run(config, place / "runs" / cell.name.replace(" ", "_"))
        results = evaluate(trained, EvaluationOptions(resamples=1)).test
    figures = {"AUC": results.auc[MACRO].value}
    if seconds is not None:
        figures["seconds"] = seconds
    figures |= {f"AUC {name}": entry.value for name, entry in results.auc.items() if name != MACRO}
    for kind, each in results.agreement.items():
        if each and kind in ("heatmap", "grad_cam", "mask"):
            figures[f"{kind} NSS"] = each["nss"].value
    for each in (results.reliance or {}).values():  # of one confounder
        figures |= {name: entry.value for name, entry in each.metrics.items() if entry.value is not None}
    return {name: round(value, 5) for name, value in (figures | shares(trained)).items()}


def shares(trained: Run) -> Figures:
    """Mean shares of a run's maps on the confounder, over test cases that show it; empty without such cases.

    Args:
        trained: The run, whose store has twins with one confounder.
    """
    predictions = trained.predictions().filter(pl.col("split") == "test")
    ids = list(predictions["case_id"].head(MAPPED))
    maps = case_maps(trained, ids, generator=GENERATOR)
    images = {each: torch.from_numpy(image)[None] for each, image in zip(ids, maps.image, strict=True)}
    twins = confounders.twins_of(trained, "test", ids)
    model = trained.model("cpu")
    with progress("Finding the confounder", total=len(twins)) as bar:
        found = confounders.load(trained, model, images, twins, "cpu", bar)
    places = {
        view.case_id: view.place for each in found if each.has_place for view in each.views if not view.twin
    }
    places = {case_id: place for case_id, place in places.items() if place.any()}
    figures = {}
    for kind, of_cases in (("heatmap", maps.heatmap), ("grad_cam", maps.grad_cam)):
        if of_cases is not None and places:
            each = [
                float(one[places[case_id]].sum() / one.sum())
                for case_id, one in zip(ids, of_cases, strict=True)
                if case_id in places and one.sum() > 0
            ]
            figures[f"{kind} share"] = float(np.mean(each))
    if places:
        figures["area"] = float(np.mean([place.mean() for place in places.values()]))
    return figures
