"""Networks of an encoder and a 1×1 convolution to a map of each class, from which the scores are pooled.

`stl` adds a second classifier on the same encoder: self-transfer learning (Hwang and Kim, "Self-transfer
learning for weakly supervised lesion localization", MICCAI 2016, figure 1). Its localiser, the class maps and
their pooling, gives the scores, and the classifier, whose scores only training uses, teaches the encoder what
the localiser alone is slow to find.
"""

from __future__ import annotations

import torch
from segmentation_models_pytorch.base import ClassificationHead
from segmentation_models_pytorch.base.initialization import initialize_head
from torch import Tensor, nn

from radgaze.models.config import ModelConfig
from radgaze.models.encoder_input import scaling
from radgaze.models.output import Output, map_of
from radgaze.models.registry import SIZE, register
from radgaze.models.unet import create_encoder, keep_apart


@register("class_maps", title="network of class maps", provides=("mask", "class_maps"), takes_size=True)
class ClassMaps(nn.Module):
    """Encoder and 1×1 convolution to a map of each class (B, C, H/32, W/32), or of the grid of a
    transformer's tokens, whose means or maxima are the logits."""

    def __init__(self, config: ModelConfig, classes: int, size: int = SIZE) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.grey = scaling(config)
        self.encoder, channels = create_encoder(config, size)
        self.dropout = nn.Dropout2d(config.dropout)
        self.localiser = nn.Conv2d(channels[-1], classes, 1)
        initialize_head(self.localiser)

    def forward(self, images: Tensor) -> Output:
        """Compute logits and class maps of images (B, 1, H, W); the mask is the predicted class's map."""
        return self._localised(self.encoder(self.grey(images))[-1], images.shape[-2:])

    def _localised(self, features: Tensor, size: torch.Size) -> Output:
        maps = self.localiser(self.dropout(features))
        logits = maps.amax((2, 3)) if self.pooling == "max" else maps.mean((2, 3))
        return Output(logits, map_of(maps, logits.argmax(1), size), maps)


@register("stl", title="self-transfer network", provides=("mask", "class_maps"), takes_size=True)
class SelfTransfer(ClassMaps):
    """`ClassMaps` with a second classifier: average pooling, dropout and a linear layer."""

    def __init__(self, config: ModelConfig, classes: int, size: int = SIZE) -> None:
        super().__init__(config, classes, size)
        channels = self.localiser.in_channels
        self.classifier = ClassificationHead(channels, classes, dropout=config.dropout)
        keep_apart(self.classifier)
        initialize_head(self.classifier)

    def forward(self, images: Tensor) -> Output:
        """Compute the localiser's logits and class maps, and the classifier's `aux_logits`."""
        features = self.encoder(self.grey(images))[-1]
        output = self._localised(features, images.shape[-2:])
        return output._replace(aux_logits=self.classifier(features))
