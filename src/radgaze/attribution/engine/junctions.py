"""Where branches meet, as steps: concatenation, and the gates of squeeze-and-excitation."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from radgaze.attribution.engine.forward_pass import Context, Gradients, Pass, untouched


class ConcatenationContext(Context, Protocol):
    """The context of a concatenation, and of its gradient."""

    pass_: Pass
    dim: int
    sizes: list[int]


class GateContext(Context, Protocol):
    """The context of a gate."""

    pass_: Pass


class Concatenate(Function):
    """Tensors side by side, whose read-out splits the gradient in one step."""

    @staticmethod
    def forward(ctx: ConcatenationContext, dim: int, pass_: Pass, *parts: Tensor) -> Tensor:
        ctx.dim, ctx.pass_, ctx.sizes = dim, pass_, [part.shape[dim] for part in parts]
        return torch.cat(parts, dim)

    @staticmethod
    @untouched
    def backward(ctx: ConcatenationContext, saved: tuple[()], *grads: Tensor) -> Gradients:
        (g,) = grads
        split = SplitStep.apply if ctx.pass_.rule is not None else torch.split
        return None, None, *split(g, ctx.sizes, ctx.dim)


class SplitStep(Function):
    """The gradient of a concatenation as a forward operation. Its own is one concatenation again."""

    @staticmethod
    def forward(ctx: ConcatenationContext, g: Tensor, sizes: list[int], dim: int) -> tuple[Tensor, ...]:
        ctx.dim = dim
        return torch.split(g, sizes, dim)

    @staticmethod
    @untouched
    def backward(ctx: ConcatenationContext, saved: tuple[()], *grads: Tensor) -> Gradients:
        return torch.cat(grads, ctx.dim), None, None


class Gate(Function):
    """x·s for feature maps x (B, C, H, W) and one gate a channel, s (B, C, 1, 1): squeeze-and-excitation."""

    @staticmethod
    def forward(ctx: GateContext, x: Tensor, s: Tensor, pass_: Pass) -> Tensor:
        ctx.pass_ = pass_
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    @untouched
    def backward(ctx: GateContext, saved: tuple[Tensor, Tensor], *grads: Tensor) -> Gradients:
        (g,) = grads
        x, s = saved
        if ctx.pass_.rule is None:
            return g * s, _over_space(g, x), None
        if ctx.pass_.gates == "held":
            return g * s, None, None
        return *GateStep.apply(g, x, s), None


class GateStep(Function):
    """The gradients of a gate as a forward operation: p = g·s and q = Σ_hw g·x."""

    @staticmethod
    def forward(ctx: Context, g: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(g, x, s)
        return g * s, _over_space(g, x)

    @staticmethod
    @untouched
    def backward(ctx: Context, saved: tuple[Tensor, Tensor, Tensor], *grads: Tensor) -> Gradients:
        cp, cq = grads
        g, x, s = saved
        return torch.addcmul(cp * s, x, cq), g * cq, _over_space(cp, g)


def _over_space(a: Tensor, b: Tensor) -> Tensor:
    """Σ_hw a·b, (B, C, H, W) twice → (B, C, 1, 1)."""
    return (a * b).sum((2, 3), keepdim=True)
