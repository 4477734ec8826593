"""Training with gaze as an input, from a store to predictions and heatmaps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from radgaze import models
from radgaze.errors import UserError
from radgaze.evaluation.maps import stream_maps
from radgaze.models.temporal import Temporal
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure

PROBABILITIES = [f"probability_{name}" for name in CLASSES]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Run:
    wanted = settings.resolve(
        "temporal",
        data=str(store.path),
        input={"size": 32},
        optimisation={"batch_size": 8},
        trainer={"max_epochs": 12, "patience": 0, "accelerator": "cpu", "logger": "none"},
    )
    return train(wanted, tmp_path_factory.mktemp("temporal") / "run")


def test_it_learns_what_is_easy(learned: Run) -> None:
    history = learned.history()
    assert history["train/classification"][-1] < 0.7 * history["train/classification"][0]
    assert (history["validate/auc"] > 0.8).any()


def test_predictions_are_what_the_saved_model_says_of_image_and_gaze(learned: Run) -> None:
    model = learned.model()
    assert isinstance(model, Temporal)
    assert model.gaze.frame.size == 32
    for split in ("validate", "test"):
        batch = next(learned.batches(split, 100))
        with torch.no_grad():
            logits = model(batch.image, *batch.frames(model.frames)).logits
            assert torch.equal(models.forward(model, batch).logits, logits)
        table = learned.predictions().filter(pl.col("split") == split)
        assert table["case_id"].to_list() == batch.case_id
        np.testing.assert_allclose(table.select(PROBABILITIES).to_numpy(), logits.softmax(1), atol=1e-6)


def test_a_case_is_predicted_alike_in_any_batch(learned: Run) -> None:
    """Padding to the longest reading of a batch is masked."""
    model = learned.model()
    with torch.no_grad():
        few, many = (
            torch.cat([models.forward(model, batch).logits for batch in learned.batches("test", n)])
            for n in (1, 100)
        )
    torch.testing.assert_close(few, many)


def test_heatmaps_are_those_of_the_image(learned: Run) -> None:
    model = learned.model()
    heat = learned.generator(model, "guided_backprop")
    for part, batch in zip(
        stream_maps(learned, "test", batch_size=4, grad_cam=True), learned.batches("test", 4), strict=True
    ):
        images, *also = models.inputs(model, batch)
        np.testing.assert_allclose(part.heatmap, heat(images, also=also).numpy()[:, 0], atol=1e-6)
        assert np.isfinite(part.heatmap).all()
        assert part.grad_cam is not None
        assert np.isfinite(part.grad_cam).all()
        assert (part.heatmap.max((1, 2)) == 1).all()
        assert part.mask is None


@pytest.mark.parametrize("frames", ["fixation", "seconds"])
def test_one_seed_gives_one_result(frames: str, config: Configure, tmp_path: Path) -> None:
    def run(name: str, **more: object) -> bytes:
        own: dict[str, object] = {
            "model": {"frames": frames},
            "input": {"augment": True},
            "trainer": {"max_epochs": 1},
        }
        done = train(config("temporal", **own, **more), tmp_path / name)
        return (done.path / "predictions.parquet").read_bytes()

    assert run("first") == run("second")
    assert run("first seed") != run("other seed", seed=43)


@pytest.mark.parametrize("experiment", ["temporal", "temporal_image_only"])
def test_the_faithful_protocol_is_the_published_one_and_trains(
    experiment: str, config: Configure, tmp_path: Path
) -> None:
    published = settings.resolve(experiment, protocol="faithful")
    own = published.optimisation
    assert (own.optimiser, own.learning_rate, own.batch_size, own.clip) == ("adam", 1e-3, 16, "none")
    assert (own.schedule, own.step_epochs) == ("triangular2", 5)
    assert (published.trainer.max_epochs, published.trainer.patience) == (20, 0)
    assert published.trainer.keep_checkpoints == "all"
    assert (published.objective.classification, published.model.form) == ("sigmoid", "faithful")
    assert (published.gaze.weight, published.gaze.sigma, published.gaze.unit) == ("reference", 150, "pixels")
    assert (published.model.dropout, published.model.frames) == (0.5, "fixation")
    run = train(config(experiment, "faithful", trainer={"max_epochs": 1}), tmp_path / "run")
    assert run.predictions().height > 0


def test_what_it_will_not_see_and_not_use_is_told_before_training(
    config: Configure, tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    fixations = store.readings.join(store.fixations, on="reading_id").join(store.cases, on="case_id")
    counts = fixations.filter(split="train").group_by("case_id").len()["len"]
    wanted = config("temporal", model={"most_frames": 4}, trainer={"max_epochs": 1})
    train(wanted, tmp_path / "run")
    told = " ".join(capsys.readouterr().err.split())
    training = store.cases.filter(split="train").height
    assert (
        f"{(counts > 4).sum()} of {training} training cases have more than 4 frames of gaze, up to 7" in told
    )
    assert "`model.encoder=tu-test_efficientnet` is not used" in told
    train(
        config("temporal_image_only", model={"encoder": "xraynet"}, trainer={"max_epochs": 1}), tmp_path / "b"
    )
    told = capsys.readouterr().err
    assert "frames" not in told
    assert "not used" not in told


def test_a_store_without_gaze_and_an_edge_to_a_mask_are_refused(config: Configure, tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "images", cases=12, shape=(64, 64))
    tables = {name: getattr(cohort, name).clear() for name in ("readings", "fixations", "rejections")}
    store = prepare(replace(cohort, **tables), tmp_path / "store", size=32, workers=1)
    wanted = config("temporal")
    wanted.data = str(store.path)
    with pytest.raises(UserError, match="no gaze, which the model temporal reads"):
        train(wanted, tmp_path / "run")
    with pytest.raises(UserError, match="temporal has no mask"):
        train(config("temporal", objective={"mask_gaze": {"weight": 1.0}}), Path(tmp_path / "other"))


def test_its_own_heatmap_can_be_pulled_to_gaze(config: Configure, tmp_path: Path) -> None:
    guided = {"heatmap_gaze": {"weight": 1.0, "distance": "kl"}}
    run = train(config("temporal", objective=guided, trainer={"max_epochs": 2}), tmp_path / "run")
    assert run.history()["train/heatmap_gaze"].is_finite().all()
