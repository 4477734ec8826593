"""Layers named by the share of the image's side, in encoders of several libraries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from radgaze import models
from radgaze.models.config import ModelConfig
from radgaze.models.layers import layer_at


@pytest.mark.parametrize("architecture", ["classifier", "unet"])
@pytest.mark.parametrize(
    "encoder", ["tu-test_efficientnet", "timm-efficientnet-b0", "resnet18", "tu-resnet10t"]
)
def test_a_layer_of_a_share_of_the_side_makes_feature_maps_of_it(encoder: str, architecture: str) -> None:
    config = ModelConfig(
        architecture=architecture, encoder=encoder, weights="none", decoder_channels=(8, 8, 4, 4, 4)
    )
    model = models.create(config, 3).eval()
    for side in (8, 16, 32):
        name = layer_at(model, f"1/{side}")
        assert name is not None
        made: list[Tensor] = []

        def keep(module: nn.Module, args: object, output: Tensor, made: list[Tensor] = made) -> None:
            made.append(output)

        with model.get_submodule(name).register_forward_hook(keep):
            model(torch.rand(1, 1, 64, 64))
        assert made[0].shape[-2:] == (64 // side, 64 // side)
