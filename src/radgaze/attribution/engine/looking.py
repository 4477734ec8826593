"""A torch function mode for maps that are only looked at, and made of plain gradients: most is left to torch.

Activations pass their own derivative, nothing is differentiated twice, and no parameter has a gradient. What
remains for steps of ours is what they compute faster: convolutions of many places, whose gradient takes the
frozen batch norm after it along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import getattr_static

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.attribution.engine import attention, feature_maps
from radgaze.attribution.engine.activations import Arguments, Keywords, TorchFunction, first_argument
from radgaze.attribution.engine.checkpointing import recompute_within
from radgaze.attribution.engine.interception import PROLOGUE, Interception, pair

MANY = 2**15
"""Values of a convolution's output from which one pass over them takes longer than a step's bookkeeping."""


class Looking(Interception):
    """Intercept no more than a plain gradient of a model in evaluation mode needs.

    `batch_statistics` matters where a norm has no running statistics.
    """

    def __torch_function__(
        self, func: TorchFunction, types: object, args: Arguments = (), kwargs: Keywords | None = None
    ) -> object:
        kwargs = kwargs or {}
        if func is torch.conv2d or func is F.batch_norm:
            if torch.is_grad_enabled() and self._concerned() and "out" not in kwargs:
                recompute_within(self._afresh, self.around)
                layer = self._layer(func)
                assert layer is not None
                return layer(*args, **kwargs)
        elif func not in _GETTERS and torch.is_grad_enabled() and self._concerned():
            recompute_within(self._afresh, self.around)
            return self._noted(func, args, kwargs)
        return func(*args, **kwargs)

    def _noted(self, func: TorchFunction, args: Arguments, kwargs: Keywords) -> object:
        if func is F.linear:
            return self._linear(*args, **kwargs)  # type: ignore[arg-type]
        if func in attention.CALLED:
            return attention.attend(func, args, kwargs, self.pass_, self)
        y = func(*args, **kwargs)
        self._notice(args, y)
        if func in PROLOGUE:
            feature_maps.note_prologue(first_argument(args, kwargs), self.pass_.stages)
        elif func in attention.NORMS:
            attention.note_norm(y, self.pass_)
        elif func in attention.SOFTMAX:
            attention.note_softmax(y, args, kwargs, self.pass_)
        return y

    def _afresh(self) -> Looking:
        again = super()._afresh().pass_
        return Looking(again, self.batch_statistics, recomputing=True)

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
        x = input
        if not isinstance(padding, str) and x.dim() == 4:
            if self.pass_.channels_last and x.device.type == "cpu":
                x = x.contiguous(memory_format=torch.channels_last)
            rows, columns = pair(stride)
            if len(x) * weight.shape[0] * x.shape[2:].numel() // (rows * columns) >= MANY:
                return super()._conv(x, weight, bias, stride, padding, dilation, groups)
        plain: Callable[..., Tensor] = torch.conv2d
        y = plain(x, weight, bias, stride, padding, dilation, groups)
        feature_maps.note(input, y, self.pass_.stages)
        return y

    def _batch_norm(self, *args: object, **kwargs: object) -> Tensor:
        if self._convolved is None and not self._of_this_batch(*args, **kwargs):  # type: ignore[arg-type]
            return F.batch_norm(*args, **kwargs)  # type: ignore[arg-type]
        return super()._batch_norm(*args, **kwargs)  # type: ignore[arg-type]

    @staticmethod
    def _of_this_batch(  # as `F.batch_norm` is called
        input: object,  # noqa: A002 - torch's own name
        running_mean: object,
        running_var: object,
        weight: object = None,
        bias: object = None,
        training: bool = False,
        *rest: object,
        **more: object,
    ) -> bool:
        """Whether a batch norm takes its statistics from the batch."""
        return training or running_mean is None


_PROPERTIES = ("shape", "dtype", "device", "requires_grad", "grad_fn")
_GETTERS = {*(getattr_static(Tensor, name).__get__ for name in _PROPERTIES), Tensor.size, Tensor.dim}
"""What asks a tensor for no values."""
