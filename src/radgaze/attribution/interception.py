"""While this mode is on, convolutions, batch norms and activations become the steps of `steps.py`.

A torch function mode sees modules and functional calls alike (`nn.SiLU`, `F.silu`, in place or not, fused
into timm's `BatchNormAct2d` or not), and it leaves the model itself untouched: nothing has to be put back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from radgaze.attribution import activations
from radgaze.attribution.activations import Activation
from radgaze.attribution.rules import Rule
from radgaze.attribution.steps import Activate, BatchNorm, Conv, Pass

_CONV = (torch.conv2d, F.conv2d)
_SIGMOID = (torch.sigmoid, F.sigmoid, Tensor.sigmoid)
_PRODUCT = (torch.mul, Tensor.mul, Tensor.mul_, Tensor.__mul__, Tensor.__rmul__, Tensor.__imul__)
_POOL = (F.adaptive_avg_pool2d, torch.mean, Tensor.mean, F.adaptive_max_pool2d)


class Interception(TorchFunctionMode):
    """Lay a rule on every activation of the forward passes run inside.

    Args:
        rule: What an activation passes back in the read-out.
        pass_: The state shared with the steps.
        rule_for: "all" activations, or "relu" alone: the literal reading, which is plain back-propagation on
            a SiLU network.
        batch_statistics: "held" treats batch norm's statistics as constants in the read-out, so that one
            case's heatmap does not depend on its neighbours' gradients; "exact" differentiates through them.
    """

    def __init__(
        self,
        rule: Rule,
        pass_: Pass,
        rule_for: Literal["all", "relu"] = "all",
        batch_statistics: Literal["held", "exact"] = "held",
    ) -> None:
        super().__init__()
        self.rule, self.pass_ = rule, pass_
        self.rule_for, self.batch_statistics = rule_for, batch_statistics
        self._sigmoid: tuple[Tensor, Tensor] | None = None  # the last sigmoid's input and output

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or self.pass_.reading:
            return func(*args, **kwargs)
        if func in _CONV:
            return self._conv(func, args, kwargs)
        if func is F.batch_norm and self.batch_statistics == "held":
            return self._batch_norm(*args, **kwargs)
        activation = self._written_out(func, args) or activations.find(func, args, kwargs)
        if activation is not None and (self.rule_for == "all" or activation.rectifier):
            x = args[0] if args else kwargs["input"]
            if self._sigmoid is not None and x is self._sigmoid[1]:
                x = args[1]
            self._sigmoid = None
            self.pass_.applied += 1
            if activations.is_inplace(func, args, kwargs):
                # The rule needs x as it was, as a node of the graph; the model may go on under x's old name.
                return Activate.apply(x.clone(), activation, self.rule, self.pass_, x)
            return Activate.apply(x, activation, self.rule, self.pass_, None)
        y = func(*args, **kwargs)
        if func in _POOL and args:
            self._notice_pooling(args[0], y)
        elif func in _SIGMOID and args:
            self._sigmoid = (args[0], y)
        return y

    def _written_out(self, func: Callable[..., Any], args: tuple[Any, ...]) -> Activation | None:
        """SiLU where a model writes it as x·σ(x) (timm's `Swish` does), without an activation function."""
        if self._sigmoid is None or func not in _PRODUCT or len(args) < 2:
            return None
        x, s = self._sigmoid
        same = (args[0] is x and args[1] is s) or (args[0] is s and args[1] is x and func is not Tensor.mul_)
        return activations.silu() if same else None

    def _conv(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        call: dict[str, Any] = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        call.update(zip(names, args, strict=False))
        call.update(kwargs)
        x, weight, bias = call["input"], call["weight"], call["bias"]
        if isinstance(call["padding"], str) or x.dim() != 4:
            return func(*args, **kwargs)
        if torch.is_autocast_enabled(x.device.type):
            dtype = torch.get_autocast_dtype(x.device.type)
            x, weight = x.to(dtype), weight.to(dtype)
            bias = None if bias is None else bias.to(dtype)
        pairs = (_pair(call["stride"]), _pair(call["padding"]), _pair(call["dilation"]))
        return Conv.apply(x, weight, bias, *pairs, call["groups"], self.pass_)

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
        return BatchNorm.apply(
            input, weight, bias, running_mean, running_var, training, momentum, eps, self.pass_
        )

    def _notice_pooling(self, x: Any, y: Any) -> None:
        if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.dim() == 4):
            return
        if y.shape[:2] == x.shape[:2] and y.numel() == x.shape[0] * x.shape[1]:
            self.pass_.pooled = x


def _pair(value: int | tuple[int, ...] | list[int]) -> list[int]:
    return [value, value] if isinstance(value, int) else [value[0], value[-1]]
