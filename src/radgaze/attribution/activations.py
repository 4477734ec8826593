"""Activations the rules know: each with its two derivatives, and the torch functions that compute it.

A rule needs a'(x) while the heatmap is read out, and the loss's backward through that read-out needs a''(x);
both are written out here, so neither depends on what PyTorch offers as a double backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Activation:
    """One elementwise activation a(x).

    Attributes:
        name: Its usual name.
        value: a(x).
        first: a'(x).
        second: a''(x), zero at kinks.
        backward: g·a'(x) by a native kernel, for the loss's own backward.
        rectifier: Whether it is the literal ReLU, the only one that textbook rules speak of.
    """

    name: str
    value: Callable[[Tensor], Tensor]
    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    rectifier: bool = False


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
    return Activation(
        "relu",
        torch.relu,
        lambda x: (x > 0).to(x.dtype),
        torch.zeros_like,
        lambda g, x: torch.ops.aten.threshold_backward(g, x, 0),
        rectifier=True,
    )


def leaky_relu(slope: float = 0.01) -> Activation:
    return Activation(
        "leaky_relu",
        lambda x: F.leaky_relu(x, slope),
        lambda x: torch.where(x > 0, 1.0, slope).to(x.dtype),
        torch.zeros_like,
        lambda g, x: torch.ops.aten.leaky_relu_backward(g, x, slope, False),
    )


def elu(alpha: float = 1.0) -> Activation:
    return Activation(
        "elu",
        lambda x: F.elu(x, alpha),
        lambda x: torch.where(x > 0, torch.ones_like(x), alpha * torch.exp(x.clamp(max=0))),
        lambda x: torch.where(x > 0, torch.zeros_like(x), alpha * torch.exp(x.clamp(max=0))),
        lambda g, x: torch.ops.aten.elu_backward(g, alpha, 1, 1, False, x),
    )


def silu() -> Activation:
    def first(x: Tensor) -> Tensor:
        # silu_backward of ones is σ(x)·(1 + x·(1 − σ(x))) in one pass over memory
        return torch.ops.aten.silu_backward(torch.ones_like(x), x)

    def second(x: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        return s * (1 - s) * (2 + x * (1 - 2 * s))

    return Activation("silu", F.silu, first, second, lambda g, x: torch.ops.aten.silu_backward(g, x))


def gelu(approximate: str = "none") -> Activation:
    def first(x: Tensor) -> Tensor:
        return torch.ops.aten.gelu_backward(torch.ones_like(x), x, approximate=approximate)

    def second(x: Tensor) -> Tensor:
        if approximate == "none":  # a' = Φ + xφ, a'' = φ·(2 − x²)
            return torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) * (2 - x * x)
        k, c = math.sqrt(2 / math.pi), 0.044715
        u1, u2 = k * (1 + 3 * c * x * x), k * 6 * c * x
        t = torch.tanh(k * (x + c * x**3))
        sech2 = 1 - t * t
        return sech2 * u1 + 0.5 * x * sech2 * (u2 - 2 * t * u1 * u1)

    return Activation(
        "gelu",
        lambda x: F.gelu(x, approximate=approximate),
        first,
        second,
        lambda g, x: torch.ops.aten.gelu_backward(g, x, approximate=approximate),
    )


def hardswish() -> Activation:
    return Activation(
        "hardswish",
        F.hardswish,
        lambda x: torch.where(x <= -3, 0.0, torch.where(x >= 3, 1.0, x / 3 + 0.5)).to(x.dtype),
        lambda x: ((x > -3) & (x < 3)).to(x.dtype) / 3,
        lambda g, x: torch.ops.aten.hardswish_backward(g, x),
    )


def relu6() -> Activation:
    return Activation(
        "relu6",
        F.relu6,
        lambda x: ((x > 0) & (x < 6)).to(x.dtype),
        torch.zeros_like,
        lambda g, x: torch.ops.aten.hardtanh_backward(g, x, 0, 6),
    )


_Maker = Callable[[tuple[Any, ...], dict[str, Any]], Activation]


def _constant(activation: Activation) -> _Maker:
    return lambda args, kwargs: activation


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], position: int, name: str, default: Any) -> Any:
    return args[position] if len(args) > position else kwargs.get(name, default)


def _leaky(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return leaky_relu(float(_argument(args, kwargs, 1, "negative_slope", 0.01)))


def _elu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return elu(float(_argument(args, kwargs, 1, "alpha", 1.0)))


def _gelu(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Activation:
    return gelu(str(_argument(args, kwargs, 1, "approximate", "none")))


_FUNCTIONS: dict[Callable[..., Any], _Maker] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _constant(relu())),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_), _leaky),
    **dict.fromkeys((F.elu, F.elu_), _elu),
    F.silu: _constant(silu()),
    F.gelu: _gelu,
    F.hardswish: _constant(hardswish()),
    F.relu6: _constant(relu6()),
}
