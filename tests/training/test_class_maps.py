"""Training the networks of class maps, and CheXNet, from a store to a report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from radgaze.cli import main
from radgaze.evaluation.maps import stream_maps
from radgaze.training.train import train
from tests.training.conftest import Configure


@pytest.mark.parametrize(
    ("experiment", "generator"),
    [
        pytest.param("self_transfer", "pylon", marks=pytest.mark.slow),
        pytest.param("self_transfer_gaze", "pylon", marks=pytest.mark.slow),
        ("chexnet", "cam"),
    ],
)
def test_an_experiment_is_trained_shown_by_its_own_map_and_evaluated(
    experiment: str, generator: str, config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config(experiment, input={"size": 64}), tmp_path / "run")
    assert all(column.is_finite().all() for column in run.history().select("^train/.*$"))
    assert main(["evaluate", str(run.path), "--generator", generator, "--resamples", "20"]) == 0
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert f"{generator}, predicted class" in page
    if experiment == "chexnet":
        assert "It learned from the labels alone" in page
        return
    assert "a second classifier on the same encoder learned the labels" in page
    assert "1.000 · linear(0.1 -&gt; 0.9)" in page
    for part in stream_maps(run, "test", generator="pylon", batch_size=5):
        assert part.mask is not None
        np.testing.assert_allclose(part.heatmap, part.mask / part.mask.max((1, 2), keepdims=True), atol=1e-6)


def test_alpha_follows_the_training(config: Configure, tmp_path: Path) -> None:
    """The logged loss of an epoch of one step is (1 − α)·L_cls + α·L_loc for α at that step."""
    wanted = config("self_transfer", trainer={"max_epochs": 4}, optimisation={"batch_size": 20})
    history = train(wanted, tmp_path / "run").history()
    localiser, classifier = history["train/classification"], history["train/classifier"]
    steps = len(history)
    alpha = np.array([0.1 + 0.8 * step / steps for step in range(steps)])
    np.testing.assert_allclose(history["train/loss"], (1 - alpha) * classifier + alpha * localiser, rtol=1e-5)


def test_gaze_moves_the_localisers_map(config: Configure, tmp_path: Path) -> None:
    history = train(
        config("self_transfer_gaze", input={"size": 128}, trainer={"max_epochs": 6}), tmp_path / "run"
    ).history()
    assert history["train/mask_gaze"][-1] < history["train/mask_gaze"][0]
