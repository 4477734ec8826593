"""A table whose cases have none, one or several of the classes, through every verb."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.training.conftest import TINY

CLASSES = ("Mass", "Effusion", "Fracture")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 pictures with a band of light for each class that they have; Fracture is in training cases only."""
    folder = tmp_path_factory.mktemp("several")
    draw = np.random.default_rng(0)
    labels = draw.random((60, 3)) < (0.4, 0.4, 0.1)
    split = np.array(["train"] * 36 + ["validate"] * 12 + ["test"] * 12)
    labels[36:, 2] = False
    labels[[36, 48], :2], labels[[37, 49], :2] = True, False
    looks = []
    for k, own in enumerate(labels):
        pixels = 0.4 * draw.random((64, 64))
        for place in np.flatnonzero(own):
            pixels[16 * place + 8 : 16 * place + 20] += 0.4
            looks += [f"{k}.png,{draw.uniform(4, 60):.1f},{16 * place + 14},{0.3 * place:.1f},0.3"]
        Image.fromarray(np.uint8(255 * pixels)).save(folder / f"{k}.png")
    rows = [f"{k}.png,p{k},{split[k]}," + ",".join(map(str, own.astype(int))) for k, own in enumerate(labels)]
    (folder / "labels.csv").write_text("\n".join(["image,patient,split," + ",".join(CLASSES), *rows]))
    (folder / "gaze.csv").write_text("\n".join(["case,x,y,onset,duration", *looks]))
    words = ["--table", folder / "labels.csv", "--labels", *CLASSES, "--fixations", folder / "gaze.csv"]
    asked = ["prepare", "table", *map(str, words), "--size", "64", "--out", str(folder / "store")]
    assert main([*asked, "--workers", "1"]) == 0
    return Store.open(folder / "store")


def trained(store: Store, out: Path, experiment: str) -> Run:
    config = settings.resolve(experiment, data=str(store.path), **TINY)
    return train(config, out)


def test_a_store_of_several_classes_is_trained_evaluated_and_reported(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not store.exclusive
    first = trained(store, tmp_path / "first", "baseline")
    said = " ".join(capsys.readouterr().err.split())
    assert "do not exclude each other: each is learned separately" in said
    assert Run.open(first.path).config.objective.classification == "sigmoid"
    assert main(["evaluate", str(first.path), "--resamples", "50", "--target", "true"]) == 0
    metrics = json.loads((first.path / "metrics.json").read_text())
    assert metrics["exclusive"] is False
    assert metrics["test"]["not_averaged"] == ["Fracture"]
    auc = metrics["test"]["auc"]
    assert auc["macro"]["value"] == pytest.approx((auc["Mass"]["value"] + auc["Effusion"]["value"]) / 2)
    # The AUC that chose the epoch is over the same classes.
    best = first.history()["validate/auc"].max()
    assert metrics["validate"]["auc"]["macro"]["value"] == pytest.approx(best, abs=1e-6)
    page = (first.path / "report.html").read_text()
    assert "trained to find Mass, Effusion and Fracture, each independently of the others" in page
    assert "Fracture is left out of the macro mean" in page
    assert "within each class" not in page


@pytest.mark.slow
def test_runs_of_several_classes_are_compared(store: Store, tmp_path: Path) -> None:
    for name, experiment in (("first", "baseline"), ("second", "set3_guided")):
        trained(store, tmp_path / name, experiment)
        assert main(["evaluate", str(tmp_path / name), "--resamples", "50"]) == 0
    both = ["compare", str(tmp_path / "first"), str(tmp_path / "second"), "--out", str(tmp_path / "compared")]
    assert main([*both, "--resamples", "50"]) == 0
    paired = pl.read_csv(tmp_path / "compared" / "paired.csv").filter(metric="auc", group="macro")
    assert paired["p_delong"].is_not_null().all()
    assert "each independently of the others" in (tmp_path / "compared" / "index.html").read_text()


def test_softmax_is_refused_where_classes_do_not_exclude_each_other(store: Store, tmp_path: Path) -> None:
    wanted = settings.resolve(
        "baseline", data=str(store.path), objective={"classification": "softmax"}, **TINY
    )
    with pytest.raises(UserError, match="softmax` is for classes that exclude each other"):
        train(wanted, tmp_path / "run")


def test_a_split_of_its_own_shares_out_every_class(store: Store) -> None:
    cases = store.resplit("stratified", seed=1).cases
    for name in ("Mass", "Effusion"):
        total = int(cases[f"label_{name}"].sum())
        assert cases.filter(split="test")[f"label_{name}"].sum() == pytest.approx(0.1 * total, abs=1.5)
