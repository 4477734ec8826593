"""Modules computed in a faster way while a plain gradient is made of a model that nothing is learned in.

A torch function mode sees every call and every `x.shape`, which takes a tenth of a small network's time. Here
only modules that can be computed faster are intercepted: a network's first convolution, whose layout those
after it follow; convolutions of many places, whose gradient includes the frozen batch norm after them; and
GELU, which oneDNN computes for contiguous tensors alone. All else runs as it is.

Meanwhile such a module has an attribute `forward`. Where the module runs outside the capture, in another
thread or another capture, that attribute computes what the module does by itself. A copy of the module that
is made meanwhile has the copy's own `forward` in its place.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from inspect import getattr_static
from typing import Literal, Self

import torch
from torch import Tensor, nn

from radgaze.attribution.engine import turns
from radgaze.attribution.engine.checkpointing import recompute_within
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.layers import Conv, ConvAffine, Geometry
from radgaze.attribution.engine.unchanged import Convolved, Unchanged

MANY = 2**16
"""Values of a convolution's output from which one pass over them takes longer than a step's bookkeeping."""

PLACES = 2**15
"""Places of the images from which most convolutions give so many."""

HEAVY = 2**18
"""Number of weights from which, with few places, a dense convolution takes longest to order its weights."""


class Swaps:
    """Context manager in which modules of a model run in their faster way, within this capture alone.

    Args:
        model: The model, in evaluation mode and without gradients of its parameters.
        pass_: State of the forward pass.
        batch_statistics: As of an `Interception`, for which it stands in.
        places: Places of the images, over all cases. With few of them a pass over feature maps takes no time,
            and only the first convolution is swapped.

    Attributes:
        around: As of an `Interception`.
        convolved: The last convolution that a batch norm may follow.
        normed: Whether the model has batch norms that a convolution's gradient may include.
    """

    def __init__(
        self, model: nn.Module, pass_: Pass, batch_statistics: Literal["held", "exact"], places: int
    ) -> None:
        self.pass_, self.batch_statistics = pass_, batch_statistics
        self.many = places >= PLACES
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        self.convolved: Convolved | None = None
        self.normed = False
        self._model, self._swapped = model, list[nn.Module]()

    def __enter__(self) -> Self:
        try:
            self._swap()
        except BaseException:  # also an interrupt
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for module in self._swapped:
            if _is_of(module, self):
                del module.__dict__["forward"]
        self._swapped.clear()
        self.convolved = None

    def _swap(self) -> None:
        parts = turns.parts_of(self._model)
        types = set(map(type, parts))
        if any(issubclass(each, nn.DataParallel) for each in types):  # replicas share attributes
            return
        kinds = {each: kind for each in types if (kind := _kind_of(each)) is not None}
        self.normed = any(issubclass(kind, SwappedNorm) for kind in kinds.values())
        if not self.many and any(_is_heavy(module, HEAVY) for module in parts):
            return  # The first convolution would only set the layout of all that follow.
        for module in parts:
            kind = kinds.get(type(module))
            if kind is None or not _OWN.isdisjoint(module.__dict__):
                continue
            first = isinstance(module, nn.Conv2d) and module.in_channels <= _COLOURS
            if first or (self.many and (self.normed or kind is SwappedGELU)):
                self._swapped.append(module)
                module.__dict__["forward"] = kind(module, self)

    def in_force(self) -> bool:
        """Whether what runs now is the pass, not another thread or capture, or a part without a graph."""
        return turns.HERE.listens is self and torch.is_grad_enabled()

    def again(self) -> AbstractContextManager[object]:
        """The context for a part that is computed again: a backward may do so in another thread."""
        return turns.listening(self)


@dataclass(eq=False)
class Swap:
    """A module's forward, in its place while the swaps are entered."""

    module: nn.Module
    swaps: Swaps

    def __call__(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        if kwargs or len(args) != 1 or not self.swaps.in_force():
            return self.plainly(*args, **kwargs)
        return self.faster(*args)

    def __reduce__(self) -> tuple[object, tuple[nn.Module, str]]:
        return getattr, (self.module, "forward")  # of the module's copy, which has none but its class's yet

    def plainly(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        """Compute what the module does by itself."""
        y: Tensor = type(self.module).forward(self.module, *args, **kwargs)
        return y

    def faster(self, x: Tensor) -> Tensor:
        """Compute the same in a faster way."""
        raise NotImplementedError


class SwappedConv(Swap):
    """`nn.Conv2d`."""

    module: nn.Conv2d

    def faster(self, x: Tensor) -> Tensor:
        swaps, module = self.swaps, self.module
        padding = module.padding
        if isinstance(padding, str) or module.padding_mode != "zeros" or x.dim() != 4:
            return self.plainly(x)
        weight, bias = module.weight, module.bias
        if swaps.pass_.channels_last and x.device.type == "cpu":
            # oneDNN reorders dense weights in each call, which takes longer for channels last.
            heavy = _is_heavy(module, x.numel())
            x = x.contiguous(memory_format=torch.contiguous_format if heavy else torch.channels_last)
        geometry = ([*module.stride], [*padding], [*module.dilation], module.groups)
        y: Tensor
        if swaps.many and swaps.normed and _gives_many(x, weight, geometry):
            recompute_within(swaps.again, swaps.around)
            y = Conv.apply(x, weight, bias, geometry, swaps.pass_, False)
            tensors = (Unchanged(y), Unchanged(x), Unchanged(weight), Unchanged(bias))
            swaps.convolved = Convolved(*tensors, geometry, False)
        else:
            y = torch.conv2d(x, weight, bias, *geometry)
        return y


class SwappedNorm(Swap):
    """`nn.BatchNorm2d` with statistics of its own."""

    module: nn.BatchNorm2d

    def faster(self, x: Tensor) -> Tensor:
        y = self.after_convolution(x)
        return self.plainly(x) if y is None else y

    def after_convolution(self, x: Tensor) -> Tensor | None:
        """The frozen norm of the last convolution's result; None of another tensor."""
        swaps, module = self.swaps, self.module
        convolved, swaps.convolved = swaps.convolved, None
        if convolved is None or not convolved.gave(x) or _is_hooked(x):
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

    def faster(self, x: Tensor) -> Tensor:
        y = self.after_convolution(x)
        if y is None:
            return self.plainly(x)
        for each in (self.module.drop, self.module.act):
            y = each(y)  # type: ignore[operator]
        return y


class SwappedGELU(Swap):
    """GELU of feature maps with the channels last."""

    def faster(self, x: Tensor) -> Tensor:
        if x.dim() != 4 or x.is_contiguous() or x.device.type != "cpu":
            return self.plainly(x)
        return self.plainly(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


_COLOURS = 4
"""Most channels of images."""

_OWN = {"forward", "_conv_forward"}
"""Attributes of a module that computes something of its own, or is swapped already."""

_CONV, _CONV_FORWARD = nn.Conv2d.forward, nn.Conv2d._conv_forward
_NORM, _GELU = nn.BatchNorm2d.forward, nn.GELU.forward


def _is_heavy(module: nn.Module, weights: int) -> bool:
    """Whether a module is a dense spatial convolution with more weights than that."""
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == 1
        and module.weight.numel() > weights
        and module.kernel_size != (1, 1)
    )


def _kind_of(module: type) -> type[Swap] | None:
    """How modules of a class are swapped; None where they are not, or compute something of their own."""
    if not issubclass(module, nn.Module) or module.__call__ is not nn.Module.__call__:
        return None
    forward = getattr_static(module, "forward")  # of a scripted class it is no function, but a descriptor
    if issubclass(module, nn.Conv2d):
        as_torch = forward is _CONV and module._conv_forward is _CONV_FORWARD
        return SwappedConv if as_torch else None
    if issubclass(module, nn.BatchNorm2d) and forward is _NORM:
        return None if issubclass(module, nn.SyncBatchNorm) else SwappedNorm
    if forward is _GELU or forward is _of_timm("activations", "GELU"):
        return SwappedGELU
    return SwappedNormAct if forward is _of_timm("norm_act", "BatchNormAct2d") else None


def _of_timm(file: str, name: str) -> object:
    """The forward of a class of timm, which is not imported for it; None without one."""
    return getattr(getattr(sys.modules.get(f"timm.layers.{file}"), name, None), "forward", None)


def _is_of(module: nn.Module, swaps: Swaps) -> bool:
    """Whether the module's forward is one of these swaps."""
    forward = module.__dict__.get("forward")
    return isinstance(forward, Swap) and forward.swaps is swaps


def _gives_many(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether a convolution of x gives many values, and in x's precision."""
    stride = geometry[0]
    values = len(x) * len(weight) * x.shape[2] * x.shape[3] // (stride[0] * stride[1])
    return values >= MANY and not torch.is_autocast_enabled(x.device.type)


def _is_hooked(x: Tensor) -> bool:
    """Whether someone waits for the gradient of this very tensor."""
    return bool(x._backward_hooks) or x.retains_grad
