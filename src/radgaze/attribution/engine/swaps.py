"""Modules computed in a faster way while a plain gradient is made of a model that nothing is learned in.

A torch function mode sees every call and every `x.shape`, which takes a tenth of a small network's time. Here
only modules that can be computed faster are intercepted: convolutions of few places, with weights arranged
once (`packs`); convolutions of many places, whose gradient includes the frozen batch norm after them; and
GELU, which oneDNN computes for contiguous tensors alone. All else runs as it is.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn

from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.layers import Conv, ConvAffine, Geometry
from radgaze.attribution.engine.packs import PackedConv, Packs, is_large
from radgaze.attribution.engine.turns import parts_of
from radgaze.attribution.engine.unchanged import Convolved, Unchanged

MANY = 2**16
"""Values of a convolution's output from which one pass over them takes longer than a step's bookkeeping."""


PLACES = 2**15
"""Places of the images from which most convolutions give so many."""


class Swaps:
    """Context manager in which modules of a model run in their faster way, in this thread alone.

    Args:
        model: The model, in evaluation mode and without gradients of its parameters.
        pass_: State of the forward pass.
        batch_statistics: As of an `Interception`, for which it stands in.
        packs: The arranged weights of the generator.
        places: Places of the images, over all cases. With few of them a pass over feature maps takes no time,
            and only what is of another kind is swapped.

    Attributes:
        around: As of an `Interception`.
        convolved: The last convolution that a batch norm may follow.
        normed: Whether the model has batch norms that a convolution's gradient may include.
    """

    def __init__(
        self,
        model: nn.Module,
        pass_: Pass,
        batch_statistics: Literal["held", "exact"],
        packs: Packs,
        places: int,
    ) -> None:
        self.pass_, self.batch_statistics, self.packs = pass_, batch_statistics, packs
        self.many = places >= PLACES
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        self.convolved: Convolved | None = None
        self.normed, self.thread = False, 0
        self._model, self._swapped = model, list[nn.Module]()

    def __enter__(self) -> Self:
        self.thread = threading.get_ident()
        parts = parts_of(self._model)
        kinds = {each: kind for each in set(map(type, parts)) if (kind := _kind_of(each)) is not None}
        self.normed = any(issubclass(kind, SwappedNorm) for kind in kinds.values())
        for module in parts:
            kind = kinds.get(type(module))
            if kind is None or "forward" in module.__dict__:
                continue
            worth = isinstance(module, nn.Conv2d) and _is_worth_it(module)
            if worth or (self.many and (self.normed or kind is SwappedGELU)):
                module.__dict__["forward"] = kind(module, self)
                self._swapped.append(module)
        return self

    def __exit__(self, *error: object) -> None:
        for module in self._swapped:
            module.__dict__.pop("forward", None)
        self._swapped.clear()
        self.convolved, self.thread = None, 0

    def in_force(self) -> bool:
        """Whether a module that runs now belongs to the pass, not to another thread or a part without a
        graph."""
        return threading.get_ident() == self.thread and torch.is_grad_enabled()


@dataclass
class Swap:
    """A module's forward, in its place while the swaps are entered."""

    module: nn.Module
    swaps: Swaps

    def plainly(self, x: Tensor) -> Tensor:
        """Compute what the module does by itself."""
        y: Tensor = type(self.module).forward(self.module, x)
        return y


class SwappedConv(Swap):
    """`nn.Conv2d`."""

    module: nn.Conv2d

    def __call__(self, x: Tensor) -> Tensor:
        swaps, module = self.swaps, self.module
        padding = module.padding
        if not swaps.in_force() or isinstance(padding, str) or module.padding_mode != "zeros" or x.dim() != 4:
            return self.plainly(x)
        weight, bias = module.weight, module.bias
        if swaps.pass_.channels_last and x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)
        geometry = ([*module.stride], [*padding], [*module.dilation], module.groups)
        pack = swaps.packs.of(x, weight, geometry) if swaps.pass_.channels_last else None
        y: Tensor
        if pack is not None:
            y = PackedConv.apply(x, pack, bias)
        elif swaps.many and swaps.normed and _gives_many(x, weight, geometry):
            y = Conv.apply(x, weight, bias, geometry, swaps.pass_, False)
            tensors = (Unchanged(y), Unchanged(x), Unchanged(weight), Unchanged(bias))
            swaps.convolved = Convolved(*tensors, geometry, False)
        else:
            y = torch.conv2d(x, weight, bias, *geometry)
        return y


