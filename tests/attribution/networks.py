"""Small networks for the tests of the heatmap engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Network = TypeVar("Network", bound=nn.Module)


class Parts(Protocol):
    """Layers by name, as `nn.ModuleDict` has them."""

    def __getitem__(self, key: str, /) -> Callable[..., Tensor]: ...


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
        x = self.excited(self.entered(images))
        logits: Tensor = self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits

    def entered(self, images: Tensor) -> Tensor:
        x = self.act1(self.norm(self.stem(images)))
        maps: Tensor = self.act2(self.norm2(self.depthwise(x)))
        return maps

    def excited(self, x: Tensor) -> Tensor:
        gate = self.gate(x)
        maps: Tensor = self.act4(self.project(x * gate))
        return maps

    def gate(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.expand(self.act3(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))


class Checkpointed(Small):
    """A small network that keeps few activations and computes the others again in the backward."""

    def entered(self, images: Tensor) -> Tensor:
        return checkpoint(super().entered, images, use_reentrant=False)

    def excited(self, x: Tensor) -> Tensor:
        return checkpoint(super().excited, x, use_reentrant=False)


class Residual(nn.Module):
    """As ResNets are: one ReLU used everywhere, in place, maximum pooling, and a projected shortcut."""

    def __init__(self, *, classes: int = 3) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=True)
        self.stem = nn.Conv2d(1, 4, 5, padding=2, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(6)
        self.conv2 = nn.Conv2d(6, 6, 3, padding=2, dilation=2, bias=False)
        self.norm2 = nn.BatchNorm2d(6)
        self.shortcut = nn.Sequential(nn.Conv2d(4, 6, 1, stride=2, bias=False), nn.BatchNorm2d(6))
        self.head = nn.Linear(6, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(self.relu(self.norm(self.stem(images))), 2)
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += self.shortcut(x)
        logits: Tensor = self.head(torch.flatten(F.adaptive_avg_pool2d(self.relu(y), 1), 1))
        return logits


class Inverted(nn.Module):
    """As EfficientNets are: two inverted residuals of depthwise convolutions with squeeze-and-excitation."""

    def __init__(self, *, channels: int = 2, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.first = InvertedResidual(4, 6, kernel=5, stride=2)
        self.second = InvertedResidual(6, 6, kernel=3, dilation=2)
        self.widen = nn.Conv2d(6, 8, 1, bias=False)
        self.last_norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.norm(self.stem(images)))
        x = F.silu(self.last_norm(self.widen(self.second(self.first(x)))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class InvertedResidual(nn.Module):
    """Wide, depthwise, gated, narrow again, and the input added where it has the same shape."""

    def __init__(self, inner: int, outer: int, *, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        wide = 2 * inner
        self.expand = nn.Conv2d(inner, wide, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(wide)
        padding = dilation * (kernel // 2)
        self.depthwise = nn.Conv2d(
            wide, wide, kernel, stride, padding, dilation=dilation, groups=wide, bias=False
        )
        self.norm2 = nn.BatchNorm2d(wide)
        self.squeeze, self.excite = nn.Conv2d(wide, 2, 1), nn.Conv2d(2, wide, 1)
        self.project = nn.Conv2d(wide, outer, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outer)
        self.silu = nn.SiLU(inplace=True)
        self.adds = stride == 1 and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        y = self.silu(self.norm1(self.expand(x)))
        y = self.silu(self.norm2(self.depthwise(y)))
        y = y * self.excite(self.silu(self.squeeze(y.mean((2, 3), keepdim=True)))).sigmoid()
        y = self.norm3(self.project(y))
        narrow: Tensor = y + x if self.adds else y
        return narrow


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
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def gradients(model: nn.Module) -> dict[str, Tensor]:
    """The gradients of all parameters, by name; each has to have one."""
    found = {}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        found[name] = parameter.grad.clone()
    return found


def randomised(model: Network, seed: int = 0) -> Network:
    """The model in float64, every parameter and running statistic drawn, so that no factor is 1 by chance."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=generator, dtype=torch.float64)

    model = model.double()
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = (6 / module.weight[0].numel()) ** 0.5  # He et al. 2015: values keep their size
            for tensor in (module.weight, module.bias):
                if tensor is not None:
                    tensor.data = bound * (2 * drawn(tensor) - 1)
        elif isinstance(module, nn.BatchNorm2d):
            for tensor, low in ((module.weight, 0.5), (module.bias, -0.5), (module.running_var, 0.5)):
                if tensor is not None:
                    tensor.data = low + drawn(tensor)
            if module.running_mean is not None:
                module.running_mean.data = 0.4 * (drawn(module.running_mean) - 0.5)
    return model
