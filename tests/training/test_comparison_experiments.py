"""The experiments of comparison methods: the weights of their sources, and a step of training of each."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from radgaze import experiments
from radgaze.gaze.reference import viridis_grey
from radgaze.objectives import distances
from radgaze.runs import settings
from radgaze.training.train import train
from tests.training.conftest import Configure

# Weight of each term where the classification has 1, as the source adds them up.
WEIGHTS = {
    "icasc": {"separate_last": 1.0, "separate_inner": 1.0, "consistent": 1.0},
    "icasc_gaze": {"separate_last": 1.0, "separate_inner": 1.0, "consistent": 1.0},
    "energy": {"heatmap_gaze": 1.0},
    "harmonization": {"heatmap_gaze": 1.0},
    "background": {"heatmap_gaze": 0.7 / 0.3},
    "res": {"heatmap_gaze": 1.0},
    "haics": {"heatmap_gaze": 1.0},
    "gradia": {"heatmap_gaze": 1.0},
    "ga_net": {"heatmap_gaze": 1.0},
    "gradmask": {"heatmap_gaze": 0.1},
}
FAITHFUL = {**WEIGHTS, "energy": {"heatmap_gaze": 1e-3 * 64}}


@pytest.mark.parametrize("protocol", ["honest", "faithful"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_the_loss_is_the_sum_of_the_source_up_to_its_scale(name: str, protocol: str) -> None:
    goal = settings.resolve(name, protocol=protocol).objective
    found = {term: (1 - goal.gamma) * each.weight / goal.gamma for term, each in goal.weights.items()}
    assert found == pytest.approx((WEIGHTS if protocol == "honest" else FAITHFUL)[name])
    assert experiments.describe(name).family == "Comparison"


@pytest.mark.parametrize(
    ("name", "option", "threshold"),
    [("background", "relevant_above", 0.05), ("res", "negative_below", 0.05), ("res", "positive_above", 0.5)],
)
def test_thresholds_of_gaze_are_those_of_the_protocols_maps(name: str, option: str, threshold: float) -> None:
    """Published maps are greys of a colour map, whose lowest value is above 0.05."""
    grey = float(viridis_grey(torch.tensor([[[threshold]]])))
    options = settings.resolve(name, protocol="faithful").objective.heatmap_gaze.options
    assert options[option] == pytest.approx(grey, abs=1e-4)
    honest = settings.resolve(name).objective.heatmap_gaze
    defaults = inspect.signature(distances.find(honest.distance).formula).parameters
    assert honest.options.get(option, defaults[option].default) == threshold


@pytest.mark.parametrize("name", WEIGHTS)
def test_it_trains_and_every_term_moves_the_network(name: str, config: Configure, tmp_path: Path) -> None:
    run = train(config(name, input={"size": 64}, trainer={"max_epochs": 1}), tmp_path / name)
    history = run.history()
    for term in (*WEIGHTS[name], "classification", "loss"):
        assert history[f"train/{term}"].is_finite().all(), term
        assert (history[f"train/{term}"] > 0).all(), term


@pytest.mark.parametrize(
    "name",
    [
        "background",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("icasc_gaze", "harmonization", "res")),
    ],
)
def test_it_trains_in_half_precision(name: str, config: Configure, tmp_path: Path) -> None:
    trainer = {"max_epochs": 1, "precision": "bf16-mixed"}
    history = train(config(name, input={"size": 64}, trainer=trainer), tmp_path / name).history()
    assert history["train/loss"].is_finite().all()


@pytest.mark.parametrize(
    "name", [each.name for each in experiments.catalogue() if each.family == "Comparison"]
)
def test_the_faithful_protocol_leaves_what_an_experiment_says_of_itself(name: str) -> None:
    """Its γ is that of the paper's experiments, and its gaze maps are those of the published code."""
    folder = Path(inspect.getfile(experiments)).parent
    content = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    restated = leaves(content.pop("faithful", {}))
    told = leaves(content)
    faithful = leaves(experiments.load(name, "faithful"))
    changed = {key for key, value in told.items() if key in faithful and faithful[key] != value}
    assert changed <= restated.keys()


def leaves(fields: dict[str, Any], place: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """The values of nested settings, by their place."""
    found: dict[tuple[str, ...], object] = {}
    for key, value in fields.items():
        found |= leaves(value, (*place, key)) if isinstance(value, dict) else {(*place, key): value}
    return found