class SwappedNorm(Swap):
    """`nn.BatchNorm2d` with statistics of its own."""

    module: nn.BatchNorm2d

    def __call__(self, x: Tensor) -> Tensor:
        y = self.after_convolution(x)
        return self.plainly(x) if y is None else y

    def after_convolution(self, x: Tensor) -> Tensor | None:
        """The frozen norm of the last convolution's result; None of another tensor."""
        swaps, module = self.swaps, self.module
        convolved, swaps.convolved = swaps.convolved, None
        if convolved is None or not swaps.in_force() or not convolved.gave(x) or _is_hooked(x):
            return None
        gamma, beta, mean, var = module.weight, module.bias, module.running_mean, module.running_var
        if module.training or not module.affine:
            return None
        if gamma.requires_grad or beta.requires_grad or gamma.dtype != x.dtype:
            return None
        if mean is None or var is None or len(mean) != x.shape[1]:
            return None
        scale = gamma * torch.rsqrt(var + module.eps)
        made_of = (convolved.x.tensor, convolved.weight.tensor, convolved.bias.tensor, x.detach())
        y: Tensor = ConvAffine.apply(
            *made_of, scale, beta - mean * scale, convolved.geometry, swaps.pass_, False
        )
        return y


class SwappedNormAct(SwappedNorm):
    """timm's `BatchNormAct2d`: a batch norm, drop-out, and an activation."""

    def __call__(self, x: Tensor) -> Tensor:
        y = self.after_convolution(x)
        if y is None:
            return self.plainly(x)
        for each in (self.module.drop, self.module.act):
            y = each(y)  # type: ignore[operator]
        return y


class SwappedGELU(Swap):
    """GELU of feature maps with the channels last."""

    def __call__(self, x: Tensor) -> Tensor:
        if not self.swaps.in_force() or x.dim() != 4 or x.is_contiguous() or x.device.type != "cpu":
            return self.plainly(x)
        return self.plainly(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


_COLOURS = 4

_KINDS: dict[type, type[Swap] | None] = {}


def _kind_of(module: type) -> type[Swap] | None:
    """How modules of a class are swapped; None where they are not, or compute something of their own."""
    if module not in _KINDS:
        _KINDS[module] = _found(module)
    return _KINDS[module]


def _found(module: type) -> type[Swap] | None:
    if not issubclass(module, nn.Module) or module.__call__ is not nn.Module.__call__:
        return None
    forward = module.forward
    if issubclass(module, nn.Conv2d):
        as_torch = forward is nn.Conv2d.forward and module._conv_forward is nn.Conv2d._conv_forward
        return SwappedConv if as_torch else None
    if issubclass(module, nn.BatchNorm2d) and forward is nn.BatchNorm2d.forward:
        return None if issubclass(module, nn.SyncBatchNorm) else SwappedNorm
    if forward is nn.GELU.forward or forward is _of_timm("activations", "GELU"):
        return SwappedGELU
    return SwappedNormAct if forward is _of_timm("norm_act", "BatchNormAct2d") else None


def _of_timm(file: str, name: str) -> object:
    """The forward of a class of timm, which is not imported for it; None without one."""
    return getattr(getattr(sys.modules.get(f"timm.layers.{file}"), name, None), "forward", None)


def _is_worth_it(module: nn.Conv2d) -> bool:
    """Whether a convolution gains with small images: the first, by its layout, and those of large weights."""
    return module.in_channels <= _COLOURS or is_large(module.weight)


def _gives_many(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether a convolution of x gives many values, and in x's precision."""
    stride = geometry[0]
    values = len(x) * len(weight) * x.shape[2] * x.shape[3] // (stride[0] * stride[1])
    return values >= MANY and not torch.is_autocast_enabled(x.device.type)


def _is_hooked(x: Tensor) -> bool:
    """Whether someone waits for the gradient of this very tensor."""
    return bool(x._backward_hooks) or x.retains_grad
