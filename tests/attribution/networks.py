"""Small networks for the tests of the heatmap engine."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Small(nn.Module):
    """Dense, strided and depthwise convolutions, batch norm, squeeze-and-excitation, pooling, linear head."""

    def __init__(self, activation: Callable[[], nn.Module], *, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.act1 = activation()
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm2 = nn.BatchNorm2d(6)
        self.act2 = activation()
        self.squeeze = nn.Conv2d(6, 3, 1)
        self.act3 = activation()
        self.expand = nn.Conv2d(3, 6, 1)
        self.project = nn.Conv2d(6, 8, 3, stride=2, padding=2, dilation=2)
        self.act4 = activation()
        self.head = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.act1(self.norm(self.stem(images)))
        x = self.act2(self.norm2(self.depthwise(x)))
        gate = torch.sigmoid(self.expand(self.act3(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
        x = self.act4(self.project(x * gate))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Functional(nn.Module):
    """The activations as plain function calls, in place and written out, which no module hook would see."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.c = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.a(images))
        x = self.b(x)
        x = x.mul_(x.sigmoid())
        x = self.c(x)
        F.silu(x, inplace=True)
        return self.head(x.mean((2, 3)))


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model in float64 with random norms and running statistics, so that no factor is 1 by chance."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_var, 0.5)):
                tensor.data = low + torch.rand(tensor.shape, generator=generator, dtype=torch.float64)
            mean = torch.randn(module.running_mean.shape, generator=generator)
            module.running_mean.data = mean.double() * 0.2
    return model
