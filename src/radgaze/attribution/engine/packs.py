"""Weights of convolutions of few places in the layout that oneDNN computes in, kept between calls.

Torch arranges a weight again for each convolution, and for each input gradient. Where the weight is larger
than the feature maps, as in the last stages of a network or with one small image, that takes several times as
long as the convolution itself. The arranged copy is used only while the weight holds the same bits: all of
them are compared in each call, since writing to `weight.data` leaves no other trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.autograd import Function

from radgaze.attribution.engine.forward_pass import Context
from radgaze.attribution.engine.layers import Geometry

FEW = 1024
"""Most places of a convolution's output, over all cases, for which its weight is kept."""

LARGE = 2**17
"""Fewest values of such a weight: a smaller one stays in cache, and is arranged in no time."""

UNUSED = 4
"""Calls after which a weight that was not used is dropped."""


@dataclass
class Pack:
    """One weight, arranged for a convolution and for its input gradient.

    Attributes:
        weight: The weight (C', C / groups, h, w).
        shape: Its shape.
        bits: A copy of its values.
        geometry: Stride, padding, dilation and groups of the convolution.
        rest: What the output size leaves of the input, see `_rest`.
        forward: The weight, arranged for the convolution.
        backward: The weight, arranged for the input gradient.
        version: Version of the weight when it was compared last.
        call: Number of the call in which it was compared last.
    """

    weight: Tensor
    shape: torch.Size
    bits: Tensor
    geometry: Geometry
    rest: list[int]
    forward: Tensor
    backward: Tensor
    version: int
    call: int

    def applies(self, x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
        """Whether it is made for a convolution of x with that weight."""
        if self.weight is not weight or self.geometry != geometry or x.dtype != torch.float32:
            return False
        return x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")

    def still(self, call: int) -> bool:
        """Whether the weight is the same as when it was arranged, compared once in each call."""
        if self.call != call or self.weight._version != self.version:
            if not _is_plain(self.weight) or self.weight.shape != self.shape:
                return False
            if not torch.equal(self.bits, _bits(self.weight)):
                return False
            self.version, self.call = self.weight._version, call
        return not self.weight.requires_grad


@dataclass
class Packs:
    """The arranged weights of one generator."""

    _kept: dict[tuple[int, ...], Pack] = field(default_factory=dict, repr=False)
    _met: dict[tuple[int, ...], int] = field(default_factory=dict, repr=False)
    _call: int = 0

    def __reduce__(self) -> tuple[type[Packs], tuple[()]]:
        return Packs, ()  # a copy starts without: the layout is that of this machine

    def begin(self) -> None:
        """Begin a call: compare all weights again, and drop those that have not been used for a while."""
        self._call += 1
        old = self._call - UNUSED
        self._met = {key: call for key, call in self._met.items() if call >= old}
        self._kept = {key: pack for key, pack in self._kept.items() if pack.call >= old}

    def of(self, x: Tensor, weight: Tensor, geometry: Geometry) -> Pack | None:
        """The arranged weight of a convolution of x; None where nothing is gained, or in the first call.

        Args:
            x: Input (B, C, H, W).
            weight: The weight.
            geometry: Stride, padding, dilation and groups.
        """
        key = (id(weight), *x.shape[2:])
        pack = self._kept.get(key)
        if pack is not None and pack.applies(x, weight, geometry) and pack.still(self._call):
            return pack
        if not _gains(x, weight, geometry) or not _available():
            return None
        met_in = self._met.setdefault(key, self._call)
        if met_in == self._call:  # a generator that is called once gains nothing
            return None
        self._kept[key] = made = _arranged(x.shape, weight, geometry, self._call)
        return made


def is_large(weight: Tensor) -> bool:
    """Whether oneDNN takes long to arrange a convolution's weight; that of one place it takes as it is."""
    return weight.numel() >= LARGE and weight.shape[2:].numel() > 1


def _gains(x: Tensor, weight: Tensor, geometry: Geometry) -> bool:
    """Whether a convolution is one of few places, with a learned weight that oneDNN would arrange again."""
    if not isinstance(weight, nn.Parameter) or weight.requires_grad or weight.is_inference():
        return False  # what is made from parameters is another tensor in each call
    if x.dtype != torch.float32 or x.device.type != "cpu" or x.numel() == 0 or x.dim() != 4:
        return False
    if not is_large(weight) or not _is_plain(weight) or torch.is_autocast_enabled("cpu"):
        return False
    return len(x) * _output_size(x.shape, weight, geometry).numel() <= FEW


def _is_plain(weight: Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.is_contiguous()


def _output_size(size: torch.Size, weight: Tensor, geometry: Geometry) -> torch.Size:
    stride, padding, dilation, _ = geometry
    kernel = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    return torch.Size(
        (n + 2 * p - k) // s + 1 for n, p, k, s in zip(size[2:], padding, kernel, stride, strict=True)
    )


def _rest(size: torch.Size, weight: Tensor, geometry: Geometry) -> list[int]:
    """Rows and columns of the input that its convolution, of a stride above 1, does not reach."""
    stride, padding, dilation, _ = geometry
    outputs = _output_size(size, weight, geometry)
    sizes = zip(size[2:], outputs, weight.shape[2:], stride, padding, dilation, strict=True)
    return [n - ((m - 1) * s - 2 * p + d * (k - 1) + 1) for n, m, k, s, p, d in sizes]


def _bits(weight: Tensor) -> Tensor:
    """The values as integers, two at a time where that works: NaN is like itself, and 0 unlike −0."""
    flat = weight.detach().view(-1)
    return flat.view(torch.int64 if len(flat) % 2 == 0 else torch.int32)


def _arranged(size: torch.Size, weight: Tensor, geometry: Geometry, call: int) -> Pack:
    stride, padding, dilation, groups = geometry
    values, rest = weight.detach(), _rest(size, weight, geometry)
    outputs = [size[0], weight.shape[0], *_output_size(size, weight, geometry)]
    onednn = torch.ops.mkldnn
    return Pack(
        weight,
        weight.shape,
        _bits(values.clone()),
        geometry,
        rest,
        onednn._reorder_convolution_weight(values, padding, stride, dilation, groups, list(size)),
        onednn._reorder_convolution_transpose_weight(
            values, padding, rest, stride, dilation, groups, outputs
        ),
        weight._version,
        call,
    )


class PackedContext(Context, Protocol):
    """The context of `PackedConv`."""

    pack: Pack


class PackedConv(Function):
    """2-D convolution with an arranged weight, which is differentiated once, in its input."""

    @staticmethod
    def forward(ctx: PackedContext, x: Tensor, pack: Pack, bias: Tensor | None) -> Tensor:
        ctx.pack = pack
        stride, padding, dilation, groups = pack.geometry
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, pack.forward, bias, padding, stride, dilation, groups, "none", [], ""
        )
        return y

    @staticmethod
    def backward(ctx: PackedContext, *grads: Tensor) -> tuple[Tensor, None, None]:
        return _input_gradient(grads[0], ctx.pack), None, None


def _input_gradient(g: Tensor, pack: Pack) -> Tensor:
    stride, padding, dilation, groups = pack.geometry
    g = g.contiguous(memory_format=torch.channels_last)
    dx: Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(
        g, pack.backward, None, padding, pack.rest, stride, dilation, groups, "none", [], ""
    )
    return dx


def _available() -> bool:
    """Whether this build of torch has oneDNN, it is on, and it computes what `torch.conv2d` does."""
    return bool(torch.backends.mkldnn.enabled) and _agrees()


@cache
def _agrees() -> bool:
    draw = torch.Generator().manual_seed(0)
    cases: Sequence[tuple[Geometry, int]] = (
        (([1, 1], [1, 1], [1, 1], 1), 6),
        (([2, 2], [1, 1], [1, 1], 2), 7),
        (([2, 1], [2, 2], [2, 2], 1), 8),
    )
    try:
        for geometry, side in cases:
            x = torch.randn(2, 4, side, side, generator=draw).contiguous(memory_format=torch.channels_last)
            weight = torch.randn(6, 4 // geometry[3], 3, 3, generator=draw)
            pack = _arranged(x.shape, weight, geometry, 0)
            with torch.enable_grad():
                x.requires_grad_()
                ours, theirs = PackedConv.apply(x, pack, None), torch.conv2d(x, weight, None, *geometry)
                for y in (ours, theirs):
                    torch.testing.assert_close(y, theirs)
                g = torch.randn(theirs.shape, generator=draw)
                torch.testing.assert_close(*(torch.autograd.grad(y, x, g)[0] for y in (ours, theirs)))
    except Exception:  # an operation that is missing, or that another version has changed
        return False
    return True
