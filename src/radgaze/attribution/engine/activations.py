"""Activations the rules know: each with its two derivatives, and the torch functions that compute it.

A rule needs g·a'(x) while the heatmap is read out, and the loss's backward through that read-out needs
m·a''(x); both are written out here, so neither depends on what PyTorch offers as a double backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """One elementwise activation a(x).

    Attributes:
        name: Its usual name.
        value: a(x).
        backward: g·a'(x), of g and x.
        curve: m·a''(x), of m and x, zero at kinks; None where a'' is zero everywhere.
        rectifier: Whether it is the literal ReLU, the only one that textbook rules speak of.
        gate: Whether it is a sigmoid, which scales other values rather than being one: rules leave it alone
            unless told otherwise.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    curve: Callable[[Tensor, Tensor], Tensor] | None = None
    rectifier: bool = False
    gate: bool = False


def find(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation | None:
    """The activation that the call `func(*args, **kwargs)` computes, or None where it is not one of ours."""
    maker = _FUNCTIONS.get(func)
    return None if maker is None else maker(args, kwargs)


def is_inplace(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the call overwrites its input: by `inplace=True`, or by a name that ends in an underscore."""
    name = getattr(func, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        return True
    return bool(kwargs.get("inplace", False)) or (bool(args) and args[-1] is True)


def relu() -> Activation:
    return Activation("relu", torch.relu, lambda g, x: aten.threshold_backward(g, x, 0), rectifier=True)


@cache
def leaky_relu(slope: float = 0.01) -> Activation:
    return Activation(
        "leaky_relu",
        lambda x: F.leaky_relu(x, slope),
        lambda g, x: aten.leaky_relu_backward(g, x, slope, False),
    )


@cache
def elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Activation:
    """ELU, and with its constants SELU (scale) and CELU (input scale 1/α)."""

    def curve(m: Tensor, x: Tensor) -> Tensor:
        below = (alpha * scale * input_scale**2) * torch.exp(x.clamp(max=0) * input_scale)
        return m * below.masked_fill_(x > 0, 0)

    return Activation(
        "elu",
        lambda x: aten.elu(x, alpha, scale, input_scale),
        lambda g, x: aten.elu_backward(g, alpha, scale, input_scale, False, x),
        curve,
    )


def silu() -> Activation:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():  # torch's own kernel cannot be differentiated
            s = torch.sigmoid(x)
            return g * s * (1 + x * (1 - s))
        dx: Tensor = aten.silu_backward(g, x)
        return dx

    def curve(m: Tensor, x: Tensor) -> Tensor:
        # a'' = s·(1 − s)·(2 + x·(1 − 2s)), s = σ(x)
        s = torch.sigmoid(x)
        dx: Tensor = aten.sigmoid_backward(m, s).mul_(torch.addcmul(x, x, s, value=-2).add_(2))
        return dx

    return Activation("silu", F.silu, backward, curve)


@cache
def swish(beta: float) -> Activation:
    """x·σ(βx); with β = 1.702 the QuickGELU of CLIP."""

    def backward(g: Tensor, x: Tensor) -> Tensor:
        s = torch.sigmoid(beta * x)
        return g * s * (1 + beta * x * (1 - s))

    def curve(m: Tensor, x: Tensor) -> Tensor:
        s = torch.sigmoid(beta * x)
        return m * beta * s * (1 - s) * (2 + beta * x * (1 - 2 * s))

    return Activation("quick_gelu", lambda x: x * torch.sigmoid(beta * x), backward, curve)


def mish() -> Activation:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            t = torch.tanh(F.softplus(x))
            return g * (t + x * (1 - t * t) * torch.sigmoid(x))
        dx: Tensor = aten.mish_backward(g, x)
        return dx

    def curve(m: Tensor, x: Tensor) -> Tensor:
        # a = x·t, t = tanh(softplus(x)), t' = (1 − t²)·s, t'' = (1 − t²)·(s·(1 − s) − 2·t·s²)
        s, t = torch.sigmoid(x), torch.tanh(F.softplus(x))
        return m * (1 - t * t) * (2 * s + x * (s * (1 - s) - 2 * t * s * s))

    return Activation("mish", F.mish, backward, curve)


@cache
def gelu(approximate: str = "none") -> Activation:
    def curve(m: Tensor, x: Tensor) -> Tensor:
        if approximate == "none":  # a' = Φ + xφ, a'' = φ·(2 − x²)
            return m * torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) * (2 - x * x)
        k, c = math.sqrt(2 / math.pi), 0.044715
        u1, u2 = k * (1 + 3 * c * x * x), k * 6 * c * x
        t = torch.tanh(k * (x + c * x**3))
        sech2 = 1 - t * t
        return m * (sech2 * u1 + 0.5 * x * sech2 * (u2 - 2 * t * u1 * u1))

    return Activation(
        "gelu",
        lambda x: F.gelu(x, approximate=approximate),
        lambda g, x: aten.gelu_backward(g, x, approximate=approximate),
        curve,
    )


@cache
def softplus(beta: float = 1.0, threshold: float = 20.0) -> Activation:
    def curve(m: Tensor, x: Tensor) -> Tensor:
        dx: Tensor = aten.sigmoid_backward(beta * m, torch.sigmoid(beta * x))
        return dx.masked_fill_(beta * x > threshold, 0)

    return Activation(
        "softplus",
        lambda x: F.softplus(x, beta, threshold),
        lambda g, x: aten.softplus_backward(g, x, beta, threshold),
        curve,
    )


def hardswish() -> Activation:
    return Activation(
        "hardswish",
        F.hardswish,
        lambda g, x: aten.hardswish_backward(g, x),
        lambda m, x: aten.hardtanh_backward(m / 3, x, -3, 3),
    )


@cache
def hardtanh(low: float, high: float) -> Activation:
    return Activation(
        "hardtanh", lambda x: F.hardtanh(x, low, high), lambda g, x: aten.hardtanh_backward(g, x, low, high)
    )


def sigmoid() -> Activation:
    def curve(m: Tensor, x: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        dx: Tensor = aten.sigmoid_backward(m, s).mul_(1 - 2 * s)
        return dx

    return Activation(
        "sigmoid",
        torch.sigmoid,
        lambda g, x: aten.sigmoid_backward(g, torch.sigmoid(x)),
        curve,
        gate=True,
    )


def hardsigmoid() -> Activation:
    return Activation("hardsigmoid", F.hardsigmoid, lambda g, x: aten.hardsigmoid_backward(g, x), gate=True)


UNRULED: dict[Callable[..., Any], str] = {
    F.softsign: "softsign",
    F.tanhshrink: "tanhshrink",
    F.softshrink: "softshrink",
    F.hardshrink: "hardshrink",
    F.logsigmoid: "logsigmoid",
    F.rrelu: "rrelu",
    F.glu: "glu",
    F.threshold: "threshold",
    torch.threshold: "threshold",
}
"""Nonlinearities that no rule speaks of: they pass their plain derivative, and the user is told."""

_Maker = Callable[[tuple[Any, ...], dict[str, Any]], Activation]


def _constant(activation: Activation) -> _Maker:
    return lambda args, kwargs: activation


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: Any) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _leaky(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return leaky_relu(float(_argument(args, kwargs, 1, "negative_slope", 0.01)))


def _elu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return elu(float(_argument(args, kwargs, 1, "alpha", 1.0)))


def _celu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    alpha = float(_argument(args, kwargs, 1, "alpha", 1.0))
    return elu(alpha, input_scale=1 / alpha)


def _gelu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return gelu(str(_argument(args, kwargs, 1, "approximate", "none")))


def _softplus(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return softplus(
        float(_argument(args, kwargs, 1, "beta", 1.0)), float(_argument(args, kwargs, 2, "threshold", 20.0))
    )


def _hardtanh(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return hardtanh(
        float(_argument(args, kwargs, 1, "min_val", -1.0)), float(_argument(args, kwargs, 2, "max_val", 1.0))
    )


_SELU = elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946)

_FUNCTIONS: dict[Callable[..., Any], _Maker] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _constant(relu())),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_), _leaky),
    **dict.fromkeys((F.elu, F.elu_), _elu),
    **dict.fromkeys((F.celu, F.celu_, torch.celu, torch.celu_), _celu),
    **dict.fromkeys((F.selu, F.selu_, torch.selu, torch.selu_), _constant(_SELU)),
    F.silu: _constant(silu()),
    F.mish: _constant(mish()),
    F.gelu: _gelu,
    F.softplus: _softplus,
    F.hardswish: _constant(hardswish()),
    F.relu6: _constant(hardtanh(0, 6)),
    **dict.fromkeys((F.hardtanh, F.hardtanh_), _hardtanh),
    **dict.fromkeys(
        (torch.sigmoid, torch.sigmoid_, F.sigmoid, Tensor.sigmoid, Tensor.sigmoid_, torch.special.expit),
        _constant(sigmoid()),
    ),
    F.hardsigmoid: _constant(hardsigmoid()),
}
