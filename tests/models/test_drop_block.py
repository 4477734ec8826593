"""DropBlock: squares of zeros in training, nothing otherwise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from radgaze import attribution, models
from radgaze.models.config import ModelConfig
from radgaze.models.drop_block import DropBlock, with_drop_block
from radgaze.options import FieldError


def dropped(features: torch.Tensor, probability: float = 0.2, size: int = 7) -> torch.Tensor:
    torch.manual_seed(0)
    head = with_drop_block(nn.Sequential(nn.Identity()), probability, size)
    output: torch.Tensor = head.train()(features)
    return output


def test_what_is_dropped_are_squares_of_the_given_share() -> None:
    found = dropped(torch.ones(4, 16, 40, 40))
    zero = (found == 0).float()
    assert 0.14 < float(zero.mean()) < 0.22  # squares overlap
    # Each zero lies in a square of 7 × 7 zeros: opening by the square leaves them all.
    whole = -F.max_pool2d(-F.pad(zero, [3] * 4, value=1.0), 7, 1)
    opened = F.max_pool2d(F.pad(whole, [3] * 4), 7, 1)
    assert torch.equal(opened * zero, zero)
    # Channels and cases have squares of their own.
    assert not torch.equal(zero[0, 0], zero[0, 1])
    assert not torch.equal(zero[0, 0], zero[1, 0])


def test_the_sum_of_the_features_is_kept() -> None:
    found = dropped(torch.ones(4, 16, 40, 40))
    assert torch.isclose(found.mean(), torch.tensor(1.0), atol=1e-4)
    assert len(set(found.flatten().tolist())) == 2  # zero, and one scale for all others


def test_features_smaller_than_a_square_are_dropped_by_channel() -> None:
    found = dropped(torch.ones(8, 64, 3, 3), probability=0.5)
    planes = (found == 0).flatten(2).float().mean(2)
    assert set(planes.flatten().tolist()) == {0.0, 1.0}
    assert 0.4 < float(planes.mean()) < 0.6


def test_squares_have_an_odd_side_in_features_of_a_smaller_even_side() -> None:
    zero = (dropped(torch.ones(8, 64, 4, 4), probability=0.3) == 0).float()
    # Squares of 3 × 3 in 4 × 4 places: the four places in the middle are in every one of them.
    in_any, middle = zero.flatten(2).amax(2), zero[:, :, 1:3, 1:3].flatten(2).amin(2)
    assert torch.equal(in_any, middle)
    assert 0 < float(in_any.mean()) < 1
    assert dropped(torch.ones(8, 64, 2, 2)).shape == (8, 64, 2, 2)


def test_the_side_of_a_square_is_odd() -> None:
    with pytest.raises(FieldError, match="must be odd, got 4"):
        ModelConfig(drop_block=0.2, drop_block_size=4).check()


def test_it_is_the_head_itself_outside_of_training_and_without_a_share() -> None:
    features, plain = torch.rand(2, 3, 9, 9), nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert with_drop_block(plain, 0.0, 7) is plain
    head = with_drop_block(plain, 0.2, 7).eval()
    assert torch.equal(head(features), plain(features))


def test_gradients_flow_where_nothing_was_dropped() -> None:
    features = torch.rand(2, 4, 12, 12, requires_grad=True)
    output = dropped(features)
    (gradient,) = torch.autograd.grad(output.sum(), features)
    assert torch.equal(gradient == 0, output == 0)


@pytest.mark.parametrize("architecture", ["unet", "classifier"])
def test_a_network_drops_squares_in_training_alone(architecture: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(architecture, "tu-test_efficientnet", "none", dropout=0.0)
    plain = models.create(config, 3).eval()
    dropping = models.create(replace(config, drop_block=0.3, drop_block_size=1), 3).eval()
    state = zip(dropping.state_dict(), plain.state_dict().values(), strict=True)  # in front of the head
    dropping.load_state_dict(dict(state))
    images = torch.rand(2, 1, 96, 96)
    assert torch.equal(plain(images).logits, dropping(images).logits)
    for module in dropping.modules():
        if isinstance(module, DropBlock):
            module.train()
    assert not torch.allclose(plain(images).logits, dropping(images).logits)


def test_cam_applies_to_a_head_with_drop_block() -> None:
    config = ModelConfig("classifier", "tu-test_efficientnet", "none", drop_block=0.3, drop_block_size=1)
    model = models.create(config, 3)
    assert attribution.create("cam", model)(torch.rand(2, 1, 96, 96), 1).shape == (2, 1, 96, 96)
