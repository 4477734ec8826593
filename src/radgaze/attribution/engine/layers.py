"""Layers as autograd functions with two backwards: one for the heatmap, the read-out, and one for the loss.

While a read-out runs (`pass_.rule` is set) each layer's input-gradient step is an ordinary forward operation:
the input gradient of a convolution, an affine scale for batch norm, the rule for an activation. The loss's
backward through the heatmap is then an ordinary first-order backward with native kernels, where
`create_graph=True` would run PyTorch's double backward (for a depthwise convolution a loop over its groups).
The loss's own backward through the forward pass is exact and untouched by any rule.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from radgaze.attribution.engine import batch_norm
from radgaze.attribution.engine.forward_pass import (
    Context,
    Gradients,
    Pass,
    differentiates_by,
    needed,
    untouched,
)

Pair = list[int]
Three = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Gradients in three inputs, None where none is needed."""
Geometry = tuple[Pair, Pair, Pair, int]
"""Stride, padding, dilation and groups of a convolution."""
Statistics = tuple[Tensor | None, Tensor | None, bool, float, float]
"""Running mean and variance of a batch norm, whether it trains, momentum and ε."""


class ConvContext(Context, Protocol):
    """The context of a convolution."""

    geometry: Geometry
    pass_: Pass
    first: bool
    bias_size: Pair | None


class NormContext(Context, Protocol):
    """The context of a batch norm."""

    pass_: Pass
    group: batch_norm.Group
    has_beta: bool
    training: bool
    eps: float
    count: float


NormSaved = tuple[Tensor, Tensor | None, Tensor, Tensor, Tensor | None, Tensor | None]
"""Input, γ, 1/σ, μ, and the running mean and variance as they were."""
ConvNormSaved = tuple[
    Tensor, Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor, Tensor, Tensor | None
]
"""`NormSaved`, then the convolution's input, weight and bias."""


class ConvNormContext(ConvContext, NormContext, Protocol):
    """The context of a convolution and the batch norm after it."""


class GradientContext(Context, Protocol):
    """The context of a convolution's input gradient."""

    geometry: Geometry


