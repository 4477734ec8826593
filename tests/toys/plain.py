"""An architecture without any map."""

from __future__ import annotations

from torch import Tensor, nn

from radgaze.models.config import ModelConfig
from radgaze.models.output import Output
from radgaze.models.registry import register


@register("plain", title="network of one layer", own_encoder="one layer")
class Plain(nn.Module):
    """One convolution; logits only."""

    def __init__(self, config: ModelConfig, classes: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, classes, 3)

    def forward(self, images: Tensor) -> Output:
        return Output(self.layer(images).relu().mean((2, 3)), None)
