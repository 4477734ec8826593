"""Attention between tokens: its matrices A = softmax(QKᵀ/√d), recorded while the model computes them.

Fused attention makes no matrix. Where matrices are asked for, it is computed in separate operations, with
the same values; torch's own function is called, not replaced, so that nothing has to be put back. A softmax
that the model computes itself is recorded as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from types import FunctionType

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from radgaze.attribution.engine.activations import Arguments, Keywords, TorchFunction
from radgaze.attribution.engine.forward_pass import Pass

CALLED: tuple[TorchFunction, ...] = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
SOFTMAX: tuple[TorchFunction, ...] = (torch.softmax, F.softmax, Tensor.softmax, torch.special.softmax)
NORMS: tuple[TorchFunction, ...] = (F.layer_norm, torch.layer_norm, F.rms_norm, torch.rms_norm)


def attend(
    func: TorchFunction, args: Arguments, kwargs: Keywords, pass_: Pass, again: AbstractContextManager[object]
) -> object:
    """Compute one of the functions `CALLED`, so that it can be differentiated as the pass needs.

    Args:
        func: The function.
        args: What it is called with.
        kwargs: What it is called with.
        pass_: The forward pass.
        again: Context in which torch functions are intercepted, for those that the function calls.
    """
    _note_tokens(func, args, kwargs, pass_)
    if pass_.records and func is F.scaled_dot_product_attention:
        explicitly: Callable[..., tuple[Tensor, Tensor]] = explicit
        y, A = explicitly(*args, **kwargs)
        pass_.attention.append(A)
        return y
    if pass_.records:
        with again:
            return _unchecked(func)(*args, **kwargs)
    if pass_.only_looked_at:
        return func(*args, **kwargs)
    with sdpa_kernel(SDPBackend.MATH):  # the fused ones cannot be differentiated twice
        return func(*args, **kwargs)


def explicit(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """Fused attention in separate operations: its result (…, L, d), and A (…, L, N) before drop-out."""
    if enable_gqa:  # several heads of queries share one of keys and values
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    root = (query.shape[-1] ** -0.5 if scale is None else abs(scale)) ** 0.5  # halves overflow if on one side
    scores = (query * root) @ (key * root).transpose(-2, -1)
    if scale is not None and scale < 0:
        scores = -scores
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).triu(1), float("-inf"))
    if attn_mask is None:
        A = scores.softmax(-1)
    else:
        masked = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, float("-inf")) if masked else scores + attn_mask
        nothing = (scores == float("-inf")).all(-1, keepdim=True)  # a query without keys gets 0, as torch's
        A = scores.masked_fill(nothing, 0).softmax(-1).masked_fill(nothing, 0)
    dropped = F.dropout(A, dropout_p) if dropout_p > 0 else A
    return dropped.to(value.dtype) @ value, A


def note_softmax(y: object, args: Arguments, kwargs: Keywords, pass_: Pass) -> None:
    """Keep the attention (B, heads, L, N) or (B · heads, L, N) that a softmax over the keys gives."""
    dim = args[1] if len(args) > 1 else kwargs.get("dim")
    if not isinstance(y, Tensor) or y.dim() < 3 or dim not in (-1, y.dim() - 1) or not y.requires_grad:
        return
    if y.shape[-1] == y.shape[-2]:
        _note_those(y.shape[-1], pass_)
    if pass_.records:
        pass_.attention.append(y)


def note_norm(y: object, pass_: Pass) -> None:
    """Keep the tokens (B, N, C) that a norm gives: the next attention may be of them."""
    if isinstance(y, Tensor):
        pass_.norms += 1
        if y.dim() == 3 and y.requires_grad:
            pass_.normed = y


def _note_tokens(func: TorchFunction, args: Arguments, kwargs: Keywords, pass_: Pass) -> None:
    query = args[0] if args else kwargs.get("query")
    key = args[1] if len(args) > 1 else kwargs.get("key")
    if not isinstance(query, Tensor) or not isinstance(key, Tensor) or query.shape[-2:] != key.shape[-2:]:
        return
    # torch's module gives its function tokens (N, B, C)
    _note_those(query.shape[0 if func is F.multi_head_attention_forward else -2], pass_)


def _note_those(count: int, pass_: Pass) -> None:
    """Keep the tokens that an attention of so many tokens to each other has been preceded by a norm of."""
    normed, images = pass_.normed, pass_.images
    if normed is not None and images is not None and normed.shape[:2] == (images.shape[0], count):
        pass_.tokens = normed


@cache
def _unchecked(func: Callable[..., object]) -> Callable[..., object]:
    """A copy of a function of torch that computes within a function mode.

    The function itself hands over to the mode as long as there is one.
    """
    assert isinstance(func, FunctionType)
    assert "has_torch_function" in func.__globals__
    names = {**func.__globals__, "has_torch_function": lambda _: False}
    copy = FunctionType(func.__code__, names, func.__name__, func.__defaults__, func.__closure__)
    copy.__kwdefaults__ = func.__kwdefaults__
    return copy