class Conv(Function):
    """2-D convolution.

    `first` says that its input depends on nothing but the images: the loss's backward then leaves its input
    gradient out.
    """

    @staticmethod
    def forward(
        ctx: ConvContext,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        geometry: Geometry,
        pass_: Pass,
        first: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry, ctx.pass_, ctx.first = geometry, pass_, first
        ctx.bias_size = None if bias is None else [bias.shape[0]]
        return torch.conv2d(x, weight, bias, *geometry)

    @staticmethod
    @untouched
    def backward(ctx: ConvContext, saved: tuple[Tensor, Tensor], *grads: Tensor) -> Gradients:
        (g,) = grads
        x, weight = saved
        if ctx.pass_.rule is not None:
            return *_conv_read_out(ctx, g, x, weight), None, None, None
        return *_conv_gradients(ctx, g, x, weight), None, None, None


class ConvNorm(Function):
    """A convolution and the batch norm after it, whose statistics are constants in the read-out.

    There batch norm is the affine y ↦ γ·y/σ + const, which is no step of its own: its factor goes into the
    convolution's weight. The convolution's result y is given, since it has been computed when the norm is
    met; it is computed by `Conv`, whose node drops out of the graph unless something else uses y as well.
    γ and β are leaves: none is made from the image.
    """

    @staticmethod
    def forward(  # many arguments: autograd gives gradients to tensors, not to what holds them
        ctx: ConvNormContext,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        y: Tensor,
        statistics: Statistics,
        geometry: Geometry,
        pass_: Pass,
        first: bool,
    ) -> Tensor:
        z = _normalised(ctx, y, gamma, beta, statistics, pass_.group, x, weight, bias)
        ctx.geometry, ctx.pass_, ctx.first = geometry, pass_, first
        ctx.bias_size = None if bias is None else [bias.shape[0]]
        return z

    @staticmethod
    @untouched
    def backward(ctx: ConvNormContext, saved: ConvNormSaved, *grads: Tensor) -> Gradients:
        (g,) = grads
        y, gamma, rstd, mean, running_mean, running_var, x, weight, bias = saved
        if ctx.pass_.rule is not None:
            scale = (gamma * rstd).to(weight.dtype).view(-1, 1, 1, 1)
            return *_conv_read_out(ctx, g, x, weight, scale), *[None] * 7
        if torch.is_grad_enabled():  # y was given, without a graph: it is needed only here
            y = torch.conv2d(x, weight, bias, *ctx.geometry)
        affine = (gamma, running_mean, running_var, mean, rstd)
        dy, dgamma, dbeta = _norm_gradients(ctx, g, y, *affine, [True, True, True])
        assert dy is not None
        return *_conv_gradients(ctx, dy, x, weight), dgamma, dbeta, *[None] * 5


class ConvAffine(Function):
    """A convolution and the frozen batch norm after it, z = γ/σ·y + const with nothing to be learned.

    As in `ConvNorm`, y is given. It need not be kept, and takes its memory to the next layer.
    """

    @staticmethod
    def forward(  # many arguments: autograd gives gradients to tensors, not to what holds them
        ctx: ConvContext,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        y: Tensor,
        scale: Tensor,
        shift: Tensor,
        geometry: Geometry,
        pass_: Pass,
        first: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, scale)
        ctx.geometry, ctx.pass_, ctx.first = geometry, pass_, first
        ctx.bias_size = None if bias is None else [bias.shape[0]]
        return torch.addcmul(shift.view(-1, 1, 1), y, scale.view(-1, 1, 1))

    @staticmethod
    @untouched
    def backward(ctx: ConvContext, saved: tuple[Tensor, Tensor, Tensor], *grads: Tensor) -> Gradients:
        (g,) = grads
        x, weight, scale = saved
        if ctx.pass_.rule is not None:
            return *_conv_read_out(ctx, g, x, weight, scale.view(-1, 1, 1, 1)), *[None] * 6
        return *_conv_gradients(ctx, g * scale.view(-1, 1, 1), x, weight), *[None] * 6


class ConvInputGradient(Function):
    """The input gradient of a convolution as a forward operation: y = convᵀ(g; w), bilinear in g and w."""

    @staticmethod
    def forward(ctx: GradientContext, g: Tensor, weight: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.geometry = geometry
        dx = _conv_backward(g, x, weight, None, geometry, [True, False, False])[0]
        assert dx is not None
        return dx

    @staticmethod
    @untouched
    def backward(ctx: GradientContext, saved: tuple[Tensor, Tensor], *grads: Tensor) -> Gradients:
        (c,) = grads
        g, weight = saved
        # <c, convᵀ(g; w)> = <conv(c; w), g>: the adjoint in g is a convolution, in w a weight gradient.
        dg, dw = None, None
        if ctx.needs_input_grad[0]:
            dg = torch.conv2d(c, weight, None, *ctx.geometry)
        if ctx.needs_input_grad[1]:
            dw = _conv_backward(g, c, weight, None, ctx.geometry, [False, True, False])[1]
        return dg, dw, None, None


class BatchNorm(Function):
    """Batch norm, after something else than a convolution, whose statistics are constants in the read-out."""

    @staticmethod
    def forward(
        ctx: NormContext,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        statistics: Statistics,
        pass_: Pass,
    ) -> Tensor:
        ctx.pass_ = pass_
        return _normalised(ctx, x, gamma, beta, statistics, pass_.group)

    @staticmethod
    @untouched
    def backward(ctx: NormContext, saved: NormSaved, *grads: Tensor) -> Gradients:
        (g,) = grads
        x, gamma, rstd, mean, running_mean, running_var = saved
        if ctx.pass_.rule is not None:
            scale = rstd if gamma is None else rstd * gamma
            centre = mean if ctx.training or running_mean is None else running_mean
            dgamma = batch_norm.slope_in_gamma(g, x, centre, rstd) if needed(ctx, 1) else None
            dbeta = batch_norm.over_channels(g) if needed(ctx, 2) else None
            return g * batch_norm.wide(scale, g).to(g.dtype), dgamma, dbeta, None, None
        needs = [ctx.needs_input_grad[0], gamma is not None, ctx.has_beta]
        affine = (gamma, running_mean, running_var, mean, rstd)
        return *_norm_gradients(ctx, g, x, *affine, needs), None, None


def _normalised(
    ctx: NormContext,
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    statistics: Statistics,
    group: batch_norm.Group,
    *also: Tensor | None,
) -> Tensor:
    """Batch norm of x; what its backward needs is saved, together with `also`."""
    mean, var, training, momentum, eps = statistics
    batch_norm.check(x, mean, var, gamma, beta)
    ctx.group, ctx.has_beta = group if training else None, beta is not None
    y: Tensor
    if ctx.group is None:
        batch_norm.check_count(batch_norm.count(x) if training else None, x)
        y, save_mean, save_rstd = torch.ops.aten.native_batch_norm(
            x, gamma, beta, mean, var, training, momentum, eps
        )
    else:
        save_mean, of_all, ctx.count = batch_norm.of_all(x, ctx.group)
        save_rstd = torch.rsqrt(of_all + eps)
        batch_norm.follow(mean, var, save_mean, of_all, ctx.count, momentum)
        y = torch.ops.aten.native_batch_norm(x, gamma, beta, save_mean, of_all, False, 0.0, eps)[0]
    # Running statistics change in place with every training step; the read-out's are kept apart.
    rstd = save_rstd if training or var is None else torch.rsqrt(var + eps)
    held_mean = None if training or mean is None else mean.clone()
    held_var = None if training or var is None else var.clone()
    ctx.save_for_backward(x, gamma, rstd, save_mean, held_mean, held_var, *also)
    ctx.training, ctx.eps = training, eps
    return y


def _norm_gradients(  # many arguments: those of torch's own
    ctx: NormContext,
    g: Tensor,
    x: Tensor,
    gamma: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    rstd: Tensor,
    needs: list[bool],
) -> Three:
    """Gradients in a batch norm's input, γ and β, those of them that are needed."""
    if ctx.group is None:
        native: Three = torch.ops.aten.native_batch_norm_backward(
            g, x, gamma, running_mean, running_var, mean, rstd, ctx.training, ctx.eps, needs
        )
        return native
    if torch.is_grad_enabled():
        raise RuntimeError(
            "a synchronised batch norm is differentiated twice only through a heatmap generator with "
            'batch_statistics="exact"'
        )
    gradients = batch_norm.gradients(g, x, gamma, mean, rstd, ctx.count, ctx.group)
    dx, dgamma, dbeta = (value if need else None for value, need in zip(gradients, needs, strict=True))
    return dx, dgamma, dbeta


def _conv_gradients(ctx: ConvContext, g: Tensor, x: Tensor, weight: Tensor) -> Three:
    """Gradients in a convolution's input, weight and bias, those of them that are needed."""
    needs = [
        ctx.needs_input_grad[0] and not (ctx.first and not differentiates_by(ctx.pass_.images)),
        ctx.needs_input_grad[1],
        ctx.bias_size is not None and ctx.needs_input_grad[2],
    ]
    return _conv_backward(g, x, weight, ctx.bias_size, ctx.geometry, needs)


def _conv_read_out(
    ctx: ConvContext, g: Tensor, x: Tensor, weight: Tensor, scale: Tensor | None = None
) -> Three:
    """`_conv_gradients` while a heatmap is read out, of the convolution times scale (C, 1, 1, 1) if given."""
    needs = [ctx.needs_input_grad[0], needed(ctx, 1), needed(ctx, 2)]
    wants_weight = needs[1] or needs[2]
    if scale is not None:  # The product is kept until the loss has been differentiated: take the smaller one.
        if wants_weight or g.numel() < weight.numel():
            g = g * scale.view(-1, 1, 1)
        else:
            weight = weight * scale
    if wants_weight or ctx.pass_.only_looked_at:  # ordinary operations, that can be differentiated
        return _conv_backward(g, x, weight, ctx.bias_size if wants_weight else None, ctx.geometry, needs)
    return ConvInputGradient.apply(g, weight, x.detach(), ctx.geometry), None, None


def _conv_backward(
    g: Tensor, x: Tensor, weight: Tensor, bias_size: Pair | None, geometry: Geometry, needs: list[bool]
) -> Three:
    stride, padding, dilation, groups = geometry
    rest = (stride, padding, dilation, False, [0, 0], groups)
    backward = torch.ops.aten.convolution_backward
    if needs[1] and _is_slow(x, weight, groups):
        by_channel = {"memory_format": torch.channels_last}
        dw = backward(
            g.contiguous(**by_channel), x.contiguous(**by_channel), weight, None, *rest, _ONLY_WEIGHT
        )[1]
        dx, _, db = backward(g, x, weight, bias_size, *rest, [needs[0], False, needs[2]])
        return dx, dw, db
    three: Three = backward(g, x, weight, bias_size, *rest, needs)
    return three


_ONLY_WEIGHT = [False, True, False]


def _is_slow(x: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether oneDNN computes the weight's gradient faster with the channels last, even from a copy.

    It does so for depthwise convolutions with a kernel of five or more: 1.3 to 3.6 times as fast, copies
    included, on the shapes of EfficientNet-b0 at 224 px.
    """
    depthwise = groups > 1 and groups == weight.shape[0] and weight.shape[1] == 1
    return (
        depthwise
        and min(weight.shape[2:]) >= 5
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.is_contiguous()
    )
