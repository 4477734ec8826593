"""Activations as autograd functions, and the rule that is applied to them, as a forward operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd import Function

from radgaze.attribution.engine.activations import Activation
from radgaze.attribution.engine.elementwise import Formula, blockwise
from radgaze.attribution.engine.forward_pass import Context, Gradients, Pass, needed, untouched
from radgaze.attribution.rules import BACKPROP, Rule, where_positive


class ActivationContext(Context, Protocol):
    """The context of `Activate`."""

    activation: Activation
    pass_: Pass


class Activate(Function):
    """An activation to which a rule can be applied.

    Where the model computes it in place, `overwritten` is the tensor that `call` overwrites.
    """

    @staticmethod
    def forward(
        ctx: ActivationContext,
        x: Tensor,
        activation: Activation,
        pass_: Pass,
        overwritten: Tensor | None = None,
        call: Callable[[], Tensor] | None = None,
    ) -> Tensor:
        ctx.activation, ctx.pass_ = activation, pass_
        if overwritten is None or call is None:
            y = activation.value(x)
        else:
            ctx.mark_dirty(overwritten)
            y = call()
        ctx.save_for_backward(y if keeps_output(activation, pass_) else x)
        return y

    @staticmethod
    @untouched
    def backward(ctx: ActivationContext, saved: tuple[Tensor], *grads: Tensor) -> Gradients:
        (g,) = grads
        (x,) = saved
        activation = ctx.activation
        if activation.name == "sigmoid" and keeps_output(activation, ctx.pass_):
            activation = _SIGMOID_BY_OUTPUT
        rule = ctx.pass_.rule
        if rule is None:
            return activation.backward(g, x), *[None] * 4
        exempt = (ctx.pass_.literal and not activation.rectifier) or (
            activation.gate and ctx.pass_.gates != "ruled"
        )
        if activation.rectifier:
            x = x.detach()
        rule = BACKPROP if exempt else rule
        return RuleStep.apply(g, x, activation, rule, ctx.pass_.compiled), *[None] * 4


def keeps_output(activation: Activation, pass_: Pass) -> bool:
    """Whether an activation keeps its output, as torch's own does, so that a model may overwrite its input.

    A ReLU's output is positive where its input is, and a sigmoid's output gives its derivative; a rule that
    is applied to a sigmoid needs the sign of its input as well.
    """
    return activation.rectifier or (activation.name == "sigmoid" and pass_.gates != "ruled")


_SIGMOID_BY_OUTPUT = Activation(
    "sigmoid",
    torch.sigmoid,
    lambda g, y: torch.ops.aten.sigmoid_backward(g, y),
    lambda m, y: m * (1 - 2 * y),
    gate=True,
)
"""The sigmoid's derivative as a function of its output y, and the derivative of that in y."""


class PassContext(Context, Protocol):
    """The context of a step that keeps the forward pass."""

    pass_: Pass


class ActivatePReLU(Function):
    """PReLU: x where x > 0 and w·x elsewhere, w learned, one for all channels or one for each."""

    @staticmethod
    def forward(ctx: PassContext, x: Tensor, weight: Tensor, pass_: Pass) -> Tensor:
        ctx.pass_ = pass_
        ctx.save_for_backward(x, weight)
        return torch.prelu(x, weight)

    @staticmethod
    @untouched
    def backward(ctx: PassContext, saved: tuple[Tensor, Tensor], *grads: Tensor) -> Gradients:
        (g,) = grads
        x, weight = saved
        rule = ctx.pass_.rule
        w = weight.view(-1, *[1] * (x.dim() - 2)) if weight.numel() > 1 else weight
        if rule is None:
            dx, dw = torch.ops.aten._prelu_kernel_backward(g, x, w.to(x.dtype).expand_as(x))
            return dx, dw.sum_to_size(w.shape).view_as(weight), None
        rule = BACKPROP if ctx.pass_.literal else rule
        # Its slope is learned: ordinary operations, through which the loss's backward reaches w.
        prelu = Activation(
            "prelu", lambda x: torch.prelu(x, weight), lambda r, x: torch.where(x > 0, r, r * w)
        )
        dw = None
        if needed(ctx, 1):  # the slope is made from the image
            r = rule.backward(g, x, _LINEAR)
            dw = torch.where(x > 0, torch.zeros_like(r), r * x).sum_to_size(w.shape).view_as(weight)
        return rule.backward(g, x, prelu), dw, None


_LINEAR = Activation("linear", torch.clone, lambda g, x: g)


class RuleContext(Context, Protocol):
    """The context of `RuleStep`."""

    activation: Activation
    rule: Rule
    compiled: bool
    only_masks: bool


class RuleStep(Function):
    """A rule as a forward operation, p = `rule.backward(g, x, activation)`, with derivatives in g and x."""

    @staticmethod
    def forward(
        ctx: RuleContext, g: Tensor, x: Tensor, activation: Activation, rule: Rule, compiled: bool
    ) -> Tensor:
        ctx.activation, ctx.rule, ctx.compiled = activation, rule, compiled
        (p,) = blockwise(_backward(activation, rule), g, x, compiled=compiled)
        # Where nothing but masks was applied, p > 0 says where they let through, and p is kept anyway.
        ctx.only_masks = rule.only_masks(activation)
        ctx.save_for_backward(*((p, p) if ctx.only_masks else (g, x)))
        return p

    @staticmethod
    @untouched
    def backward(ctx: RuleContext, saved: tuple[Tensor, Tensor], *grads: Tensor) -> Gradients:
        (c,) = grads
        g, x = saved
        if ctx.only_masks:
            return where_positive(c, g), None, None, None, None
        curved = ctx.activation.curve is not None and ctx.needs_input_grad[1]
        formula = _adjoint(ctx.activation, ctx.rule, curved)
        return *blockwise(formula, c, g, x, compiled=ctx.compiled), *[None] * (3 if curved else 4)


@cache
def _backward(activation: Activation, rule: Rule) -> Formula:
    def formula(g: Tensor, x: Tensor) -> tuple[Tensor]:
        return (rule.backward(g, x, activation),)

    return formula


@cache
def _adjoint(activation: Activation, rule: Rule, curved: bool) -> Formula:
    def formula(c: Tensor, g: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        dg, dx = rule.adjoint(c, g, x, activation, curved=curved)
        return (dg,) if dx is None else (dg, dx)

    return formula
