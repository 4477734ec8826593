"""Recognise activations written in other functions: `x * torch.sigmoid(1.702 * x)`, `x.clamp(min=0)`.

Each elementwise operation of the model is repeated on a few fixed numbers. Where its result depends on one
tensor alone, those numbers are the values of a function of that tensor, which identify the activation,
however it is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, reduce

import torch
from torch import Tensor

from radgaze.attribution.engine import activations
from radgaze.attribution.engine.activations import Activation, Arguments, Keywords, TorchFunction

_HALF = torch.tensor([1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 20, 80, 600, 1e4, 1e6], dtype=torch.float64)
PROBES = torch.cat([-_HALF.flip(0), torch.linspace(-9, 9, 64, dtype=torch.float64) + 0.0137, _HALF])
"""Points at which functions are compared; none is a kink of an activation.

Those near 0 tell `x.clamp(min=1e-6)`, and those far from it `x.clamp(0, 10)`, from a ReLU.
"""

FAR = PROBES.abs() > 700
"""Where exp(x) overflows: a function that is not finite there, as log(1 + exp(x)), is not compared there."""

TOLERANCE = 1e-6
"""Relative tolerance of the comparison: constants in models have that many digits, as √2, 1.702, 0.044715."""

NEAR_ZERO = 1e-9
"""Absolute tolerance, below what models add or clamp to in order to stay away from 0."""

_ARITHMETIC = (
    "add",
    "sub",
    "subtract",
    "mul",
    "multiply",
    "div",
    "divide",
    "true_divide",
    "neg",
    "pow",
    "abs",
)
_METHODS: tuple[str, ...] = (
    "__add__",
    "__radd__",
    "__sub__",
    "__rsub__",
    "__mul__",
    "__rmul__",
    "__truediv__",
    "__rtruediv__",
)
_METHODS += ("__neg__", "__pow__", "__abs__", "__gt__", "__ge__", "__lt__", "__le__")
_CURVES: tuple[str, ...] = (
    "absolute",
    "square",
    "erf",
    "tanh",
    "exp",
    "expm1",
    "log1p",
    "sigmoid",
    "special_expit",
    "softplus",
)
_CURVES += ("relu", "relu6", "hardtanh", "hardsigmoid")
_CUTS = (
    "clamp",
    "clip",
    "clamp_min",
    "clamp_max",
    "maximum",
    "minimum",
    "where",
    "gt",
    "ge",
    "lt",
    "le",
    "float",
)
ELEMENTWISE = frozenset((*_ARITHMETIC, *_METHODS, *_CURVES, *_CUTS))
"""Names of the functions that are followed; none works in place."""

_OF_CONSTANTS = ("maximum", "minimum", "where")
"""Functions whose other arguments may be tensors of one value, such as `torch.zeros_like(x)`."""

KEPT = 12
"""Number of results kept: an activation is written in few steps."""


@dataclass(frozen=True, eq=False)
class Function:
    """A tensor as a function of one tensor, by its values at `PROBES`.

    Attributes:
        source: The tensor that it is a function of.
        values: The values.
        dtype: Its precision, which the model may change on the way.
    """

    source: Tensor
    values: Tensor
    dtype: torch.dtype

    @property
    def activation(self) -> Activation | None:
        """The activation with these values; None where there is none."""
        if self.values.dtype != torch.float64:  # a comparison
            return None
        compared = self.values.isfinite() | ~FAR
        for activation, values in _known():
            if torch.allclose(self.values[compared], values[compared], rtol=TOLERANCE, atol=NEAR_ZERO):
                return activation
        return _leaky(self.values)

    @property
    def is_shifted_by_three(self) -> bool:
        """Whether the function is x + 3, as in the gate relu6(x + 3) / 6."""
        return self.values.dtype == torch.float64 and torch.allclose(self.values, PROBES + 3)


@dataclass
class Spelling:
    """The last results of elementwise operations, as functions of what they were computed from."""

    _last: deque[tuple[Tensor, int, Tensor, int, Function]] = field(
        default_factory=lambda: deque(maxlen=KEPT)
    )

    def follow(self, func: TorchFunction, args: Arguments, kwargs: Keywords) -> Function | None:
        """The result of a call as a function of one tensor; None where it depends on several or on none."""
        name = getattr(func, "__name__", "")
        if name not in ELEMENTWISE or kwargs.get("inplace"):
            return None
        source: Tensor | None = None
        shadows: list[object] = []
        for value in (*args, *kwargs.values()):
            if not isinstance(value, Tensor):
                shadows.append(value)
                continue
            function = self.function(value)
            if function is None:
                constant = _constant(value) if name in _OF_CONSTANTS else None
                if constant is None:
                    return None
                shadows.append(constant)
                continue
            if source is not None and function.source is not source:
                return None
            source = function.source
            shadows.append(function.values)
        if source is None or not _keeps_shape((*args, *kwargs.values()), source):
            return None
        try:
            if name == "float" and isinstance(shadows[0], Tensor):
                return Function(source, shadows[0].double(), torch.float32)
            if name in _OF_CONSTANTS:
                shadows = [_as_tensor(shadow) for shadow in shadows]
            values = func(*shadows[: len(args)], **dict(zip(kwargs, shadows[len(args) :], strict=True)))
        except (RuntimeError, TypeError, ValueError):
            return None
        if not isinstance(values, Tensor) or values.shape != PROBES.shape:
            return None
        return Function(source, values, _promoted(args, kwargs))

    def function(self, tensor: Tensor) -> Function | None:
        """A tensor as a function of the tensor it was computed from, or of itself; None of a constant."""
        for result, version, source, source_version, function in reversed(self._last):
            if result is tensor and tensor._version == version and source._version == source_version:
                return function
        if not (tensor.requires_grad and tensor.is_floating_point() and tensor.grad_fn is not None):
            return None
        return Function(tensor, PROBES, tensor.dtype)

    def note(self, result: object, function: Function | None) -> None:
        """Keep the result of a call."""
        if function is not None and isinstance(result, Tensor) and not result.is_inference():
            source = function.source
            self._last.append((result, result._version, source, source._version, function))

    def clear(self) -> None:
        """Release all tensors."""
        self._last.clear()


@cache
def _known() -> tuple[tuple[Activation, Tensor], ...]:
    followed = (
        activations.relu(),
        activations.hardtanh(0, 6),
        activations.silu(),
        activations.swish(1.702),
        activations.gelu(),
        activations.gelu("tanh"),
        activations.hardswish(),
        activations.mish(),
        activations.elu(),
        activations.softplus(),
        activations.sigmoid(),
        activations.hardsigmoid(),
    )
    return tuple((activation, activation.value(PROBES)) for activation in followed)


def _leaky(values: Tensor) -> Activation | None:
    """Leaky ReLU of any slope; None of another function."""
    below = PROBES < 0
    slope = float(values[0] / PROBES[0])
    line = torch.where(below, slope * PROBES, PROBES)
    straight = torch.allclose(values, line, rtol=TOLERANCE, atol=NEAR_ZERO)
    return activations.leaky_relu(slope) if straight and 0 < slope < 1 - TOLERANCE else None


def _keeps_shape(values: Iterable[object], source: Tensor) -> bool:
    """Whether an operation on these values has a result of a tensor's shape, rather than of a wider one."""
    shapes = [value.shape for value in values if isinstance(value, Tensor)]
    return bool(torch.broadcast_shapes(*shapes) == source.shape)  # type: ignore[no-untyped-call]


def _constant(tensor: Tensor) -> float | None:
    """The one value of a tensor without gradient; None where it has several."""
    if tensor.requires_grad or not tensor.numel() or tensor.dtype == torch.bool:
        return None
    first = tensor.flatten()[0]
    return float(first) if bool((tensor == first).all()) else None


def _promoted(args: Arguments, kwargs: Keywords) -> torch.dtype:
    """The precision of an operation's result: a number in a tensor counts beside no other tensor."""
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    types = [tensor.dtype for tensor in tensors if tensor.dim()] or [tensor.dtype for tensor in tensors]
    return reduce(torch.promote_types, types)


def _as_tensor(value: object) -> object:
    return torch.full_like(PROBES, value) if isinstance(value, int | float) else value
