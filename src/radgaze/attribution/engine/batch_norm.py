"""Batch norm's statistics over the batches of all processes, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function

Group: TypeAlias = "dist.ProcessGroup | None"

CURRENT: ContextVar[Group] = ContextVar("group", default=None)
"""The processes whose batches count as one while `synchronised` is entered."""


def current() -> Group:
    """The processes over whose batches statistics are taken now; None for this one alone."""
    return CURRENT.get()


def of_all(x: Tensor, group: Group) -> tuple[Tensor, Tensor, float]:
    """Mean (C,), biased variance (C,) and number of values in a channel of all processes' x (B, C, …).

    Each process gives its own mean and variance, and those are put together: a sum of squares would lose
    digits where the mean is large.
    """
    var, mean = torch.var_mean(_full(x), _but_channels(x), correction=0)
    ours = torch.cat([mean, var, mean.new_tensor([count(x)])])
    gathered = [torch.empty_like(ours) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, ours, group)
    means, variances, counts = torch.split(torch.stack(gathered), [len(mean), len(mean), 1], 1)
    check_count(float(counts.sum()), x)
    share = counts / counts.sum()
    mean = (share * means).sum(0)
    return mean, (share * (variances + (means - mean).square())).sum(0), float(counts.sum())


def check(
    x: Tensor, mean: Tensor | None, var: Tensor | None, gamma: Tensor | None, beta: Tensor | None
) -> None:
    """Refuse shapes that `F.batch_norm` refuses, and with which its kernel would read beyond a tensor's end.

    Raises:
        RuntimeError: A tensor does not have one value for each channel.
    """
    for name, each in (("running_mean", mean), ("running_var", var), ("weight", gamma), ("bias", beta)):
        if each is not None and each.shape != x.shape[1:2]:
            raise RuntimeError(f"{name} should contain {x.shape[1]} elements not {each.numel()}")


def check_count(number: float | None, x: Tensor) -> None:
    """Refuse one value per channel in training, as `F.batch_norm` does: its unbiased variance is NaN.

    Raises:
        ValueError: A channel holds one value.
    """
    if number == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {x.size()}")


def count(x: Tensor) -> float:
    """The number of values in each channel of x (B, C, …)."""
    return x.numel() / x.shape[1]


def slope_in_gamma(g: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """The gradient of γ·(x − μ)/σ in γ, (C,), μ and σ held."""
    return over_channels(g * (x - wide(mean, x).to(x.dtype)) * wide(rstd, x).to(x.dtype))


def follow(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    mean: Tensor,
    var: Tensor,
    number: float,
    momentum: float,
) -> None:
    """Move running statistics towards a batch's, as batch norm does: the variance as an unbiased one."""
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((var * number / max(number - 1, 1)).to(running_var.dtype), momentum)


def gradients(
    g: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, rstd: Tensor, number: float, group: Group
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of y = γ·x̂ + β, x̂ = (x − μ)/σ, in x, γ and β.

    That in x is of all processes' losses together, for x moves their statistics, too. Those in γ and β are
    this process's: they are averaged with those of all other parameters.
    """
    normal, g_full = (_full(x) - wide(mean, x)) * wide(rstd, x), _full(g)
    dbeta, dgamma = over_channels(g_full), over_channels(g_full * normal)
    sums = torch.cat([dbeta, dgamma])
    dist.all_reduce(sums, group=group)
    b, c = (sums / number).chunk(2)
    scale = rstd if gamma is None else rstd * gamma
    dx = wide(scale, x) * (g_full - wide(b, x) - normal * wide(c, x))
    return dx.to(x.dtype), dgamma, dbeta


def batch_norm(  # many arguments: those of torch's own
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
    check(input, running_mean, running_var, weight, bias)
    number = float(_AllSum.apply(x.new_tensor(count(x)), group))
    check_count(number, input)
    mean = _AllSum.apply(x.sum(over), group) / number
    centred = x - wide(mean, x)
    var = _AllSum.apply(centred.square().sum(over), group) / number
    with torch.no_grad():
        follow(running_mean, running_var, mean, var, number, momentum)
    y = centred * wide(torch.rsqrt(var + eps), x)
    y = y if weight is None else y * wide(weight, x)
    return (y if bias is None else y + wide(bias, x)).to(input.dtype)


class _SumContext(Protocol):
    group: Group


class _AllSum(Function):
    """The sum over all processes. Each of their losses depends on it: its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: _SumContext, x: Tensor, group: Group) -> Tensor:
        ctx.group, total = group, x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: _SumContext, *grads: Tensor) -> tuple[Tensor, None]:
        return _AllSum.apply(grads[0].contiguous(), ctx.group), None


def over_channels(g: Tensor) -> Tensor:
    """The sum of each channel, (B, C, …) → (C,)."""
    return _full(g).sum(_but_channels(g))


def _but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.dim())]


def wide(per_channel: Tensor, x: Tensor) -> Tensor:
    """(C,) in a shape that stretches over x (B, C, …)."""
    return per_channel.view(1, -1, *[1] * (x.dim() - 2))


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
