"""The two heads of IRNet on the features of a trained encoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 32
"""Channels of each feature level in the boundary branch, as in the paper's figure 3."""
DISPLACEMENT_CHANNELS = 64
"""Channels of each level in the displacement branch; the paper's 256 are for the features of a ResNet-50."""
GROUPS = 4
"""Groups of the boundary branch's group norm, as implemented in the authors' code."""


class Relations(NamedTuple):
    """Output of IRNet at a quarter of the images' size.

    Attributes:
        boundary: Probability (B, h, w) that a pixel is on a boundary between objects.
        displacement: Offset (B, 2, h, w) in pixels, rows and columns, from a pixel to the middle of its
            object.
    """

    boundary: Tensor
    displacement: Tensor


class IRNet(nn.Module):
    """IRNet: class boundaries and displacements to the middle of objects (section 4 of the paper).

    Only the heads are trained: the encoder's features are constants, as in the authors' code. The paper's
    encoder is a classifier's ResNet-50; here it is the encoder of the run whose maps are refined.

    Args:
        encoder: Encoder that returns its features from the finest on, the image first.
        channels: Channels of these features.
    """

    def __init__(self, encoder: nn.Module, channels: list[int]) -> None:
        super().__init__()
        object.__setattr__(self, "encoder", encoder)  # not a part: it is neither trained nor changed
        levels = [number for number in channels[1:] if number]
        self.boundary = Branch(levels, CHANNELS, 1)
        self.displacement = Branch(levels, DISPLACEMENT_CHANNELS, 2)

    def features(self, images: Tensor) -> list[Tensor]:
        """The encoder's features of images (B, 3, H, W) below full size, without gradients."""
        encoder: nn.Module = self.encoder  # type: ignore[assignment]
        with torch.no_grad():
            features: list[Tensor] = encoder(images)
        return [each for each in features[1:] if each.shape[1]]

    def forward(self, images: Tensor) -> Relations:
        """Find boundaries and displacements in images (B, 3, H, W) as the encoder takes them."""
        features, size = self.features(images), (images.shape[-2] // 4, images.shape[-1] // 4)
        return Relations(self.boundary(features, size)[:, 0].sigmoid(), self.displacement(features, size))


class Branch(nn.Module):
    """All levels, each through a 1 × 1 convolution, resized to one size and joined by another one."""

    def __init__(self, levels: list[int], channels: int, outputs: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(number, channels, 1, bias=False), nn.GroupNorm(GROUPS, channels), nn.ReLU()
            )
            for number in levels
        )
        self.join = nn.Conv2d(channels * len(levels), outputs, 1)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Features of each level → (B, outputs, h, w)."""
        resized = [
            F.interpolate(level(each), size, mode="bilinear", align_corners=False)
            for level, each in zip(self.levels, features, strict=True)
        ]
        output: Tensor = self.join(torch.cat(resized, 1))
        return output
