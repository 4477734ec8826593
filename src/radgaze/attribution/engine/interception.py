"""While this mode is on, convolutions, batch norms, activations and gates become the steps of `layers.py`.

A torch function mode sees modules and functional calls alike (`nn.SiLU`, `F.silu`, in place or not, fused
into timm's `BatchNormAct2d` or not), and it leaves the model itself untouched: nothing has to be put back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from radgaze.attribution.engine import activations, batch_norm, feature_maps, turns
from radgaze.attribution.engine.activations import Activation
from radgaze.attribution.engine.checkpointing import recompute_within
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.junctions import Concatenate, Gate
from radgaze.attribution.engine.layers import (
    BatchNorm,
    Conv,
    ConvAffine,
    ConvNorm,
    Geometry,
)
from radgaze.attribution.engine.rule_steps import Activate, ActivatePReLU, keeps_output
from radgaze.attribution.engine.spellings import Function, Spelling

_CONV = (torch.conv2d, F.conv2d)
_SIGMOID = (torch.sigmoid, F.sigmoid, Tensor.sigmoid, torch.special.expit)
_PRODUCT = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply, Tensor.multiply)
_RELU6 = (F.relu6, F.hardtanh)
_PRODUCT_IN_PLACE = (Tensor.mul_, Tensor.__imul__)
_CONCATENATE = (torch.cat, torch.concat, torch.concatenate)
_ATTENTION = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
_PROLOGUE: tuple[Callable[..., Any], ...] = (
    *(torch.pow, Tensor.pow, Tensor.__pow__, torch.exp, Tensor.exp, torch.abs, Tensor.abs),
    *(torch.clamp, Tensor.clamp, torch.clamp_min, Tensor.clamp_min),
)


@dataclass(frozen=True, eq=False)
class Unchanged:
    """A tensor met before, or None, and what it held then."""

    tensor: Any
    _version: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_version", _version_of(self.tensor))

    def still(self, other: Any) -> bool:
        """Whether the other is this very tensor, and nothing has overwritten it since."""
        return other is self.tensor and _version_of(other) == self._version


def _version_of(tensor: Any) -> int:
    return tensor._version if isinstance(tensor, Tensor) and not tensor.is_inference() else 0


class Interception(TorchFunctionMode):
    """Turn the layers of the forward passes run inside into steps that a rule can be laid on.

    Args:
        pass_: The state shared with the steps; what is met is written there.
        batch_statistics: "held" treats batch norm's statistics as constants in the read-out, so that one
            case's heatmap does not depend on its neighbours' gradients; "exact" differentiates through them.
        recomputing: Whether this is for a part that is computed again, within a backward.

    Attributes:
        around: Makes what the model runs within, and what it computes again later has to run within as well.
    """

    def __init__(
        self,
        pass_: Pass,
        batch_statistics: Literal["held", "exact"] = "held",
        *,
        recomputing: bool = False,
    ) -> None:
        super().__init__()
        self.pass_, self.batch_statistics, self.recomputing = pass_, batch_statistics, recomputing
        self.around: Callable[[], AbstractContextManager[Any]] = nullcontext
        self._sigmoid: tuple[Unchanged, Unchanged] | None = None  # the last sigmoid's input and output
        self._convolved: tuple[tuple[Unchanged, ...], Geometry, bool] | None = None
        self._spelling = Spelling()

    def __exit__(self, *error: Any) -> None:
        self._sigmoid = self._convolved = None
        self._spelling.clear()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or not self._concerned() or "out" in kwargs:
            return func(*args, **kwargs)
        recompute_within(self._afresh, self.around)
        if func in _CONV:
            return self._conv(func, args, kwargs)
        if func is F.batch_norm and self.batch_statistics == "held":
            return self._batch_norm(*args, **kwargs)
        if func in _ATTENTION and not self.pass_.only_looked_at:
            with sdpa_kernel(SDPBackend.MATH):  # the fused ones cannot be differentiated twice
                return func(*args, **kwargs)
        if func is F.batch_norm:
            return self._exact_norm(*args, **kwargs)
        if func in (F.prelu, torch.prelu):
            self._met("prelu")
            call = dict(zip(("input", "weight"), args, strict=False), **kwargs)
            return ActivatePReLU.apply(call["input"], call["weight"], self.pass_)
        if func in activations.UNRULED:
            self.pass_.unruled.add(activations.UNRULED[func])
        if func in _PRODUCT and len(args) == 2:
            for x, s in (args, args[::-1]):
                if _is_gate(s, x):
                    return Gate.apply(x, s, self.pass_)
        if func in _CONCATENATE:
            return self._concatenate(func, args, kwargs)
        written_out = self._written_out(func, args)
        # Of the model's own operations alone: a map's `clamp(min=0)` is no activation of the network.
        within = self.recomputing or turns.HERE.running
        function = self._spelling.follow(func, args, kwargs) if within else None
        activation = written_out or activations.find(func, args, kwargs)
        if func in _RELU6 and self._is_hard_gate(args, kwargs):
            activation = None
        elif activation is None and function is not None and function.activation is not None:
            return self._spelled_out(function, function.activation)
        if activation is not None:
            x = args[0] if args else kwargs["input"]
            if written_out is not None and self._sigmoid is not None:
                x = self._sigmoid[0].tensor
            y = self._activate(func, args, kwargs, activation, x)
            self._spelling.note(y, function)
            return y
        y = func(*args, **kwargs)
        self._spelling.note(y, function)
        if func is F.linear:
            self.pass_.linear = (args[0], args[1] if len(args) > 1 else kwargs["weight"], y)
        self._notice(args, y)
        if func in _PROLOGUE:
            feature_maps.note_prologue(args[0] if args else kwargs.get("input"), self.pass_.stages)
        return y

    def _concerned(self) -> bool:
        """Whether what is computed now belongs to the model that is watched."""
        if self.recomputing:
            return True
        return turns.HERE.listens is self and torch._C._current_graph_task_id() == -1

    def _afresh(self) -> Interception:
        """The same for a part that is computed again: only what it saves is looked at then."""
        before = self.pass_
        again = Pass(
            literal=before.literal,
            gates=before.gates,
            only_looked_at=before.only_looked_at,
            compiled=before.compiled,
            group=before.group,
            evaluating=before.evaluating,
        )
        return Interception(again, self.batch_statistics, recomputing=True)

    def _activate(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        activation: Activation,
        x: Tensor,
    ) -> Tensor:
        self._sigmoid = None
        if not activation.gate:
            self._met(activation.name)
        if not activations.is_inplace(func, args, kwargs):
            y: Tensor = Activate.apply(x, activation, self.pass_)
            if func in _SIGMOID:
                self._sigmoid = (Unchanged(x), Unchanged(y))
            return y
        # The rule needs x as it was, as a node of the graph; the model may go on under x's old name.
        before = x if keeps_output(activation, self.pass_) else x.clone()
        after: Tensor = Activate.apply(before, activation, self.pass_, x, partial(func, *args, **kwargs))
        return after

    def _spelled_out(self, function: Function, activation: Activation) -> Tensor:
        """An activation that the model writes in other functions, see `spelled`."""
        y: Tensor = Activate.apply(function.source, activation, self.pass_)
        if activation.gate:
            self._spelling.note(y, function)  # it may be a part of another one
        else:
            self._met(activation.name)
        return y

    def _is_hard_gate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a ReLU6 is that of relu6(x + 3) / 6: a gate, which rules leave alone, and no activation."""
        x = args[0] if args else kwargs.get("input")
        found = self._spelling.function(x) if isinstance(x, Tensor) and x.grad_fn is not None else None
        return found is not None and found.is_shifted_by_three

    def _met(self, name: str) -> None:
        self.pass_.activations[name] = self.pass_.activations.get(name, 0) + 1

    def _written_out(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Activation | None:
        """SiLU where a model writes it as x·σ(x) (timm's `Swish` does), without an activation function."""
        in_place = func in _PRODUCT_IN_PLACE
        if self._sigmoid is None or len(args) < 2 or not (in_place or func in _PRODUCT):
            return None
        x, s = self._sigmoid
        same = (x.still(args[0]) and s.still(args[1])) or (
            s.still(args[0]) and x.still(args[1]) and not in_place
        )
        return activations.silu() if same else None

    def _conv(self, func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        call: dict[str, Any] = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        call.update(zip(names, args, strict=False))
        call.update(kwargs)
        x, weight, bias = call["input"], call["weight"], call["bias"]
        if isinstance(call["padding"], str) or x.dim() != 4:
            return func(*args, **kwargs)
        if self.pass_.only_looked_at and x.device.type == "cpu":
            x = x.contiguous(memory_format=torch.channels_last)  # the layout that oneDNN is fastest in
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        geometry = (_pair(call["stride"]), _pair(call["padding"]), _pair(call["dilation"]), call["groups"])
        self._spelling.clear()
        first = self.pass_.own_leaf and _depends_on_nothing_but(self.pass_.images, x)
        y: Tensor = Conv.apply(x, weight, bias, geometry, self.pass_, first)
        feature_maps.note(call["input"], y, self.pass_.stages)
        self._convolved = (tuple(Unchanged(each) for each in (y, x, weight, bias)), geometry, first)
        return y

    def _batch_norm(
        self,
        input: Tensor,  # noqa: A002 - torch's own name
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        statistics = (running_mean, running_var, training, momentum, eps)
        convolved, self._convolved = self._convolved, None
        normalised: Tensor
        if input.numel() == 0:
            return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        if training and running_mean is None and self.pass_.evaluating:
            return self._exact_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
        learned = weight is not None and bias is not None and weight.is_leaf and bias.is_leaf
        if convolved is not None and learned and _follows(input, convolved[0]):
            assert weight is not None
            assert bias is not None
            (y, x, kernel, offset), (geometry, first) = (each.tensor for each in convolved[0]), convolved[1:]
            y, shared = y.detach(), (geometry, self.pass_, first)
            affine = _as_affine(y, weight, bias, running_mean, running_var, training, eps)
            if affine is not None:
                normalised = ConvAffine.apply(x, kernel, offset, y, *affine, *shared)
            else:
                normalised = ConvNorm.apply(x, kernel, offset, weight, bias, y, statistics, *shared)
        else:
            normalised = BatchNorm.apply(input, weight, bias, statistics, self.pass_)
        return normalised

    def _exact_norm(self, *args: Any, **kwargs: Any) -> Tensor:
        """Batch norm whose statistics are differentiated like the rest."""
        if self.pass_.group is None:
            return F.batch_norm(*args, **kwargs)
        return batch_norm.batch_norm(F.batch_norm, self.pass_.group, *args, **kwargs)

    def _concatenate(
        self, func: Callable[..., Tensor], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        parts: Any = args[0] if args else None
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        # Where dimensions differ, one is torch's relic: the empty tensor that stands for none.
        alike = isinstance(parts, tuple | list) and len({(part.dtype, part.dim()) for part in parts}) == 1
        if not alike or not isinstance(dim, int) or set(kwargs) - {"dim"} or len(args) > 2:
            return func(*args, **kwargs)
        y: Tensor = Concatenate.apply(dim, self.pass_, *parts)
        return y

    def _notice(self, args: tuple[Any, ...], y: Any) -> None:
        """Keep the feature maps among a function's arguments that it may have pooled."""
        for x in args:
            if isinstance(x, list | tuple):
                self._notice(tuple(x), y)
            else:
                feature_maps.note(x, y, self.pass_.stages)


def _as_affine(
    y: Tensor,
    gamma: Tensor,
    beta: Tensor,
    mean: Tensor | None,
    var: Tensor | None,
    training: bool,
    eps: float,
) -> tuple[Tensor, Tensor] | None:
    """Factor and summand (C,) of a frozen batch norm in y's precision; None for one that is not frozen."""
    if training or gamma.requires_grad or beta.requires_grad or y.dtype != gamma.dtype:
        return None
    if mean is None or var is None:
        return None
    scale = gamma * torch.rsqrt(var + eps)
    return scale, beta - mean * scale


def _follows(x: Tensor, convolved: tuple[Unchanged, ...]) -> bool:
    """Whether x is what was convolved last, and none of what it was made from has been overwritten since."""
    return convolved[0].still(x) and all(each.still(each.tensor) for each in convolved)


def _is_gate(s: Any, x: Any) -> bool:
    """Whether s (B, C, 1, 1) scales the channels of feature maps x (B, C, H, W)."""
    if not (isinstance(s, Tensor) and isinstance(x, Tensor) and x.dim() == s.dim() == 4):
        return False
    return s.shape == (*x.shape[:2], 1, 1) and x.shape != s.shape and s.dtype == x.dtype and s.requires_grad


def _depends_on_nothing_but(leaf: Tensor | None, x: Tensor) -> bool:
    """Whether `leaf` is the only leaf of x's graph. A network's first convolution has a short one."""
    if x is leaf:
        return True
    found, ahead = False, [x.grad_fn]
    for _ in range(16):
        if not ahead:
            return found
        node = ahead.pop()
        if node is None:
            continue
        if hasattr(node, "variable"):
            if node.variable is not leaf:
                return False
            found = True
        ahead.extend(before for before, _ in node.next_functions)
    return False


def _pair(value: int | tuple[int, ...] | list[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else [value[0], value[-1]]
