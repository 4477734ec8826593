"""Batch norm's statistics over the batches of all processes, and what they pass back."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

Group: TypeAlias = "dist.ProcessGroup | None"

CURRENT: ContextVar[Group] = ContextVar("group", default=None)
"""The processes whose batches count as one, as long as `synchronised.synchronised` is entered."""


def current() -> Group:
    """The processes over whose batches statistics are taken now; None for this one alone."""
    return CURRENT.get()


def of_all(x: Tensor, group: Group) -> tuple[Tensor, Tensor, float]:
    """Mean (C,), biased variance (C,) and number of values in a channel of all processes' x (B, C, …).

    Each process gives its own mean and variance, and those are put together: a sum of squares would lose
    digits where the mean is large.
    """
    var, mean = torch.var_mean(_full(x), _but_channels(x), correction=0)
    own = torch.cat([mean, var, mean.new_tensor([x.numel() / x.shape[1]])])
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, own, group)
    means, variances, counts = torch.split(torch.stack(gathered), [len(mean), len(mean), 1], 1)
    share = counts / counts.sum()
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0), float(counts.sum())


def follow(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    var: Tensor,
    count: float,
    momentum: float,
) -> None:
    """Move running statistics towards a batch's, as batch norm does: the variance as an unbiased one."""
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((var * count / max(count - 1, 1)).to(running_var.dtype), momentum)


def gradients(
    g: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, rstd: Tensor, count: float, group: Group
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of y = γ·x̂ + β, x̂ = (x − μ)/σ, in x, γ and β.

    That in x is of all processes' losses together, for x moves their statistics, too. Those in γ and β are
    this process's own: they are averaged with those of all other parameters.
    """
    normal, g_full = (_full(x) - _wide(mean, x)) * _wide(rstd, x), _full(g)
    dbeta, dgamma = g_full.sum(_but_channels(x)), (g_full * normal).sum(_but_channels(x))
    sums = torch.cat([dbeta, dgamma])
    dist.all_reduce(sums, group=group)
    b, c = (sums / count).chunk(2)
    scale = rstd if gamma is None else rstd * gamma
    dx = _wide(scale, x) * (g_full - _wide(b, x) - normal * _wide(c, x))
    return dx.to(x.dtype), dgamma, dbeta


def batch_norm(
    plain: Callable[..., Tensor],
    group: Group,
    input: Tensor,  # noqa: A002 - torch's own name
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`plain`, torch's batch norm, with the statistics of all processes, written so that it can be
    differentiated any number of times."""
    if not training:
        return plain(input, running_mean, running_var, weight, bias, training, momentum, eps)
    over, x = _but_channels(input), _full(input)
    count = float(_AllSum.apply(x.new_tensor(x.numel() / x.shape[1]), group))
    mean = _AllSum.apply(x.sum(over), group) / count
    centred = x - _wide(mean, x)
    var = _AllSum.apply(centred.square().sum(over), group) / count
    with torch.no_grad():
        follow(running_mean, running_var, mean, var, count, momentum)
    y = centred * _wide(torch.rsqrt(var + eps), x)
    y = y if weight is None else y * _wide(weight, x)
    return (y if bias is None else y + _wide(bias, x)).to(input.dtype)


class _AllSum(Function):
    """The sum over all processes. Each of their losses depends on it: its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Group) -> Tensor:
        ctx.group, total = group, x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _AllSum.apply(grads[0].contiguous(), ctx.group), None


def _but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def _wide(per_channel: Tensor, x: Tensor) -> Tensor:
    return per_channel.view(1, -1, *[1] * (x.dim() - 2))


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
