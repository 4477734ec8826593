"""Layer norm as a step whose read-out, p = J·(g∘γ), is an ordinary forward operation.

J is the Jacobian of the normalised x̂ = (x − μ)/σ, symmetric: J·u = (u − mean u − x̂·mean(u∘x̂))/σ, with means
over what is normalised. The loss's backward through the read-out needs its derivatives in g, γ and x, which
are closed forms of two products with J, evaluated in blocks of rows that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from radgaze.attribution.engine.forward_pass import Context, Gradients, Pass, untouched

aten = torch.ops.aten

BLOCK = 2**17
"""Elements of a block of rows, of which a core's caches hold what a block needs."""


class LayerNormContext(Context, Protocol):
    """The context of `LayerNorm` and of its read-out.

    Attributes:
        normalized_shape: The last dimensions, over which mean and variance are taken.
        eps: What is added to the variance.
        pass_: The forward pass.
    """

    normalized_shape: list[int]
    eps: float
    pass_: Pass


Saved = tuple[Tensor, Tensor | None, Tensor | None, Tensor, Tensor]
"""Input, γ, β, μ and 1/σ."""
StepSaved = tuple[Tensor, Tensor, Tensor | None, Tensor, Tensor]
"""Incoming gradient, input, γ, μ and 1/σ."""


def normalised(
    pass_: Pass,
    input: Tensor,  # noqa: A002 - torch's own name
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer norm as a step, where it is in one precision and its weight and bias are made of nothing else,
    least of all of the images; torch's own elsewhere."""
    learned = [each for each in (weight, bias) if each is not None]
    if (
        input.dtype not in (torch.float32, torch.float64)
        or torch.is_autocast_enabled(input.device.type)
        or not all(each.is_leaf and each.dtype == input.dtype for each in learned)
        or input.numel() == 0
    ):
        return F.layer_norm(input, [*normalized_shape], weight, bias, eps)
    y: Tensor = LayerNorm.apply(input.contiguous(), weight, bias, [*normalized_shape], eps, pass_)
    return y


class LayerNorm(Function):
    """γ∘x̂ + β, whose γ and β are learned, or absent."""

    @staticmethod
    def forward(
        ctx: LayerNormContext,
        x: Tensor,
        gamma: Tensor | None,
        beta: Tensor | None,
        normalized_shape: list[int],
        eps: float,
        pass_: Pass,
    ) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(x, normalized_shape, gamma, beta, eps)
        ctx.save_for_backward(x, gamma, beta, mean, rstd)
        ctx.normalized_shape, ctx.eps, ctx.pass_ = normalized_shape, eps, pass_
        return y

    @staticmethod
    @untouched
    def backward(ctx: LayerNormContext, saved: Saved, *grads: Tensor) -> Gradients:
        (g,) = grads
        x, gamma, beta, mean, rstd = saved
        shape = ctx.normalized_shape
        if ctx.pass_.rule is not None:
            return LayerNormStep.apply(g, x, gamma, mean, rstd, shape, ctx.eps), *[None] * 5
        needs = [*ctx.needs_input_grad[:3]]
        return *aten.native_layer_norm_backward(g, x, shape, mean, rstd, gamma, beta, needs), *[None] * 3


class LayerNormStep(Function):
    """The input gradient of layer norm, p = J·(g∘γ), as a forward operation."""

    @staticmethod
    def forward(
        ctx: LayerNormContext,
        g: Tensor,
        x: Tensor,
        gamma: Tensor | None,
        mean: Tensor,
        rstd: Tensor,
        normalized_shape: list[int],
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(g, x, gamma, mean, rstd)
        ctx.normalized_shape, ctx.eps = normalized_shape, eps
        return _through(g, x, gamma, mean, rstd, normalized_shape)

    @staticmethod
    @untouched
    def backward(ctx: LayerNormContext, saved: StepSaved, *grads: Tensor) -> Gradients:
        (c,) = grads
        g, x, gamma, mean, rstd = saved
        width = torch.Size(ctx.normalized_shape).numel()
        c_rows, g_rows, x_rows = (each.reshape(-1, width) for each in (c, g, x))
        scale = None if gamma is None else gamma.reshape(width)
        if torch.is_grad_enabled():  # what follows is differentiated by x, on which μ and σ depend
            variance, mean = torch.var_mean(x_rows, -1, correction=0)
            mean, rstd = mean[:, None], torch.rsqrt(variance + ctx.eps)[:, None]
            gradients = _derivatives(c_rows, g_rows, x_rows, scale, mean, rstd)
        else:
            mean, rstd = mean.reshape(-1, 1), rstd.reshape(-1, 1)
            gradients = _in_blocks(c_rows, g_rows, x_rows, scale, mean, rstd)
        dg, dx, dgamma = gradients
        dgamma = None if dgamma is None or gamma is None else dgamma.view_as(gamma)
        return dg.view_as(x), dx.view_as(x), dgamma, *[None] * 4


def _in_blocks(
    c: Tensor, g: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`_derivatives`, block by block of rows."""
    count = max(1, BLOCK // x.shape[1])
    if len(x) <= count:
        return _derivatives(c, g, x, gamma, mean, rstd)
    dg, dx = torch.empty_like(x), torch.empty_like(x)
    dgamma = None if gamma is None else torch.zeros_like(gamma)
    for k in range(0, len(x), count):
        some = slice(k, k + count)
        dg[some], dx[some], part = _derivatives(c[some], g[some], x[some], gamma, mean[some], rstd[some])
        if dgamma is not None and part is not None:
            dgamma += part
    return dg, dx, dgamma


def _derivatives(
    c: Tensor, g: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of Σ c∘p in g and x, (R, W) as both, and in γ (W,); μ and 1/σ are (R, 1).

    With u = g∘γ: Σ c∘p = c·Ju, dx̂ = J·dx, d(1/σ) = −mean(x̂∘dx)/σ², and so that in x is
    −(x̂·mean(c∘Ju) + Jc·mean(u∘x̂) + Ju·mean(c∘x̂))/σ.
    """
    shape = [x.shape[1]]
    u = g if gamma is None else g * gamma
    normal = (x - mean) * rstd
    jc = _through(c, x, None, mean, rstd, shape)
    ju = _through(u, x, None, mean, rstd, shape)
    dx = normal * _mean(c * ju)
    dx = torch.addcmul(dx, jc, _mean(u * normal))
    dx = torch.addcmul(dx, ju, _mean(c * normal)) * -rstd
    return (jc, dx, None) if gamma is None else (jc * gamma, dx, (g * jc).sum(0))


def _mean(rows: Tensor) -> Tensor:
    return rows.mean(1, keepdim=True)


def _through(
    g: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, rstd: Tensor, shape: list[int]
) -> Tensor:
    """J·(g∘γ). Where it is differentiated, torch knows how μ and σ depend on x."""
    p: Tensor = aten.native_layer_norm_backward(
        g, x, shape, mean.detach(), rstd.detach(), gamma, None, [True, False, False]
    )[0]
    return p
