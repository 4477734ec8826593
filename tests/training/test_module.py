"""Schedules, parameter groups and the experiments' settings, against their definitions."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

from radgaze import experiments, models
from radgaze.errors import UserError
from radgaze.gaze.spec import GazeMaps
from radgaze.runs import settings
from radgaze.runs.config import OptimisationConfig
from radgaze.training.module import GazeGuided, cosine, triangular2
from radgaze.training.optimiser import decay_groups
from tests.models.test_second_pass import TINY, batch


@pytest.mark.parametrize(("rate", "half"), [(0.0090552, 2), (0.006486, 8)])
def test_triangular2_peaks_at_one_halves_each_cycle_and_falls_to_the_rate_itself(
    rate: float, half: int
) -> None:
    config = OptimisationConfig(learning_rate=rate, step_epochs=half)
    multiplier = [triangular2(epoch, config) for epoch in range(6 * half + 1)]
    assert [multiplier[k * 2 * half] for k in range(4)] == pytest.approx([rate] * 4)
    peaks = [multiplier[half + k * 2 * half] for k in range(3)]
    assert peaks == pytest.approx([rate + (1 - rate) / 2**k for k in range(3)])
    # The same as torch's own triangular2 between the two rates.
    parameter = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=rate)
    cyclic = torch.optim.lr_scheduler.CyclicLR(
        optimiser, rate, 1.0, step_size_up=half, mode="triangular2", cycle_momentum=False
    )
    for value in multiplier:
        assert value == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        cyclic.step()


def test_cosine_warms_up_linearly_then_falls_to_zero() -> None:
    values = [cosine(step, 100, 10.0) for step in range(101)]
    assert values[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert values[10] == 1
    assert values[55] == pytest.approx(0.5)
    assert values[100] == pytest.approx(0)
    assert all(a > b for a, b in pairwise(values[10:]))
    assert cosine(0, 100, 0.0) == 1
    assert math.isfinite(cosine(0, 0, 0.0))


def test_weight_decay_is_laid_on_matrices_alone_and_every_parameter_is_in_one_group() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    decayed, free = decay_groups(model, 0.05)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)
    assert {id(p) for p in decayed["params"]} == {id(model[0].weight), id(model[3].weight)}
    assert {id(p) for p in (*decayed["params"], *free["params"])} == {id(p) for p in model.parameters()}
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize("generator", ["backprop", "smooth_grad", "integrated_gradients"])
def test_features_that_are_compared_are_those_of_the_images_whatever_the_generator_runs_on(
    generator: str,
) -> None:
    options = {"by": "gaze", "perturbation": "erase", "hard": True, "compare": "features"}
    config = settings.resolve(
        "set3_guided",
        objective={
            "heatmap": {"generator": generator},
            "terms": {"x": {"kind": "perturbed", "weight": 1.0, "options": options}},
        },
    )
    module = GazeGuided(models.create(TINY, 3), config, 3).eval()
    step = batch(torch.rand(3, 1, 64, 64, generator=torch.Generator().manual_seed(0)))
    # A gaze map of 0, by which nothing is erased.
    step = replace(step, has_gaze=torch.ones(3, dtype=torch.bool), spec=GazeMaps())
    assert float(module.terms(step)["x"].detach()) == pytest.approx(0, abs=1e-3)


def test_the_experiments_are_choices_of_weights_on_the_triangle() -> None:
    weights = {
        name: {edge: config.weight for edge, config in settings.resolve(name).objective.edges.items()}
        for name in experiments.names()
    }
    assert weights["no_decoder"] == {}
    assert weights["baseline"] == {"mask_gaze": 1.0}
    assert set(weights["set3_guided"]) == {"mask_gaze", "heatmap_gaze"}
    assert sum(weights["set3_guided"].values()) == 1
    assert settings.resolve("no_decoder").model.architecture == "classifier"


def test_the_faithful_protocol_is_the_published_one() -> None:
    for name in ("baseline", "set3_guided"):
        unet = settings.resolve(name, protocol="faithful")
        assert (unet.objective.gamma, unet.objective.classification) == (0.41731, "sigmoid")
        own = unet.optimisation
        assert (own.optimiser, own.learning_rate, own.batch_size) == ("adam", 0.0090552, 32)
        assert (own.schedule, own.step_epochs, own.clip, own.clip_at) == ("triangular2", 2, "value", 0.1)
        assert (unet.trainer.max_epochs, unet.trainer.patience) == (35, 0)
        assert (unet.gaze.weight, unet.gaze.sigma, unet.gaze.unit) == ("reference", 150, "pixels")
        assert (unet.model.encoder, unet.model.weights) == ("timm-efficientnet-b0", "noisy-student")
        assert (unet.input.size, unet.input.fit, unet.input.augment) == (224, "stretch", False)
    plain = settings.resolve("no_decoder", protocol="faithful")
    own = plain.optimisation
    assert (own.learning_rate, own.step_epochs, plain.trainer.max_epochs) == (0.006486, 8, 20)
    assert plain.model.dropout == 0


def test_a_configuration_survives_yaml(tmp_path: Path) -> None:
    config = settings.resolve("set3_guided", data="store", objective={"heatmap": {"scales": [1, 2]}})
    settings.write(config, tmp_path / "config.yaml")
    assert settings.read(tmp_path / "config.yaml") == config
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["objective"]["heatmap"]["scales"] == [1, 2]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"trainer": {"epochs": 3}}, "epochs"),
        ({"trainer": {"max_epochs": "many"}}, "max_epochs"),
        ({"optimisation": {"optimiser": "sgd"}}, "optimiser"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_field_that_does_not_exist_or_does_not_fit_is_named(
    overrides: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        settings.resolve("baseline", protocol="honest", **overrides)


def test_an_experiment_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"baseline, (\w+, )*no_decoder, "):
        settings.resolve("set9")
