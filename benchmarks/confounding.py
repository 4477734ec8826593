"""The demo over several seeds: does gaze free a classifier from a confounder?"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter

import polars as pl

from benchmarks.results import Cell, Result
from radgaze.cli.demo import EXPERIMENTS, demonstrate, make_store
from radgaze.cli.demo_sizes import FULL
from radgaze.console import say

SEEDS = (7, 1, 2, 3, 4, 5)
"""The demo's own seed and five others, chosen before any of them was run."""

METRICS = {
    "AUC": {"metric": "auc", "group": "macro"},
    "NSS": {"metric": "nss", "map": "heatmap"},
    "reliance": {"metric": "reliance"},
}
"""Metrics by their word, with what selects their row of the comparison's tables."""


def run(*, seeds: Sequence[int] = SEEDS, keep: str | None = None) -> Result:
    """Run the demo once for each seed: phantom, order of the cases and first weights all follow it.

    Args:
        seeds: Seeds of the demos.
        keep: Folder for what the demos make, so that a stopped benchmark goes on; without it nothing stays.
    """
    rows: list[dict[str, Cell]] = []
    with _folder(keep) as folder:
        for seed in seeds:
            say(f"Seed {seed}, {len(rows) + 1} of {len(seeds)}", bold=True)
            rows.append(_row(seed, folder / f"seed-{seed}"))
    return Result(
        "The experiments of the demo on confounded phantoms",
        f"`radgaze demo` once per seed. In training and validation patients a burnt-in marker follows the "
        f"class with strength {FULL.confounding:g}; in the test patients, who are scored here, it tells "
        "nothing. AUC is the macro mean over the classes, one against the rest; NSS is that of the smoothed "
        "heatmap of guided back-propagation with the test readers' fixations; reliance is the rise of a "
        "class's probability when its marker alone is added, measured on twins. Differences are from the "
        "baseline on the same cases, with 95% intervals of the patient bootstrap.",
        rows,
        {"patients": FULL.patients, "pixels": FULL.pixels, "confounding": FULL.confounding},
        _summary(rows),
    )


def _row(seed: int, out: Path) -> dict[str, Cell]:
    with redirect_stdout(io.StringIO()):
        make_store(out, seed=seed)
        start = perf_counter()
        demonstrate(out, seed=seed)
    table = pl.read_csv(out / "comparison" / "compare.csv")
    paired = pl.read_csv(out / "comparison" / "paired.csv")
    row: dict[str, Cell] = {"seed": seed}
    for name, which in METRICS.items():
        for run in EXPERIMENTS:
            figure = _only(table, run=run, **which)["value"]
            row[f"{name} {run}"] = figure
            if run != EXPERIMENTS[0]:
                change = _only(paired, run=run, **which)
                row[f"{name} {run} minus baseline [95%]"] = (
                    f"{change['difference']:+.3f} [{change['low']:+.3f}, {change['high']:+.3f}]"
                )
    return row | {"training and after (min)": round((perf_counter() - start) / 60, 2)}


def _only(table: pl.DataFrame, **where: str) -> dict[str, float]:
    (row,) = table.filter(**where).iter_rows(named=True)
    return row


def _summary(rows: Sequence[dict[str, Cell]]) -> list[str]:
    sentences = []
    for name, run in product(METRICS, EXPERIMENTS[1:]):
        baseline, guided = ([float(row[f"{name} {each}"]) for row in rows] for each in (EXPERIMENTS[0], run))
        gain = [b - a for a, b in zip(baseline, guided, strict=True)]
        sentences.append(
            f"{name}: baseline {_spread(baseline)}, {run} {_spread(guided)}, difference {_spread(gain)} "
            f"(mean ± standard deviation over seeds); {run} is higher for {sum(g > 0 for g in gain)} of "
            f"{len(gain)} seeds."
        )
    return sentences


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    if keep is not None:
        yield Path(keep)
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
