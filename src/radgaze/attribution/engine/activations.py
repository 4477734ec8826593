"""Activations the rules know: each with its two derivatives, and the torch functions that compute it.

A rule needs g·a'(x) while the heatmap is read out, and the loss's backward through that read-out needs
m·a''(x); both are written out here, so neither depends on what PyTorch offers as a double backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


@dataclass(frozen=True)
class Activation:
    """One elementwise activation a(x).

    Attributes:
        name: Usual name.
        value: The function a(x).
        backward: g·a'(x), as a function of g and x.
        curve: m·a''(x), as a function of m and x, zero at kinks; None where a'' is zero everywhere.
        both: c·a'(x) and m·a''(x), as a function of c, m and x, where they share costly parts; it may work in
            place on what it has made, and is not differentiated.
        rectifier: Whether it is the literal ReLU, the only one that textbook rules are defined for.
        gate: Whether it is a sigmoid, which scales other values: rules are not applied to it unless the
            option `gates` is "ruled".
    """

    name: str
    value: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor], Tensor]
    curve: Callable[[Tensor, Tensor], Tensor] | None = None
    both: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
    rectifier: bool = False
    gate: bool = False

    def bend(self, c: Tensor, g: Tensor, x: Tensor) -> Tensor:
        """c·g·a''(x), zero where a'' is zero everywhere."""
        if self.curve is None:
            return torch.zeros_like(x)
        if c.dtype in _HALVES:  # a product of two gradients, and a''(x)
            return self.curve(c.float() * g.float(), x.float()).to(x.dtype)
        return self.curve(c * g, x)

    def adjoint(self, c: Tensor, g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """c·a'(x) and c·g·a''(x)."""
        if self.both is None or c.dtype in _HALVES or torch.is_grad_enabled():
            return self.backward(c, x), self.bend(c, g, x)
        return self.both(c, c * g, x)


_HALVES = (torch.float16, torch.bfloat16)


Arguments = tuple[object, ...]
Keywords = dict[str, object]
TorchFunction = Callable[..., object]


def first_argument(args: Arguments, kwargs: Keywords) -> object:
    """The input of a torch function that was called with these arguments; None without one."""
    return args[0] if args else kwargs.get("input")


def find(func: TorchFunction, args: Arguments, kwargs: Keywords) -> Activation | None:
    """The activation that the call `func(*args, **kwargs)` computes; None for another function."""
    maker = _FUNCTIONS.get(func)
    return None if maker is None else maker(*args, **kwargs)


def is_inplace(func: TorchFunction, args: Arguments, kwargs: Keywords) -> bool:
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

    def both(c: Tensor, m: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        # With r = x·(1 − s): a' = s + s·r, a'' = s·(1 − s)·(2 − (x − 2r))
        s = torch.sigmoid(x)
        r = torch.addcmul(x, x, s, value=-1)
        dx: Tensor = aten.sigmoid_backward(m, s).mul_(torch.rsub(torch.sub(x, r, alpha=2), 2))
        return torch.addcmul(s, s, r).mul_(c), dx

    return Activation("silu", F.silu, backward, curve, both)


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


def gelu(approximate: str = "none") -> Activation:
    return _gelu_by_tanh() if approximate == "tanh" else _gelu_exact()


@cache
def _gelu_exact() -> Activation:
    """x·Φ(x), Φ and φ the normal distribution: a' = Φ + xφ, a'' = φ·(2 − x²)."""

    def curve(m: Tensor, x: Tensor) -> Tensor:
        k = 1 / math.sqrt(2 * math.pi)
        square = x * x
        return torch.exp(-0.5 * square) * (2 * k - k * square) * m

    def both(c: Tensor, m: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        k = 1 / math.sqrt(2 * math.pi)
        square = x * x
        phi = torch.mul(square, -0.5).exp_()
        dx = phi.mul_(square.mul_(-k).add_(2 * k)).mul_(m)
        return aten.gelu_backward(c, x, approximate="none"), dx

    return Activation("gelu", F.gelu, lambda g, x: aten.gelu_backward(g, x, approximate="none"), curve, both)


@cache
def _gelu_by_tanh() -> Activation:
    """x·(1 + tanh u)/2 = x·s, s = σ(v), v = 2u = 2k·(x + 0.044715·x³), k = √(2/π).

    a' = s + x·s', a'' = 2s' + x·s'', s' = s·(1 − s)·v', s'' = s·(1 − s)·(v'' + (1 − 2s)·v'²).
    A sigmoid takes a third of a tanh's time.
    """
    k = 2 * math.sqrt(2 / math.pi)
    cubic = 0.044715 * k

    def curve(m: Tensor, x: Tensor) -> Tensor:
        square = x * x
        s, slope = torch.sigmoid(x * (k + cubic * square)), k + 3 * cubic * square
        bent = 2 * slope + 6 * cubic * square + x * (1 - 2 * s) * slope * slope
        dx: Tensor = aten.sigmoid_backward(m, s) * bent
        return dx

    def both(c: Tensor, m: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        square = x * x
        s = torch.mul(square, cubic).add_(k).mul_(x).sigmoid_()
        slope = torch.mul(square, 3 * cubic).add_(k)
        bent = torch.addcmul(x, x, s, value=-2).mul_(slope).mul_(slope)
        bent.add_(slope, alpha=2).add_(square, alpha=6 * cubic)
        dx: Tensor = aten.sigmoid_backward(m, s).mul_(bent)
        return torch.addcmul(s, aten.sigmoid_backward(x, s), slope).mul_(c), dx

    return Activation(
        "gelu",
        lambda x: F.gelu(x, approximate="tanh"),
        lambda g, x: aten.gelu_backward(g, x, approximate="tanh"),
        curve,
        both,
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
        lambda m, x: aten.hardtanh_backward(m, x, -3, 3) / 3,
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


UNRULED: dict[TorchFunction, str] = {
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
"""Nonlinearities that no rule covers: they pass their plain derivative, and a warning says so."""

Maker = Callable[..., Activation]
"""Makes an activation from the arguments of its torch function, whose names and places it shares."""


def _constant(activation: Activation) -> Maker:
    def make(*args: object, **kwargs: object) -> Activation:
        return activation

    return make


def _leaky(input: object, negative_slope: float = 0.01, inplace: bool = False) -> Activation:  # noqa: A002
    return leaky_relu(float(negative_slope))


def _elu(input: object, alpha: float = 1.0, inplace: bool = False) -> Activation:  # noqa: A002
    return elu(float(alpha))


def _elu_in_place(
    input: object,  # noqa: A002
    alpha: float = 1.0,
    scale: float = 1.0,
    input_scale: float = 1.0,
) -> Activation:
    return elu(float(alpha), float(scale), float(input_scale))


def _celu(input: object, alpha: float = 1.0, inplace: bool = False) -> Activation:  # noqa: A002
    return elu(float(alpha), input_scale=1 / float(alpha))


def _gelu(input: object, approximate: str = "none") -> Activation:  # noqa: A002
    return gelu(approximate)


def _softplus(input: object, beta: float = 1.0, threshold: float = 20.0) -> Activation:  # noqa: A002
    return softplus(float(beta), float(threshold))


def _hardtanh(
    input: object,  # noqa: A002
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Activation:
    return hardtanh(float(min_val), float(max_val))


_SELU = elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946)

_FUNCTIONS: dict[TorchFunction, Maker] = {
    **dict.fromkeys((F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_), _constant(relu())),
    **dict.fromkeys((F.leaky_relu, F.leaky_relu_), _leaky),
    F.elu: _elu,
    F.elu_: _elu_in_place,
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
