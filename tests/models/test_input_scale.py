"""The grey values of an encoder's input are those that were asked for, and are stored with the model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from radgaze.models import ModelConfig, create, load, save
from radgaze.models.encoder_input import input_of, with_input
from radgaze.models.input_scale import GreyToRGB, InputScale, scale_in
from radgaze.models.scale import IMAGENET, NAMED, Scale, name_of
from radgaze.options import FieldError

TINY = "tu-test_efficientnet"


@pytest.mark.parametrize(
    ("settings", "black", "white"),
    [
        ({}, [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], [0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]),
        ({"normalisation": "none"}, [0, 0, 0], [1, 1, 1]),
        ({"normalisation": "none", "channels": 1}, [0], [1]),
        ({"normalisation": "torchxrayvision"}, [-1024], [1024]),
        ({"normalisation": "torchxrayvision", "channels": 3}, [-1024] * 3, [1024] * 3),
        ({"normalisation": "given", "mean": (0.5,), "std": (0.25,)}, [-2], [2]),
        ({"normalisation": "given", "mean": (10,), "std": (5,), "input_range": (0, 255)}, [-2], [49]),
    ],
)
def test_black_and_white_become_known_values(
    settings: dict[str, Any], black: list[float], white: list[float]
) -> None:
    model = create(config(**settings), 3)
    grey = next(each for each in model.modules() if isinstance(each, InputScale))
    made = grey(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(-1, -1, 2, 3))
    assert made.shape == (2, len(black), 2, 3)
    torch.testing.assert_close(made[:, :, 0, 0], torch.tensor([black, white], dtype=torch.float32))
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 1, 32, 32)).logits.shape == (1, 3)


def test_the_usual_scale_is_that_of_earlier_versions_to_the_bit() -> None:
    images = torch.rand(2, 1, 8, 8)
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (IMAGENET.mean, IMAGENET.std))
    assert torch.equal(GreyToRGB()(images), (images - mean) / std)
    assert input_of(config()).scale == IMAGENET


@pytest.mark.parametrize("architecture", ["unet", "classifier", "class_maps", "pylon", "unet_with_gaze"])
@pytest.mark.parametrize(
    "settings",
    [
        {"normalisation": "torchxrayvision"},
        {"normalisation": "given", "mean": (0.1, 0.2, 0.3), "std": (1, 2, 3), "input_range": (0, 2)},
    ],
)
def test_a_stored_model_has_its_input_again(
    architecture: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    asked = config(architecture=architecture, **settings)
    model = create(asked, 3).eval()
    save(model, asked, ("a", "b", "c"), tmp_path)
    found, _ = load(tmp_path)
    assert scale_in(found) == scale_in(model) != IMAGENET
    images = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(found(images).logits, model(images).logits)


def test_the_input_is_stored_even_where_the_settings_left_it_to_the_weights(tmp_path: Path) -> None:
    asked = config(weights="none")
    model: Any = create(asked, 3)
    model.grey = InputScale(Scale((0.5,) * 3, (0.25,) * 3))  # as weights of a hub would have it
    save(model, asked, ("a", "b", "c"), tmp_path)
    assert scale_in(load(tmp_path)[0]) == Scale((0.5,) * 3, (0.25,) * 3)


def test_a_model_of_an_earlier_version_loads_as_before(tmp_path: Path) -> None:
    asked = config()
    model = create(asked, 3).eval()
    save(model, asked, ("a", "b", "c"), tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())["model"]
    new = {"normalisation", "mean", "std", "input_range", "channels", "weights_dir", "pretraining_ids"}
    assert not new & stored.keys()  # so the file is that of an earlier version
    assert scale_in(load(tmp_path)[0]) == IMAGENET


def test_settings_that_ask_for_a_scale_do_so_whatever_the_weights() -> None:
    for scale in (*NAMED.values(), Scale((0.3,), (0.2,)), Scale((0.5,) * 3, (0.25,) * 3, -1.0, 1.0)):
        asked = with_input(config(weights="hf:lab/xray"), scale)
        assert input_of(ModelConfig(**{**vars(asked), "weights": "none"})).scale == scale


def test_scales_are_described_and_named() -> None:
    assert IMAGENET.words == "3 channels, ImageNet's mean and deviation"
    assert NAMED["torchxrayvision"].words == "1 channel, greys from −1024 to 1024 (torchxrayvision)"
    assert Scale((0.5307,) * 3, (0.2583,) * 3).words == (
        "3 channels, greys from 0 to 1, less the mean 0.5307, over the deviation 0.2583"
    )
    assert name_of(IMAGENET.with_channels(1)) == "imagenet"
    assert name_of(Scale((0.3,), (0.2,))) is None


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"normalisation": "given"}, "`normalisation` must be given where `model.mean` and `model.std` are"),
        ({"mean": (0.5,), "std": (0.25,)}, "`normalisation` must be given"),
        ({"normalisation": "given", "mean": (0.5, 0.5), "std": (1, 1)}, "1 channel or of 3"),
        ({"normalisation": "given", "mean": (0.5,), "std": (0,)}, "above 0"),
        ({"normalisation": "given", "mean": (0,), "std": (1,), "input_range": (1, 0)}, "range"),
        ({"channels": 2}, "`channels` must be 1 or 3"),
        ({"architecture": "temporal", "normalisation": "none"}, "is for a model with a choice of encoders"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(FieldError, match=fault):
        config(**settings)


def config(**changed: Any) -> ModelConfig:
    return ModelConfig(**{"architecture": "classifier", "encoder": TINY, "weights": "none", **changed})
