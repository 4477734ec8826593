"""Fused attention in separate operations has torch's values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from radgaze.attribution.engine.attention import explicit


@pytest.mark.parametrize("mask", ["none", "added", "boolean", "causal", "of each head"])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_explicit_attention_equals_torchs(mask: str, scale: float | None) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 4, n, 6, dtype=torch.float64, requires_grad=True) for n in (5, 7, 7))
    options: dict[str, Any] = {"scale": scale}
    if mask == "added":
        options["attn_mask"] = torch.randn(5, 7, dtype=torch.float64)
    elif mask == "boolean":
        options["attn_mask"] = torch.rand(2, 1, 5, 7) > 0.3
        options["attn_mask"][0, 0, 2] = False  # a query without keys
    elif mask == "of each head":
        options["attn_mask"] = torch.randn(2, 4, 5, 7, dtype=torch.float64)
    elif mask == "causal":
        options["is_causal"] = True
    expected = F.scaled_dot_product_attention(q, k, v, **options)
    found, A = explicit(q, k, v, **options)
    torch.testing.assert_close(found, expected)
    assert A.shape == (2, 4, 5, 7)
    ours, theirs = (torch.autograd.grad(y.square().sum(), (q, k, v)) for y in (found, expected))
    torch.testing.assert_close(ours, theirs)


def test_explicit_attention_shares_keys_among_heads_and_drops_out() -> None:
    torch.manual_seed(0)
    q = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    k, v = (torch.randn(2, 2, 5, 4, dtype=torch.float64) for _ in range(2))
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(explicit(q, k, v, enable_gqa=True)[0], expected)
    one = torch.ones(2, 2, 5, 1, dtype=torch.float64)
    dropped, A = explicit(k, k, one, dropout_p=0.5)
    torch.testing.assert_close(A.sum(-1, keepdim=True), one)
    assert not torch.allclose(dropped, one)
