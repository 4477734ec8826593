"""Gradients of a heatmap loss are exact in networks of a real size, too."""

from __future__ import annotations

import pytest
import torch
from timm.layers.drop import DropPath
from torch import nn

from radgaze import attribution, models
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact
from tests.attribution.networks import randomised


@pytest.mark.slow
@pytest.mark.parametrize("training", [False, True])
def test_efficientnet_unet_matches_finite_differences(training: bool) -> None:
    torch.manual_seed(4)
    model = models.create(models.ModelConfig(weights="none", dropout=0.0), 3)
    images = torch.rand(4, 1, 64, 64, dtype=torch.float64)
    model = randomised(model).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Running statistics become the mean of what is seen: of a size with the activations.
            module.momentum = None
            module.reset_running_stats()
        if isinstance(module, DropPath):
            module.drop_prob = 0.0  # finite differences need the same network twice
    model(torch.rand(8, 1, 64, 64, dtype=torch.float64))
    model.train(training)
    network = model.get_submodule("network")
    encoder = network.get_submodule("encoder")
    block = encoder.get_submodule("blocks.1.0")
    chosen = {
        "stem": encoder.get_parameter("conv_stem.weight"),
        "strided depthwise": block.get_parameter("conv_dw.weight"),
        "batch norm scale": block.get_parameter("bn1.weight"),
        "batch norm shift": block.get_parameter("bn2.bias"),
        "SE reduce": block.get_parameter("se.conv_reduce.weight"),
        "SE expand": block.get_parameter("se.conv_expand.bias"),
        "pointwise": block.get_parameter("conv_pwl.weight"),
        "deep": encoder.get_parameter("blocks.5.1.conv_pw.weight"),
        "head": network.get_parameter("classification_head.3.weight"),
        "mask head": network.get_parameter("segmentation_head.0.weight"),
    }
    assert_heatmap_loss_is_exact(
        attribution.create("guided_backprop", model, normalise="none"),
        images,
        parameters=chosen,
        held=training,
        steps=(1e-6, 1e-7),
        tolerance=1e-4,
    )
