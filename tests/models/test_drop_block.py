"""DropBlock: squares of zeros in training, nothing otherwise."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from radgaze.models.drop_block import with_drop_block


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
