"""Training PYLON: gaze teaches the map of a case's class, and the same map is what is shown and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.evaluation.maps import stream_maps
from radgaze.models.output import Output
from radgaze.models.pylon import Pylon
from radgaze.objectives.triangle import Maps, objective
from radgaze.runs.config import Config
from radgaze.runs.data import batches, dataset
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.store import Store
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.training.conftest import Configure

OWN_MAP = {"mask_gaze": {"weight": 0.0}, "heatmap_gaze": {"weight": 1.0}, "heatmap": {"generator": "pylon"}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def run(config: Configure, runs: Path) -> Run:
    """Two epochs of the experiment; trained once."""
    where = runs / "pylon"
    return Run.open(where) if where.exists() else train(config("pylon"), where)


class Given(nn.Module):
    """Its class maps are a parameter."""

    def __init__(self, cases: int) -> None:
        super().__init__()
        self.maps = nn.Parameter(torch.randn(cases, 3, 8, 8, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Output:
        logits = self.maps.amax((2, 3))
        return Output(logits, torch.zeros_like(images), self.maps + 0 * images.mean())


def one_batch(config: Config, store: Store) -> Batch:
    return next(batches(dataset(store, config, "train"), 6))


@pytest.mark.parametrize("edges", [{}, OWN_MAP], ids=["mask_gaze", "heatmap_gaze"])
def test_gaze_teaches_the_map_of_the_true_class_alone(
    config: Configure, store: Store, edges: dict[str, object]
) -> None:
    wanted = config("pylon", objective={"gamma": 0.0, **edges})
    batch = one_batch(wanted, store)
    model = Given(len(batch.case_id))
    output, maps, _ = GazeGuided(model, wanted, 3)._forward(batch)
    logits, mask, heat = output.logits, maps.mask, maps.heatmap
    maps = Maps(batch.gaze_maps(), batch.has_gaze, batch.sigma, mask, heat)
    torch.autograd.backward(objective(logits, batch.label, maps, wanted.objective)["loss"])
    assert model.maps.grad is not None
    learned = model.maps.grad.abs().amax((2, 3)) > 0
    assert torch.equal(learned, (batch.label > 0) & batch.has_gaze[:, None])
    assert learned.any()


def test_mask_and_heatmap_are_of_one_class_where_a_case_has_several(config: Configure, store: Store) -> None:
    wanted = config("pylon", objective=OWN_MAP)
    batch = one_batch(wanted, store)
    batch.label[:] = 1
    module = GazeGuided(Given(len(batch.case_id)), wanted, 3)
    assert batch.draw is not None
    shown = []
    for _ in range(5):
        batch.draw.add_(1)  # as another epoch would
        _, maps, _ = module._forward(batch)
        mask, heat = maps.mask, maps.heatmap
        assert mask is not None
        assert heat is not None
        torch.testing.assert_close(heat, mask.sigmoid())
        shown.append(mask)
    assert any(not torch.equal(mask, shown[0]) for mask in shown)  # one of them is drawn each time


@pytest.mark.parametrize("target", ["predicted", "true"])
def test_evaluation_measures_the_map_that_the_generator_shows(
    run: Run, target: Literal["predicted", "true"]
) -> None:
    model = run.model()
    assert isinstance(model, Pylon)
    for part in stream_maps(run, "test", generator="pylon", target=target, batch_size=5):
        assert part.mask is not None
        scale = part.mask.max((1, 2), keepdims=True)
        np.testing.assert_allclose(part.heatmap, part.mask / scale, atol=1e-6)
    asked = next(part.mask for part in stream_maps(run, "test", target=target, batch_size=99))
    assert asked is not None
    batch = next(run.batches("test", 99))
    logits, _, maps, _ = model(batch.image)
    of = batch.label.argmax(1) if target == "true" else logits.argmax(1)
    own = torch.nn.functional.interpolate(maps[torch.arange(len(of)), of][:, None], size=32, mode="bilinear")
    np.testing.assert_allclose(asked, own.sigmoid().detach()[:, 0], atol=1e-6)


def test_it_trains_by_its_generator_and_is_evaluated_by_it(
    config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weighted = {**OWN_MAP, "mask_gaze": {"weight": 0.5}, "heatmap_gaze": {"weight": 0.5, "distance": "kl"}}
    found = train(config("pylon", objective=weighted), tmp_path / "run")
    history = found.history()
    assert history["train/heatmap_gaze"].is_finite().all()
    assert history["train/mask_gaze"][-1] < history["train/mask_gaze"][0]
    assert found.generator(found.model()).name == "pylon"
    assert main(["evaluate", str(found.path), "--generator", "pylon", "--resamples", "20"]) == 0
    assert "PYLON (tu-test_efficientnet)" in (found.path / "report.html").read_text(encoding="utf-8")


def test_only_pylon_is_asked_for_its_map(
    config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objective = {"heatmap": {"generator": "pylon"}}
    with pytest.raises(UserError, match=r"the model unet gives no class maps.*`model.architecture` pylon"):
        train(config("set3_guided", objective=objective), tmp_path / "refused")
    with pytest.raises(UserError, match=r"`model\.pylon_channels` must be from 1"):
        train(config("pylon", model={"pylon_channels": 0}), tmp_path / "refused")
    run = train(config("baseline", trainer={"max_epochs": 1}), tmp_path / "run")
    assert main(["evaluate", str(run.path), "--generator", "pylon"]) == 2
    assert "the model unet" in " ".join(capsys.readouterr().err.split())
