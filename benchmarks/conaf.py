"""`conaf` on phantoms whose findings have boxes: does the class map learn where this case's finding is?"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import polars as pl
from scipy.stats import t

from benchmarks.kept import Figures, kept
from benchmarks.phantom_methods import Method, configured, trained_run, value_of
from benchmarks.results import Cell, Result
from radgaze.cli.demo_sizes import FULL
from radgaze.console import say
from radgaze.evaluation import evaluate
from radgaze.evaluation.options import EvaluationOptions
from radgaze.simulation.archive import simulate
from radgaze.sources import reflacx
from radgaze.store.controls import donors
from radgaze.store.marks import is_finding
from radgaze.store.options import PrepareOptions
from radgaze.store.preparation import prepare

SEEDS = (7, 1, 2)
"""The first three seeds of the benchmark `phantom_methods`."""

OWN, CONTROL = "store", "store-control"
"""Folders of the store with each case's own boxes, and of that with boxes of other cases."""

METRICS = {"pointing_game": "pointing game", "energy_inside": "energy inside", "iou": "IoU"}
"""Metrics of the localisation of the test cases' boxes, and their words in the table."""

COLUMNS = ("AUC", *METRICS.values())

MODEL_FREE = {"mean_gaze": "mean gaze of the training cases", "lung_shape": "lung shape"}
"""Maps that need no model, and their rows."""

CONAF = "conaf"
"""The row that the others are compared with."""


@dataclass(frozen=True)
class Variant:
    """A row of the table: overrides of the experiment, and the store that it learns from."""

    overrides: Mapping[str, object] = field(default_factory=dict)
    store: str = OWN


VARIANTS = {
    CONAF: Variant(),
    "conaf, boxes of another case with the same findings": Variant(store=CONTROL),
    "conaf without its localisation term (γ = 1)": Variant({"objective": {"gamma": 1.0}}),
}


def run(*, seeds: Sequence[int] = SEEDS, keep: str = "conaf") -> Result:
    """Train and evaluate each variant on the phantom of each seed.

    Args:
        seeds: Seeds of the phantoms, of the order of the cases and of the first weights.
        keep: Folder for phantoms, runs and figures: a stopped benchmark goes on from there.
    """
    found: dict[str, list[Figures]] = {name: [] for name in (*VARIANTS, *MODEL_FREE.values())}
    for seed, (name, variant) in product(seeds, VARIANTS.items()):
        folder = Path(keep) / f"seed-{seed}"
        figures = kept(folder / "figures" / f"{name}.json", partial(_figures, variant, name, folder, seed))
        if figures is None:
            continue
        found[name].append({"AUC": figures["AUC"], **_of_map(figures, "mask")})
        if name == CONAF:
            for kind, title in MODEL_FREE.items():
                found[title].append(_of_map(figures, kind))
    return Result(
        "conaf on phantoms whose findings have boxes",
        "Phantoms of the size of `radgaze demo` in the layout of REFLACX, in which each finding has an "
        "ellipse; the demo's network and settings. A burnt-in marker follows the disease with strength "
        f"{FULL.confounding:g} in training and validation patients, and tells nothing in the test patients, "
        "who are scored here. Of each test case with findings the ellipses of one are compared with the "
        "class map of this finding, which is that of the highest probability to the run; of a map without "
        "any information, pointing game and energy are the share of the pixels that are inside. “Another "
        "case” has the same findings and is of another patient; its ellipses are scaled to the image. Mean "
        "gaze and lung shape need no model. Mean ± standard deviation over seeds.",
        [row(name, figures) for name, figures in found.items() if figures],
        {"patients": FULL.patients, "pixels": FULL.pixels, "seeds": ", ".join(map(str, seeds))},
        [difference(name, found[CONAF], figures) for name, figures in found.items() if name != CONAF]
        if len(found[CONAF]) > 1
        else ["With one seed there is no interval over seeds."],
    )


