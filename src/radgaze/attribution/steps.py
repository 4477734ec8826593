"""Layers as autograd functions with two backwards: one for the heatmap's read-out, one for the loss.

While the read-out runs (`pass_.reading` is true) each layer's input-gradient step is an ordinary forward
operation: the input gradient of a convolution, an affine scale for batch norm, the rule for an activation.
The loss's backward through the heatmap is then an ordinary first-order backward with native kernels, where
`create_graph=True` would run PyTorch's double backward (for a depthwise convolution a loop over its groups).
The loss's own backward through the forward pass is exact and untouched by any rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from radgaze.attribution.activations import Activation
from radgaze.attribution.rules import Rule

Pair = list[int]


@dataclass
class Pass:
    """The state that the layers of one forward pass share.

    Attributes:
        reading: True only while the heatmap is read out.
        applied: How many activations the rule was laid on.
        pooled: Input of the last global pooling, (B, C, h, w): what a class-activation map is made of.
    """

    reading: bool = False
    applied: int = 0
    pooled: Tensor | None = None
    images: list[Tensor] = field(default_factory=list)


class Conv(Function):
    """2-D convolution."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        groups: int,
        pass_: Pass,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = (stride, padding, dilation, groups)
        ctx.pass_ = pass_
        ctx.bias_size = None if bias is None else [bias.shape[0]]
        return torch.conv2d(x, weight, bias, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        x, weight = ctx.saved_tensors
        if ctx.pass_.reading:
            # Only the images' gradient is asked for: no weight gradient is computed here.
            return _nothing_but(ConvInputGradient.apply(g, weight, x.shape, ctx.geometry), 8)
        needs = [
            ctx.needs_input_grad[0],
            ctx.needs_input_grad[1],
            ctx.bias_size is not None and ctx.needs_input_grad[2],
        ]
        dx, dw, db = _conv_backward(g, x, weight, ctx.bias_size, ctx.geometry, needs)
        return dx, dw, db, None, None, None, None, None


class ConvInputGradient(Function):
    """The input gradient of a convolution as a forward operation: y = convᵀ(g; w), bilinear in g and w."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor, shape: torch.Size, geometry: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.geometry = geometry
        x = g.new_empty(1).expand(shape)  # only its shape is looked at
        return _conv_backward(g, x, weight, None, geometry, [True, False, False])[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (c,) = grads
        g, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.geometry
        # <c, convᵀ(g; w)> = <conv(c; w), g>: the adjoint in g is a convolution, in w a weight gradient.
        dg, dw = None, None
        if ctx.needs_input_grad[0]:
            dg = torch.conv2d(c, weight, None, stride, padding, dilation, groups)
        if ctx.needs_input_grad[1]:
            dw = _conv_backward(g, c, weight, None, ctx.geometry, [False, True, False])[1]
        return dg, dw, None, None


class BatchNorm(Function):
    """Batch norm whose statistics are constants in the read-out: there it is the affine x ↦ γ·x/σ + const."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor | None,
        var: Tensor | None,
        training: bool,
        momentum: float,
        eps: float,
        pass_: Pass,
    ) -> Tensor:
        y, save_mean, save_rstd = torch.ops.aten.native_batch_norm(
            x, weight, bias, mean, var, training, momentum, eps
        )
        # Running statistics change in place with every training step; the read-out's are kept apart.
        rstd = save_rstd if training or var is None else torch.rsqrt(var + eps)
        held_mean = None if training or mean is None else mean.clone()
        held_var = None if training or var is None else var.clone()
        ctx.save_for_backward(x, weight, rstd, save_mean, held_mean, held_var)
        ctx.training, ctx.eps, ctx.pass_ = training, eps, pass_
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        x, weight, rstd, mean, running_mean, running_var = ctx.saved_tensors
        if ctx.pass_.reading:
            scale = rstd if weight is None else rstd * weight
            return _nothing_but(g * scale.to(g.dtype).view(1, -1, *[1] * (g.dim() - 2)), 9)
        needs = [ctx.needs_input_grad[0], weight is not None, weight is not None]
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            g, x, weight, running_mean, running_var, mean, rstd, ctx.training, ctx.eps, needs
        )
        return dx, dw, db, None, None, None, None, None, None


class Activate(Function):
    """An activation that a rule is laid on."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, activation: Activation, rule: Rule, pass_: Pass, overwrite: Tensor | None
    ) -> Tensor:
        ctx.activation, ctx.rule, ctx.pass_ = activation, rule, pass_
        ctx.save_for_backward(x)
        y = activation.value(x)
        if overwrite is None:
            return y
        ctx.mark_dirty(overwrite)
        return overwrite.copy_(y)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = grads
        (x,) = ctx.saved_tensors
        if ctx.pass_.reading:
            return _nothing_but(RuleStep.apply(g, x, ctx.activation, ctx.rule), 5)
        return _nothing_but(ctx.activation.backward(g, x), 5)


class RuleStep(Function):
    """A rule as a forward operation: y = r(g) · [x > 0] · a'(x), with its derivatives in g and in x."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, activation: Activation, rule: Rule) -> Tensor:
        ctx.save_for_backward(g, x)
        ctx.activation, ctx.rule = activation, rule
        r = g.clamp(min=0) if rule.rectify else g
        factor = rule.factor(x, activation.first)
        return r.clone() if factor is None else r * factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (c,) = grads
        g, x = ctx.saved_tensors
        rule: Rule = ctx.rule
        if rule.rectify:
            c = c * (g > 0)
        factor = rule.factor(x, ctx.activation.first)
        dg = c if factor is None else c * factor
        dx = None
        if rule.slope and ctx.needs_input_grad[1] and not ctx.activation.rectifier:
            dx = c * g * ctx.activation.second(x)  # c is zero where g was rectified away
            if rule.gate:
                dx = dx * (x > 0)
        return dg, dx, None, None


def _conv_backward(
    g: Tensor, x: Tensor, weight: Tensor, bias_size: Pair | None, geometry: tuple[Any, ...], needs: list[bool]
) -> tuple[Any, Any, Any]:
    stride, padding, dilation, groups = geometry
    return torch.ops.aten.convolution_backward(
        g, x, weight, bias_size, stride, padding, dilation, False, [0, 0], groups, needs
    )


def _nothing_but(gradient: Tensor, arguments: int) -> tuple[Tensor | None, ...]:
    return (gradient, *[None] * (arguments - 1))
