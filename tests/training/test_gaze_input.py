"""A run whose network reads a gaze map: trained, used with gaze, and used without any."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from radgaze import models
from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.evaluation.results import read_results
from radgaze.models.gaze_input import UNetWithGaze
from radgaze.runs.data import batches, dataset
from radgaze.runs.run import Run
from radgaze.runs.without_gaze import without_gaze
from radgaze.store.batch import Batch
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure

PROBABILITIES = [f"probability_{name}" for name in CLASSES]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(config: Configure, runs: Path) -> Run:
    """The experiment, trained once for some epochs."""
    where = runs / "gaze_input"
    wanted = config("gaze_input", trainer={"max_epochs": 8}, optimisation={"warmup_epochs": 0.5})
    return Run.open(where) if where.exists() else train(wanted, where)


def predicted(run: Run, split: str, *, gaze: bool) -> NDArray[np.float64]:
    """Probabilities of a split, (B, C), by the run's network called by hand."""
    model = run.model()
    assert isinstance(model, UNetWithGaze)
    batch = next(run.batches(split, 99))
    maps = torch.where(batch.has_gaze.view(-1, 1, 1, 1), batch.gaze_maps(), 0)
    with torch.no_grad():
        logits = model(batch.image, maps if gaze else torch.zeros_like(maps)).logits
    probabilities: NDArray[np.float64] = logits.double().softmax(1).numpy()
    return probabilities


def table(run: Run, split: str) -> NDArray[np.float64]:
    return run.predictions().filter(pl.col("split") == split).select(PROBABILITIES).to_numpy()


def test_predictions_are_of_image_and_gaze_and_without_gaze_of_the_image_alone(run: Run) -> None:
    empty = without_gaze(run, "cpu")
    assert empty.path == run.path / "without_gaze"
    assert empty.config.model == replace(run.config.model, without_gaze=True)
    for split in ("validate", "test"):
        np.testing.assert_allclose(table(run, split), predicted(run, split, gaze=True), atol=1e-6)
        np.testing.assert_allclose(table(empty, split), predicted(run, split, gaze=False), atol=1e-6)
    assert not np.allclose(table(run, "test"), table(empty, "test"), atol=1e-5)
    for name, weight in run.model().state_dict().items():
        assert torch.equal(weight, empty.model().state_dict()[name])
    with pytest.raises(UserError, match="reads no gaze: it is evaluated without any as it is"):
        without_gaze(empty)


@pytest.mark.slow
def test_it_is_evaluated_with_gaze_and_without_and_the_pages_say_which(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run.path), "--resamples", "20"]) == 0
    assert main(["evaluate", str(run.path), "--without-gaze", "--resamples", "20"]) == 0
    pages = [(run.path / part / "report.html").read_text(encoding="utf-8") for part in (".", "without_gaze")]
    assert "reads the gaze on a case beside its image, also when tested" in pages[0]
    assert "another task than to predict from the image alone" in pages[0]
    assert "withheld with a probability of 0.50" in pages[0]
    assert "could read gaze, and was given none" in pages[1]
    found = [read_results(run.path / part).test.brier["multiclass"] for part in (".", "without_gaze")]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].value != found[1].value
    assert "without_gaze" in capsys.readouterr().out


def test_files_are_explained_with_an_empty_map(run: Run, store: Store, tmp_path: Path) -> None:
    case = run.predictions().filter(pl.col("split") == "test")["case_id"][0]
    number, out = int(case.removeprefix("case-")), tmp_path / "maps"
    file = store.path.parent / "images" / f"p1000{number}-s5000{number}.dcm"
    assert main(["explain", str(run.path), str(file), case, "--methods", "grad_cam", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"image-001", case}


@pytest.mark.parametrize("boxes", ["ignore", "attention"])
def test_boxes_that_stand_in_for_gaze_are_never_an_input(
    boxes: str, config: Configure, tmp_path: Path
) -> None:
    """They are drawn for the classes that the labels name: as an input they would give the labels away."""
    cohort = make_cohort(tmp_path / "images", cases=12, shape=(64, 64))
    cohort = replace(cohort, readings=cohort.readings.clear(), fixations=cohort.fixations.clear())
    cohort = replace(
        cohort,
        boxes=pl.DataFrame(
            {"case_id": cohort.cases["case_id"], "label": [CLASSES[0]] * 12}
            | {side: [value] * 12 for side, value in (("x1", 8.0), ("y1", 8.0), ("x2", 40.0), ("y2", 40.0))}
        ),
    )
    store = prepare(cohort, tmp_path / "store", size=32, workers=1)
    wanted = config("gaze_input", gaze={"boxes": boxes})
    batch: Batch = next(batches(dataset(store, wanted, "train"), 99))
    model = models.create(wanted.model, 3)
    _, gaze = models.inputs(model, batch)
    assert not gaze.any()
    assert bool(batch.has_gaze.any()) == (boxes == "attention")


def test_a_model_that_always_had_gaze_is_not_used_without(config: Configure, tmp_path: Path) -> None:
    wanted = config("gaze_input", model={"gaze_dropout": 0.0}, trainer={"max_epochs": 1})
    run = train(wanted, tmp_path / "run")
    with pytest.raises(
        UserError, match=r"with their gaze alone; train one with `model\.gaze_dropout` above 0"
    ):
        without_gaze(run)
    image = tmp_path / "a.png"
    image.write_bytes(b"")
    assert main(["explain", str(run.path), str(image), "--out", str(tmp_path / "maps")]) != 0


def test_trained_without_gaze_it_is_the_same_whoever_looked_where(
    config: Configure, store: Store, tmp_path: Path
) -> None:
    """The control: the same network and settings, with empty maps in training too."""
    wanted = config("gaze_input", model={"without_gaze": True}, trainer={"max_epochs": 1})
    first = train(wanted, tmp_path / "first")
    wanted.gaze.sigma = 0.2
    second = train(wanted, tmp_path / "second")
    assert (first.path / "predictions.parquet").read_bytes() == (
        second.path / "predictions.parquet"
    ).read_bytes()


def test_one_seed_gives_one_result_with_gaze_dropout(config: Configure, tmp_path: Path) -> None:
    first, second, other = (
        train(config("gaze_input", seed=seed, trainer={"max_epochs": 1}), tmp_path / name)
        for name, seed in (("first", 1), ("second", 1), ("other", 2))
    )
    told = [(each.path / "predictions.parquet").read_bytes() for each in (first, second, other)]
    assert told[0] == told[1] != told[2]
