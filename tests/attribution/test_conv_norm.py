"""A batch norm's factor in the read-out is applied to the smaller of the gradient and the weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact
from tests.attribution.networks import randomised

SIDES = {"few places": 3, "many places": 24}
"""Image sides with which the gradient at the convolution has fewer, or more, values than its weights."""


def network(*, frozen: bool) -> nn.Sequential:
    model = randomised(
        nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(12, 3),
        )
    )
    if frozen:
        model[3].requires_grad_(requires_grad=False)
    return model


@pytest.mark.parametrize("where", SIDES)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_match_finite_differences(where: str, training: bool, frozen: bool) -> None:
    torch.manual_seed(0)
    model = network(frozen=frozen).train(training)
    images = torch.rand(3, 1, SIDES[where], SIDES[where], dtype=torch.float64)
    assert_heatmap_loss_is_exact(
        attribution.create("guided_backprop", model, normalise="none"),
        images,
        parameters={name: p for name, p in model.named_parameters() if p.requires_grad},
        held=training,
    )


@pytest.mark.parametrize("frozen", [False, True])
def test_no_copy_of_the_weights_is_kept_where_the_gradient_is_smaller(frozen: bool) -> None:
    model = network(frozen=frozen).eval()
    weights = model.get_parameter("2.weight")
    kept: set[int] = set()

    def keep(tensor: Tensor) -> Tensor:
        if tensor.numel() >= weights.numel() and tensor.data_ptr() != weights.data_ptr():
            kept.add(tensor.data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        with attribution.create("guided_backprop", model).capture() as read:
            heat = read(model(torch.rand(3, 1, 3, 3, dtype=torch.float64)), torch.arange(3))
        torch.autograd.backward(heat.square().sum())
    assert not kept
