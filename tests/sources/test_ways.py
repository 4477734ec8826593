"""From archives to a report: prepared, verified, inspected, trained on for a few steps, evaluated.

egd-cxr goes that way in tests/cli/test_way.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.cli import main
from radgaze.store.store import Store
from radgaze.store.verification import verify
from tests.sources import reflacx_tree
from tests.sources.test_gazesearch import search

TINY = [
    *("--model.encoder", "tu-test_efficientnet", "--model.weights", "none"),
    *("--model.decoder_channels=[16,8,8,4,4]", "--input.size", "32", "--optimisation.batch_size", "4"),
    *("--trainer.max_epochs", "1", "--trainer.accelerator", "cpu"),
]
FOLDS = ["--split.kind", "folds", "--split.folds", "3"]


def archive(folder: Path, names: list[str]) -> list[str]:
    """GazeSearch's list and its images."""
    (folder / "images").mkdir(parents=True)
    draw, searches = np.random.default_rng(ord(names[0][0])), []
    for k, name in enumerate(names):
        Image.fromarray(draw.integers(0, 255, (60, 50), dtype=np.uint8)).save(
            folder / "images" / f"{name}.png"
        )
        for task in ("Edema", "Fracture", "Nodule")[: 1 + k % 3]:
            x, y = draw.integers(0, 224, (2, 4)).tolist()
            searches.append(
                search(name, task, x, y, [0.2] * 4, "train", condition="present" if k % 2 else "absent")
            )
    (folder / "list.json").write_text(json.dumps(searches))
    return ["--gazesearch", str(folder / "list.json"), "--images", str(folder / "images")]


def reflacx(folder: Path) -> list[str]:
    reflacx, mimic = reflacx_tree.write_tree(folder, more=18)
    return ["reflacx", "--reflacx", str(reflacx), "--mimic", str(mimic)]


def gazesearch(folder: Path) -> list[str]:
    return ["gazesearch", *archive(folder, [f"a-{k}" for k in range(18)])]


def table(folder: Path) -> list[str]:
    """Gaze for every third, masks for every fifth, and one of those broken."""
    (folder / "masks").mkdir(parents=True)
    draw, rows, fixations = np.random.default_rng(0), ["image,patient,label"], ["case,x,y,onset,duration"]
    for k in range(18):
        Image.fromarray(draw.integers(0, 255, (60, 50), dtype=np.uint8)).save(folder / f"i{k}.png")
        rows.append(f"i{k}.png,{k},{'ab'[k % 2]}")
        if k % 3 == 0:
            fixations += [f"i{k},{10 + k},20,0.1,0.3", f"i{k},30,{20 + k},0.6,0.2"]
        elif k % 5 == 0:
            Image.fromarray(np.arange(60 * 50).reshape(60, 50) < 900).save(folder / "masks" / f"i{k}.png")
    (folder / "masks" / "i1.png").write_bytes(b"no mask")
    (folder / "labels.csv").write_text("\n".join(rows))
    (folder / "fixations.csv").write_text("\n".join(fixations))
    given = ["--fixations", str(folder / "fixations.csv"), "--masks", str(folder / "masks")]
    return ["table", "--table", str(folder / "labels.csv"), *given]


def merge(folder: Path) -> list[str]:
    """Two stores of classes that are called otherwise."""
    stores = []
    for name in ("one", "two"):
        given = archive(folder / name, [f"{name}-{k}" for k in range(9)])
        stores.append(str(folder / f"{name}-store"))
        assert main(["prepare", "gazesearch", *given, "--out", stores[-1], "--size", "48"]) == 0
    return ["merge", *stores, "--map", "Nodule=Mass"]


@pytest.mark.parametrize(
    ("source", "options", "rejected"),
    [
        pytest.param(
            *(reflacx, ["--gaze.unit", "degrees", "--gaze.sigma", "1"], "discarded_reading"),
            marks=pytest.mark.slow,
            id="reflacx",
        ),
        pytest.param(gazesearch, FOLDS, None, marks=pytest.mark.slow, id="gazesearch"),
        (table, [*FOLDS, "--gaze.boxes", "attention"], "unreadable_mask"),
        pytest.param(merge, FOLDS, None, marks=pytest.mark.slow, id="merge"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_source_goes_all_the_way(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    source: Callable[[Path], list[str]],
    options: list[str],
    rejected: str | None,
) -> None:
    here = tmp_path / "of [all] kinds"  # a path is no pattern
    given, out = source(here / "source"), here / "store"
    if given[0] != "merge":
        given += ["--size", "48"]
    assert main(["prepare", *given, "--out", str(out)]) == 0
    store = Store.open(out)
    assert verify(store) == []
    counts = store.manifest["counts"]
    assert rejected is None or counts["rejections"][rejected] > 0
    assert main(["inspect", str(out), "--out", str(here / "inspection"), "--each", "1"]) == 0
    whole = json.loads((here / "inspection" / "inspect.json").read_text())["counts"][-1]
    assert whole["cases"] == counts["cases"] == store.cases.height
    assert (
        whole["with_gaze"]
        == store.readings.filter(store.readings["reading_id"].is_in(store.fixations["reading_id"].implode()))[
            "case_id"
        ].n_unique()
    )
    capfd.readouterr()
    run = here / "run"
    asked = ["train", "--experiment", "set3_guided", "--data", str(out), "--out", str(run)]
    assert main([*asked, *TINY, *options]) == 0
    history = pl.read_csv(run / "history.csv", glob=False)
    edges = history.select("train/heatmap_gaze", "train/mask_gaze").to_numpy()
    assert edges.min() > 0  # distances to gaze, so that there was some
    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["test"]["auc"]) == {"macro", *store.classes}
    assert metrics["test"]["agreement_cases"]["compared"] > 0
    assert (run / "report.html").is_file()
