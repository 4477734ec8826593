"""A torch function mode that turns convolutions, batch norms, activations and gates into steps of `layers`.

It sees modules and functional calls alike (`nn.SiLU`, `F.silu`, in place or not, fused into timm's
`BatchNormAct2d` or not), and leaves the model itself untouched: nothing has to be restored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from radgaze.attribution.engine import activations, attention, batch_norm, feature_maps, layer_norm, turns
from radgaze.attribution.engine.activations import (
    Activation,
    Arguments,
    Keywords,
    TorchFunction,
    first_argument,
)
from radgaze.attribution.engine.checkpointing import recompute_within
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.graph import leaf_of
from radgaze.attribution.engine.junctions import Concatenate, Gate
from radgaze.attribution.engine.layers import (
    BatchNorm,
    Conv,
    ConvAffine,
    ConvNorm,
)
from radgaze.attribution.engine.rule_steps import Activate, ActivatePReLU, keeps_output
from radgaze.attribution.engine.spellings import Function, Spelling
from radgaze.attribution.engine.unchanged import Convolved, Unchanged
from radgaze.attribution.tracing import is_traced

_CONV = (torch.conv2d, F.conv2d)
_SIGMOID = (torch.sigmoid, F.sigmoid, Tensor.sigmoid, torch.special.expit)
_PRODUCT = (torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply, Tensor.multiply)
_RELU6 = (F.relu6, F.hardtanh)
_PRODUCT_IN_PLACE = (Tensor.mul_, Tensor.__imul__)
_CONCATENATE = (torch.cat, torch.concat, torch.concatenate)
_PROLOGUE: tuple[TorchFunction, ...] = (
    *(torch.pow, Tensor.pow, Tensor.__pow__, torch.exp, Tensor.exp, torch.abs, Tensor.abs),
    *(torch.clamp, Tensor.clamp, torch.clamp_min, Tensor.clamp_min),
)


class Interception(TorchFunctionMode):
    """Turn the layers of the forward passes run within into steps to which rules apply.

    Args:
        pass_: The state shared with the steps, in which the layers met are recorded.
        batch_statistics: "held" treats batch norm's statistics as constants in the read-out, so that one
            case's heatmap does not depend on its neighbours' gradients; "exact" differentiates through them.
        recomputing: Whether a part of the model is computed again, within a backward.

    Attributes:
        around: Function that makes the context that the model runs in, and that a part of it which is
            computed again later has to run in as well.
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
        self.around: Callable[[], AbstractContextManager[object]] = nullcontext
        # The last sigmoid's input and output, and the last convolution.
        self._sigmoid: tuple[Unchanged[Tensor], Unchanged[Tensor]] | None = None
        self._convolved: Convolved | None = None
        self._spelling = Spelling()

    def __exit__(self, *error: object) -> None:
        self._sigmoid = self._convolved = None
        self._spelling.clear()
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Arguments = (), kwargs: Keywords | None = None
    ) -> object:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or not self._concerned() or "out" in kwargs:
            return func(*args, **kwargs)
        recompute_within(self._afresh, self.around)
        layer = self._layer(func)
        if layer is not None:
            return layer(*args, **kwargs)
        if func in attention.CALLED:
            return attention.attend(func, args, kwargs, self.pass_, self)
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
        x = first_argument(args, kwargs)
        if written_out is not None and self._sigmoid is not None:
            x = self._sigmoid[0].tensor
        if activation is not None and isinstance(x, Tensor):
            result = self._activate(func, args, kwargs, activation, x)
            self._spelling.note(result, function)
            return result
        y = func(*args, **kwargs)
        self._spelling.note(y, function)
        self._notice(args, y)
        if func in _PROLOGUE:
            feature_maps.note_prologue(x, self.pass_.stages)
        elif func in attention.NORMS:
            attention.note_norm(y, self.pass_)
        elif func in attention.SOFTMAX and within:
            attention.note_softmax(y, args, kwargs, self.pass_)
        return y

    def _layer(self, func: TorchFunction) -> TorchFunction | None:
        """The step of a layer with parameters, called as its torch function is; None for another function."""
        if func in _CONV:
            return self._conv
        if func is F.batch_norm:
            return self._batch_norm if self.batch_statistics == "held" else self._exact_norm
        if func is F.linear:
            return self._linear
        if func is F.layer_norm and not self.pass_.only_looked_at:
            return self._layer_norm
        return self._prelu if func in (F.prelu, torch.prelu) else None

    def _concerned(self) -> bool:
        """Whether what is computed now belongs to the model that is watched."""
        if self.recomputing:
            return True
        return turns.HERE.listens is self and torch._C._current_graph_task_id() == -1

    def _afresh(self) -> Interception:
        """A mode of the same settings for a part that is computed again, to save its tensors."""
        before = self.pass_
        again = Pass(
            literal=before.literal,
            gates=before.gates,
            only_looked_at=before.only_looked_at,
            channels_last=before.channels_last,
            records=before.records,
            compiled=before.compiled,
            group=before.group,
            evaluating=before.evaluating,
        )
        return Interception(again, self.batch_statistics, recomputing=True)

    def _activate(
        self,
        func: TorchFunction,
        args: Arguments,
        kwargs: Keywords,
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
        """An activation that the model writes in other functions, see `spellings`."""
        y: Tensor = Activate.apply(function.source.to(function.dtype), activation, self.pass_)
        if activation.gate:
            self._spelling.note(y, function)  # it may be a part of another one
        else:
            self._met(activation.name)
        return y

    def _is_hard_gate(self, args: Arguments, kwargs: Keywords) -> bool:
        """Whether a ReLU6 belongs to relu6(x + 3) / 6, a gate, on which no rule is laid."""
        x = first_argument(args, kwargs)
        function = self._spelling.function(x) if isinstance(x, Tensor) and x.grad_fn is not None else None
        return function is not None and function.is_shifted_by_three

    def _met(self, name: str) -> None:
        self.pass_.activations[name] = self.pass_.activations.get(name, 0) + 1

    def _written_out(self, func: TorchFunction, args: Arguments) -> Activation | None:
        """SiLU where a model computes it as x·σ(x), as timm's `Swish` does."""
        in_place = func in _PRODUCT_IN_PLACE
        if self._sigmoid is None or len(args) < 2 or not (in_place or func in _PRODUCT):
            return None
        x, s = self._sigmoid
        same = (x.still(args[0]) and s.still(args[1])) or (
            s.still(args[0]) and x.still(args[1]) and not in_place
        )
        return activations.silu() if same else None

    def _linear(
        self,
        input: Tensor,  # noqa: A002 - torch's own name
        weight: Tensor,
        bias: Tensor | None = None,
    ) -> Tensor:
        y = F.linear(input, weight, bias)
        self.pass_.linear = (input, weight, y)
        self._notice((input, weight, bias), y)
        return y

    def _layer_norm(self, input: Tensor, *args: object, **kwargs: object) -> Tensor:  # noqa: A002
        norm: Callable[..., Tensor] = layer_norm.normalised
        y = norm(self.pass_, input, *args, **kwargs)
        self._notice((input,), y)
        attention.note_norm(y, self.pass_)
        return y

    def _prelu(self, input: Tensor, weight: Tensor) -> Tensor:  # noqa: A002
        self._met("prelu")
        y: Tensor = ActivatePReLU.apply(input, weight, self.pass_)
        return y

    def _conv(
        self,
        input: Tensor,  # noqa: A002 - torch's own name
        weight: Tensor,
        bias: Tensor | None = None,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
    ) -> Tensor:
        if isinstance(padding, str) or input.dim() != 4:
            plain: Callable[..., Tensor] = torch.conv2d
            return plain(input, weight, bias, stride, padding, dilation, groups)
        x = input
        if self.pass_.channels_last and x.device.type == "cpu" and not is_traced():
            x = x.contiguous(memory_format=torch.channels_last)
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
        self._spelling.clear()
        first = (
            self.pass_.own_leaf
            and not self.pass_.only_looked_at
            and _depends_on_nothing_but(self.pass_.images, x)
        )
        y: Tensor = Conv.apply(x, weight, bias, geometry, self.pass_, first)
        feature_maps.note(input, y, self.pass_.stages)
        self._convolved = Convolved(
            Unchanged(y), Unchanged(x), Unchanged(weight), Unchanged(bias), geometry, first
        )
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
        if convolved is not None and learned and convolved.gave(input):
            assert weight is not None
            assert bias is not None
            x, kernel, offset = convolved.x.tensor, convolved.weight.tensor, convolved.bias.tensor
            y, shared = convolved.y.tensor.detach(), (convolved.geometry, self.pass_, convolved.first)
            affine = _as_affine(y, weight, bias, running_mean, running_var, training, eps)
            if affine is not None:
                normalised = ConvAffine.apply(x, kernel, offset, y, *affine, *shared)
            else:
                normalised = ConvNorm.apply(x, kernel, offset, weight, bias, y, statistics, *shared)
        else:
            normalised = BatchNorm.apply(input, weight, bias, statistics, self.pass_)
        return normalised

    def _exact_norm(self, *args: object, **kwargs: object) -> Tensor:
        """Batch norm whose statistics are differentiated like all else."""
        norm: Callable[..., Tensor] = F.batch_norm
        if self.pass_.group is not None:
            norm = partial(batch_norm.batch_norm, F.batch_norm, self.pass_.group)
        return norm(*args, **kwargs)

    def _concatenate(self, func: TorchFunction, args: Arguments, kwargs: Keywords) -> object:
        parts = args[0] if args else None
        dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
        # Where dimensions differ, one is an empty tensor (0,), which torch accepts for compatibility.
        if (
            not isinstance(parts, tuple | list)
            or len({(part.dtype, part.dim()) for part in parts}) != 1
            or not isinstance(dim, int)
            or set(kwargs) - {"dim"}
            or len(args) > 2
        ):
            return func(*args, **kwargs)
        y: Tensor = Concatenate.apply(dim, self.pass_, *parts)
        return y

    def _notice(self, args: Arguments, y: object) -> None:
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


def _is_gate(s: object, x: object) -> bool:
    """Whether s (B, C, 1, 1) scales the channels of feature maps x (B, C, H, W)."""
    if not (isinstance(s, Tensor) and isinstance(x, Tensor) and x.dim() == s.dim() == 4):
        return False
    return s.shape == (*x.shape[:2], 1, 1) and x.shape != s.shape and s.dtype == x.dtype and s.requires_grad


def _depends_on_nothing_but(leaf: Tensor | None, x: Tensor) -> bool:
    """Whether `leaf` is the only leaf of x's graph. A network's first convolution has a short one."""
    if x is leaf:
        return True
    met, ahead = False, [x.grad_fn]
    for _ in range(16):
        if not ahead:
            return met
        node = ahead.pop()
        if node is None:
            continue
        other = leaf_of(node)
        if other is not None:
            if other is not leaf:
                return False
            met = True
        ahead.extend(before for before, _ in node.next_functions)
    return False


def _pair(value: int | Sequence[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else [value[0], value[-1]]
