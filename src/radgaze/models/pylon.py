"""PYLON, the pyramid localization network, which computes a map of each class, and the scores from the maps.

Preechakul, Sriswasdi, Kijsirikul and Chuangsuwanich, "Improved image classification explainability with
high-accuracy heatmaps", iScience 2022, in the form of its published code: pyramid attention on the encoder's
deepest features, three upsampling modules that add finer ones up to a quarter of the image's side, a 1×1
convolution to the classes, and the largest value of each class's map as its score. The map of a class is
thus not a post-hoc explanation: the score is computed from it. It is 8 times as fine on each side as the
features that a classifier pools.

Two things differ from the published code, so that the sides of an image may be any multiple of 32 rather
than of 256: max-pooling rounds odd sides up, and a batch normalisation with a single value per channel uses
its running statistics. The published network has no dropout; here it drops whole channels before the last
layer, as in the other networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from torch import Tensor, nn

from radgaze.errors import UserError
from radgaze.models.config import ModelConfig
from radgaze.models.encoder_input import scaling
from radgaze.models.output import Output, map_of
from radgaze.models.registry import SIZE, register
from radgaze.models.token_encoder import TokenEncoder
from radgaze.models.unet import create_encoder


@register("pylon", title="PYLON", provides=("mask", "class_maps"), takes_size=True)
class Pylon(nn.Module):
    """Encoder and decoder to a map of each class (B, C, H/4, W/4), whose maxima are the logits."""

    def __init__(self, config: ModelConfig, classes: int, size: int = SIZE) -> None:
        super().__init__()
        self.grey = scaling(config)
        self.encoder, channels = create_encoder(config, size)
        if isinstance(self.encoder, TokenEncoder):
            raise UserError(
                f"`model.encoder={config.encoder}` has tokens of one size, and `model.architecture=pylon` "
                "needs features of four: take class_maps, or unet, whose decoder takes tokens"
            )
        self.decoder = Decoder(channels, config.pylon_channels)
        self.dropout = nn.Dropout2d(config.dropout)
        self.head = nn.Conv2d(config.pylon_channels, classes, 1)
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    def forward(self, images: Tensor) -> Output:
        """Compute logits and class maps of images (B, 1, H, W); the mask is the predicted class's map."""
        features = self.encoder(self.grey(images))
        maps = self.head(self.dropout(self.decoder(features)))
        logits = maps.amax((2, 3))
        return Output(logits, map_of(maps, logits.argmax(1), images.shape[-2:]), maps)


class Decoder(nn.Module):
    """Map the features of an encoder to (B, width, h, w) at a quarter of the image's side.

    Args:
        channels: Channels of the features, from the finest; the last four features are at 1/4, 1/8, 1/16 and
            1/32 of the side.
        width: Channels of the result.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.attention = PyramidAttention(channels[-1], width)
        self.up = nn.ModuleList(Up(finer, width) for finer in channels[-2:-5:-1])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Decode features (B, channels[k], …) in the encoder's order, the finest first."""
        x: Tensor = self.attention(features[-1])
        for up, finer in zip(self.up, features[-2:-5:-1], strict=True):
            x = up(finer, x)
        return x


class PyramidAttention(nn.Module):
    """Multiply projected features by a spatial attention map that is computed at three coarser scales."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layer(channels, width, 1))
        kernels = (7, 5, 3)
        self.down = nn.ModuleList(
            nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), *_layer(before, 1, kernel))
            for before, kernel in zip((channels, 1, 1), kernels, strict=True)
        )
        self.level = nn.ModuleList(nn.Sequential(*_layer(1, 1, kernel)) for kernel in kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, width, h, w)."""
        levels = [x]
        for down in self.down:
            levels.append(down(levels[-1]))
        weight = self.level[2](levels[3])
        for k in (1, 0):
            weight = self.level[k](levels[k + 1]) + _resized(weight, levels[k + 1])
        weighted: Tensor = self.features(x) * _resized(weight, x)
        return weighted


class Up(nn.Module):
    """Project the finer features to `width` channels, and add the upsampled coarser features."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*_layer(channels, channels, 1), *_layer(channels, width, 1))

    def forward(self, finer: Tensor, coarser: Tensor) -> Tensor:
        """Map (B, channels, h, w) and (B, width, h', w') to (B, width, h, w)."""
        added: Tensor = self.features(finer) + _resized(coarser, finer)
        return added


class Norm(nn.BatchNorm2d):
    """Batch normalisation that uses the running statistics where a channel holds a single value."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        if self.training and input.numel() == self.num_features:
            mean, var = self.running_mean, self.running_var
            return F.batch_norm(input, mean, var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def _layer(before: int, after: int, kernel: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2), Norm(after), nn.ReLU(inplace=True)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)
