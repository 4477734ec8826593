"""A gaze map as an input: the same network where it is empty, and drop-out of it in training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from radgaze import models
from radgaze.errors import UserError
from radgaze.models import ModelConfig, create, load, save
from radgaze.models.gaze_input import UNetWithGaze, widen
from radgaze.models.layers import layer_at
from radgaze.models.unet import UNet
from radgaze.options import FieldError
from radgaze.store.batch import Batch

ENCODER = "tu-test_efficientnet"


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def network(*, gaze_dropout: float = 0.0, encoder: str = ENCODER) -> UNetWithGaze:
    config = ModelConfig(
        "unet_with_gaze", encoder, "none", (16, 8, 8, 4, 4), dropout=0.0, gaze_dropout=gaze_dropout
    )
    model = create(config, 3)
    assert isinstance(model, UNetWithGaze)
    return model.eval()


def seeing(model: UNetWithGaze) -> UNetWithGaze:
    """The network as if it had learned something of the map: at first its weights for it are 0."""
    first = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    with torch.no_grad():
        first.weight[:, 3] = torch.randn_like(first.weight[:, 3])
    return model


@pytest.mark.parametrize("encoder", [ENCODER, "resnet18", "tu-densenet121"])
def test_at_first_it_is_the_unet_of_the_image_whatever_the_gaze(encoder: str) -> None:
    model = network(encoder=encoder)
    unet = create(ModelConfig("unet", encoder, "none", (16, 8, 8, 4, 4), dropout=0.0), 3).eval()
    assert isinstance(unet, UNet)
    state = model.network.state_dict()
    unet.network.load_state_dict(
        {
            name: state[name][:, :3] if state[name].shape != own.shape else state[name]
            for name, own in unet.network.state_dict().items()
        }
    )
    x = torch.rand(2, 1, 64, 64)
    for gaze in (None, torch.rand(2, 1, 64, 64)):
        output, expected = model(x, gaze), unet(x)
        torch.testing.assert_close(output.logits, expected.logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(output.mask, expected.mask, atol=1e-5, rtol=1e-4)


def test_no_gaze_is_an_empty_map_and_a_map_counts() -> None:
    model = seeing(network())
    x, gaze = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    assert torch.equal(model(x).logits, model(x, torch.zeros_like(x)).logits)
    assert not torch.allclose(model(x).logits, model(x, gaze).logits)


def test_its_map_learns_from_the_first_step() -> None:
    model = network().train()
    torch.autograd.backward(model(torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64)).logits.square().sum())
    first = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    assert first.weight.grad is not None
    assert first.weight.grad[:, 3].any()


def test_gaze_dropout_empties_the_maps_of_some_cases_in_training_alone() -> None:
    planes = network(gaze_dropout=0.3).planes
    x, gaze = torch.rand(400, 1, 32, 32), torch.rand(400, 1, 32, 32)
    first, later = torch.arange(400), 1000 + torch.arange(400)

    def left_out(keys: Tensor, shown: slice = slice(None)) -> Tensor:
        """Which cases' maps are empty in the batch of some of the cases."""
        readable = torch.ones(400, dtype=torch.bool)[shown]
        batch = SimpleNamespace(
            image=x[shown], draw=keys[shown], readable=readable, gaze_maps=lambda: gaze[shown]
        )
        _, maps = planes.inputs(cast(Batch, batch))
        empty = (maps == 0).flatten(1).all(1)
        assert torch.equal(maps[~empty], gaze[shown][~empty])
        return empty

    assert not left_out(first).any()
    planes.train()
    empty = left_out(first)
    assert float(empty.float().mean()) == pytest.approx(0.3, abs=0.07)
    assert not torch.equal(empty, left_out(later))  # drawn again in another epoch
    assert torch.equal(empty[1::2], left_out(first, slice(1, None, 2)))  # whatever the other cases are


def test_the_scoring_part_gives_the_same_scores_and_reads_the_same_inputs() -> None:
    model = seeing(network())
    x, gaze = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    part = models.scoring(model)
    assert part is not model
    assert torch.equal(part(x, gaze).logits, model(x, gaze).logits)
    assert part(x, gaze).mask is None
    assert {id(p) for p in part.parameters()} < {id(p) for p in model.parameters()}


def test_its_encoders_layers_are_found_by_size() -> None:
    assert layer_at(network(encoder="resnet18"), "1/16") == "network.encoder.layer3"


def test_an_encoder_without_a_first_convolution_of_three_channels_is_refused() -> None:
    for first in (nn.Conv2d(1, 8, 3), nn.Conv2d(3, 6, 3, groups=3), nn.Linear(3, 8)):
        with pytest.raises(
            UserError, match=r"`model\.encoder=own` does not begin with a convolution of three"
        ):
            widen(nn.Sequential(first), "own")


def test_only_a_model_of_gaze_maps_goes_without_gaze() -> None:
    with pytest.raises(FieldError, match=r"`without_gaze` is for a model that reads a gaze map, not unet"):
        ModelConfig("unet", without_gaze=True)
    with pytest.raises(FieldError, match=r"`without_gaze`.* not temporal"):
        ModelConfig("temporal", without_gaze=True)
    with pytest.raises(FieldError, match=r"`gaze_dropout` must be at least 0 and below 1"):
        ModelConfig("unet_with_gaze", gaze_dropout=1.0)
    for config, reads, needs in (
        (ModelConfig("unet_with_gaze"), True, True),
        (ModelConfig("unet_with_gaze", gaze_dropout=0.5), True, False),
        (ModelConfig("unet_with_gaze", gaze_dropout=0.5, without_gaze=True), False, False),
        (ModelConfig("temporal"), True, True),
        (ModelConfig("unet"), False, False),
    ):
        assert (config.reads_gaze, config.needs_gaze) == (reads, needs)


def test_a_model_comes_back_to_the_bit(tmp_path: Path) -> None:
    config = ModelConfig("unet_with_gaze", ENCODER, "none", (16, 8, 8, 4, 4), gaze_dropout=0.5)
    model = create(config, 2)
    assert isinstance(model, UNetWithGaze)
    seeing(model).train()(torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64))
    save(model, config, ("a", "b"), tmp_path)
    found, _ = load(tmp_path)
    assert isinstance(found, UNetWithGaze)
    assert found.planes.dropout == 0.5
    x, gaze = torch.rand(2, 1, 96, 64), torch.rand(2, 1, 96, 64)
    for ours, theirs in zip(found(x, gaze)[:2], model.eval()(x, gaze)[:2], strict=True):
        assert torch.equal(ours, theirs)