def stores(folder: Path, seed: int) -> None:
    """Make the phantom of a seed and both of its stores, unless they are there already."""
    phantom = folder / "phantom"
    if not (phantom / "planted.json").is_file():
        simulate(replace(FULL.simulation(phantom, seed), reflacx=True, twins=False))
    if (folder / CONTROL / "manifest.json").is_file():
        return
    cohort = reflacx.read(reflacx.ReflacxOptions(phantom / "reflacx", phantom / "mimic", phases=(3,)))
    own = prepare(cohort, PrepareOptions(folder / OWN, size=256))
    control = replace(cohort, boxes=exchanged(cohort.boxes, own.cases, seed))
    prepare(control, PrepareOptions(folder / CONTROL, size=256))


def exchanged(boxes: pl.DataFrame, cases: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Exchange the boxes of findings among training, and among validation cases that have the same findings.

    Test cases keep theirs. A case without any stays without, and one of whose findings no other patient of
    the split has the same loses its own.

    Args:
        boxes: Boxes of all cases in pixels of the original images.
        cases: Rows of `Store.cases`.
        seed: Seed of the exchange.
    """
    finding = pl.Series([is_finding(name) for name in boxes["label"]], dtype=pl.Boolean)
    marked = cases["case_id"].is_in(boxes.filter(finding)["case_id"].implode()).to_numpy()
    learned = marked & (cases["split"] != "test").to_numpy()
    labels = [name for name in cases.columns if name.startswith("label_")]
    _, alike = np.unique(cases.select("split", *labels).to_numpy().astype(str), axis=0, return_inverse=True)
    group = np.where(learned, alike.reshape(-1), -1)
    giver = donors(cases["patient"].to_numpy().astype(np.int64), group, seed)
    place = cases.select("case_id", "rows", "columns")
    to = place.filter(pl.Series(giver >= 0)).with_columns(giver=place["case_id"].gather(giver[giver >= 0]))
    pairs = to.join(place, left_on="giver", right_on="case_id", suffix="_giver", maintain_order="left")
    across, down = pl.col("columns") / pl.col("columns_giver"), pl.col("rows") / pl.col("rows_giver")
    given = pairs.join(
        boxes.filter(finding), left_on="giver", right_on="case_id", maintain_order="left"
    ).with_columns(pl.col("x1", "x2") * across, pl.col("y1", "y2") * down)
    receives = pl.col("case_id").is_in(cases.filter(pl.Series(learned))["case_id"].implode())
    return pl.concat([boxes.filter(~(receives & finding)), given.select(boxes.columns)])


def row(name: str, figures: Sequence[Figures]) -> dict[str, Cell]:
    """The row of a variant, or of a map without a model, in the table."""
    return {
        "class map of": name,
        "seeds": len(figures),
        **{
            key: _spread([each[key] for each in figures if key in each]) for key in ("AUC", *METRICS.values())
        },
    }


def difference(name: str, conaf: Sequence[Figures], other: Sequence[Figures]) -> str:
    """State the differences of `conaf` to another row, paired by seed, with Student's 95% interval."""
    parts = []
    for key in COLUMNS:
        gain = [a[key] - b[key] for a, b in zip(conaf, other, strict=True) if key in b]
        if len(gain) > 1:
            half = float(t.ppf(0.975, len(gain) - 1)) * stdev(gain) / len(gain) ** 0.5
            parts.append(f"{key} {mean(gain):+.3f} [{mean(gain) - half:+.3f}, {mean(gain) + half:+.3f}]")
    return f"`conaf` minus {name}: {', '.join(parts)} (paired by seed, Student's 95% interval)."


def _figures(variant: Variant, name: str, folder: Path, seed: int) -> Figures:
    say(f"Seed {seed}: {name}", bold=True)
    with redirect_stdout(io.StringIO()):
        stores(folder, seed)
        data = str((folder / variant.store).resolve())
        config = configured(Method("conaf", variant.overrides), data, seed)
        trained, _ = trained_run(config, folder / name.replace(" ", "_"))
        test = evaluate(trained, EvaluationOptions(resamples=1)).test
    return {"seed": float(seed), "AUC": value_of(test.auc, "macro")} | {
        f"{kind} {metric}": value_of(entries, metric)
        for kind, entries in test.localisation.items()
        if entries
        for metric in METRICS
    }


def _of_map(figures: Figures, kind: str) -> Figures:
    return {word: figures[f"{kind} {metric}"] for metric, word in METRICS.items()}


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
