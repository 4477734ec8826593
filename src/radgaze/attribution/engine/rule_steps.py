"""Activations as autograd functions, and the rule that is laid on them, as a forward operation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from radgaze.attribution.engine.activations import Activation
from radgaze.attribution.engine.elementwise import Formula, blockwise
from radgaze.attribution.engine.forward_pass import Gradients, Pass, Saved, asked, untouched
from radgaze.attribution.rules import BACKPROP, Rule


class Activate(Function):
    """An activation that a rule is laid on.

    Where the model computes it in place, `overwritten` is what it overwrites and `call` does so.
    """

    @staticmethod
    def forward(
        ctx: Any,
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
    def backward(ctx: Any, saved: Saved, *grads: Tensor) -> Gradients:
        (g,) = grads
        (x,) = saved
        activation: Activation = ctx.activation
        if activation.name == "sigmoid" and keeps_output(activation, ctx.pass_):
            activation = _OF_SIGMOID
        rule = ctx.pass_.rule
        if rule is None:
            return activation.backward(g, x), *[None] * 4
        spared = (ctx.pass_.literal and not activation.rectifier) or (
            activation.gate and ctx.pass_.gates != "ruled"
        )
        if activation.rectifier:
            x = x.detach()
        rule = BACKPROP if spared else rule
        return RuleStep.apply(g, x, activation, rule, ctx.pass_.compiled), *[None] * 4


def keeps_output(activation: Activation, pass_: Pass) -> bool:
    """Whether an activation keeps its output, as torch's own does, and a model may overwrite its input then.

    A ReLU's output tells all that its input would (y > 0 where x > 0), and so does a sigmoid's, of which a
    rule that is laid on it has to know the input's sign.
    """
    return activation.rectifier or (activation.name == "sigmoid" and pass_.gates != "ruled")


_OF_SIGMOID = Activation(
    "sigmoid",
    torch.sigmoid,
    lambda g, y: torch.ops.aten.sigmoid_backward(g, y),
    lambda m, y: m * (1 - 2 * y),
    gate=True,
)
"""The sigmoid's derivative, and that derivative's own, of its output y."""


class ActivatePReLU(Function):
    """PReLU: x where x > 0 and w·x elsewhere, w learned, one for all channels or one each."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, pass_: Pass) -> Tensor:
        ctx.pass_ = pass_
        ctx.save_for_backward(x, weight)
        return torch.prelu(x, weight)

    @staticmethod
    @untouched
    def backward(ctx: Any, saved: Saved, *grads: Tensor) -> Gradients:
        (g,) = grads
        x, weight = saved
        rule: Rule | None = ctx.pass_.rule
        w = weight.view(-1, *[1] * (x.dim() - 2)) if weight.numel() > 1 else weight
        if rule is None:
            dx, dw = torch.ops.aten._prelu_kernel_backward(g, x, w.to(x.dtype).expand_as(x))
            return dx, dw.sum_to_size(w.shape).view_as(weight), None
        rule = BACKPROP if ctx.pass_.literal else rule
        # Its slope is learned: ordinary operations, through which the loss's backward reaches w.
        r = g.clamp(min=0) if rule.rectify else g
        below = torch.zeros_like(r) if rule.gate else r * w if rule.slope else r
        dw = None
        if asked(ctx, 1) and not rule.gate:  # the slope is made from the image
            dw = torch.where(x > 0, torch.zeros_like(r), r * x).sum_to_size(w.shape).view_as(weight)
        return torch.where(x > 0, r, below), dw, None


class RuleStep(Function):
    """A rule as a forward operation: p = r(g) · [x > 0] · a'(x), with its derivatives in g and in x."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, activation: Activation, rule: Rule, compiled: bool) -> Tensor:
        ctx.activation, ctx.rule, ctx.compiled = activation, rule, compiled

        (p,) = blockwise(_pass_back(activation, rule), g, x, compiled=compiled)
        # Where nothing but masks was applied, p > 0 tells where they let through, and is kept anyway.
        ctx.only_masks = rule.rectify and not _sloped(rule, activation)
        ctx.save_for_backward(*((p, p) if ctx.only_masks else (g, x)))
        return p

    @staticmethod
    @untouched
    def backward(ctx: Any, saved: Saved, *grads: Tensor) -> Gradients:
        (c,) = grads
        g, x = saved
        activation, rule = ctx.activation, ctx.rule
        if ctx.only_masks:
            return _masked(c, g), None, None, None, None
        curve = activation.curve if rule.slope and ctx.needs_input_grad[1] else None

        formula = _differentiate(activation, rule, curve is not None)
        return *blockwise(formula, c, g, x, compiled=ctx.compiled), *[None] * (4 if curve is None else 3)


@cache
def _pass_back(activation: Activation, rule: Rule) -> Formula:
    def formula(g: Tensor, x: Tensor) -> tuple[Tensor]:
        r = g.clamp(min=0) if rule.rectify else g
        r = _masked(r, x) if rule.gate else r
        return (activation.backward(r, x) if _sloped(rule, activation) else r,)

    return formula


@cache
def _differentiate(activation: Activation, rule: Rule, curved: bool) -> Formula:
    def formula(c: Tensor, g: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        t = _masked(c, g) if rule.rectify else c
        t = _masked(t, x) if rule.gate else t
        dg = activation.backward(t, x) if _sloped(rule, activation) else t
        if not curved or activation.curve is None:
            return (dg,)
        if t.dtype in (torch.float16, torch.bfloat16):  # a product of two gradients, and a''(x)
            return dg, activation.curve(t.float() * g.float(), x.float()).to(x.dtype)
        return dg, activation.curve(t * g, x)

    return formula


def _sloped(rule: Rule, activation: Activation) -> bool:
    """Whether a'(x) is still to be multiplied by: a gated ReLU's is in the gate."""
    return rule.slope and not (rule.gate and activation.rectifier)


def _masked(g: Tensor, x: Tensor) -> Tensor:
    """g · [x > 0]."""
    masked: Tensor = torch.ops.aten.threshold_backward(g, x, 0)
    return masked
