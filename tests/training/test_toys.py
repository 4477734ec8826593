"""An architecture, a generator and a distance, each registered in one place, work from training to audit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution import Capture, registry
from radgaze.cli import main
from radgaze.models import ModelConfig, Output
from radgaze.models import registry as architectures
from radgaze.objectives import distances
from radgaze.training.fitting import train
from tests.training.conftest import Configure


class ToyNetwork(nn.Module):
    """Two convolutions; a mask of the first one's channels, and scores of the second one's means."""

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.mask = nn.Conv2d(8, 1, 1)
        self.classifier = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Output:
        x = torch.relu(self.first(images))
        pooled = torch.relu(self.second(x)).mean((2, 3))
        return Output(self.classifier(pooled), self.mask(x))


class SquaredGradient(attribution.Generator):
    """H = (∂y/∂x)²."""

    def attribute(self, read: Capture) -> Tensor:
        return read.gradient(read.place, self.rule).square()


def root_mean_square(p: Tensor, q: Tensor) -> Tensor:
    """√ of the mean over pixels of (p − q)²."""
    return ((p - q).square().flatten(1).mean(1) + 1e-12).sqrt()


@pytest.fixture
def toys() -> Iterator[None]:
    architectures.register("toy", title="toy network", provides=("mask",))(ToyNetwork)
    attribution.register("squared_gradient", title="Squared gradient")(SquaredGradient)
    distances.register(root_mean_square)
    yield
    architectures.unregister("toy")
    del registry.REGISTRY["squared_gradient"], registry.PRESETS["squared_gradient"]
    del distances.REGISTRY["root_mean_square"]


TOY: dict[str, Any] = {
    "model": {"architecture": "toy"},
    "objective": {
        "heatmap_gaze": {"weight": 0.5, "distance": "root_mean_square"},
        "heatmap": {"generator": "squared_gradient"},
    },
    "trainer": {"max_epochs": 1},
}


@pytest.mark.usefixtures("toys")
def test_toys_are_trained_evaluated_compared_audited_and_shown_under_their_titles(
    config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [train(config("baseline", **TOY, seed=seed), tmp_path / f"run{seed}") for seed in (1, 2)]
    for run in runs:
        history = run.history()
        assert history["train/heatmap_gaze"].is_finite().all()
        assert run.generator(run.model()).title == "Squared gradient"
        assert main(["evaluate", str(run.path), "--resamples", "20", "--generator", "squared_gradient"]) == 0
        page = (run.path / "report.html").read_text(encoding="utf-8")
        assert "A toy network" in page
        assert "Squared gradient" in page
        assert "root_mean_square" in page
    assert main(["compare", *(str(run.path) for run in runs), "--out", str(tmp_path / "c")]) == 0
    assert "Squared gradient" in (tmp_path / "c" / "index.html").read_text(encoding="utf-8")
    arguments = ["audit", str(runs[0].path), "--methods", "squared_gradient,grad_cam", "--cases", "4"]
    assert main([*arguments, "--resamples", "20", "--device", "cpu", "--out", str(tmp_path / "audit")]) == 0
    assert "squared_gradient" in (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert "squared_gradient" in (tmp_path / "audit" / "audit.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("toys")
def test_an_edge_or_a_generator_that_a_toy_cannot_serve_is_refused_by_what_it_provides(
    config: Configure,
) -> None:
    from radgaze.errors import UserError

    architectures.unregister("toy")
    architectures.register("toy", title="toy network")(ToyNetwork)
    with pytest.raises(UserError, match="toy has no mask for the edge"):
        train(config("baseline", **TOY), Path("nowhere"))
    of_maps = {
        "heatmap_gaze": {"weight": 1.0},
        "mask_gaze": {"weight": 0.0},
        "heatmap": {"generator": "pylon"},
    }
    with pytest.raises(UserError, match=r"toy gives no class maps.*`model\.architecture` pylon does"):
        train(config("baseline", model={"architecture": "toy"}, objective=of_maps), Path("nowhere"))
