"""Derivatives that are recorded as operations of a graph are those of torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.exporting.tracing import traced

WEIGHT = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(3))
CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "avg_pool": lambda x: F.avg_pool2d(x, 2),
    "avg_pool_rest": lambda x: F.avg_pool2d(x, 4, 4),
    "avg_pool_overlap": lambda x: F.avg_pool2d(x, (3, 5), (2, 1), (1, 2)),
    "avg_pool_without_pad": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool_ceil": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "avg_pool_ceil_with_pad": lambda x: F.avg_pool2d(x, 4, 3, 1, ceil_mode=True),
    "avg_pool_divisor": lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    "max_pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "convolution": lambda x: F.conv2d(x, WEIGHT, None, 2, 1),
    "convolution_of_groups": lambda x: F.conv2d(x, WEIGHT[:, :1], None, 3, 0, 2, groups=2),
    "transposed": lambda x: F.conv_transpose2d(x, WEIGHT[:2], None, 2, 1, 1),
    "enlarged": lambda x: F.interpolate(x, size=(23, 20), mode="bilinear", align_corners=False),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, 1),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * x, x.sin()),
}


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_derivative_is_that_of_torch(name: str, deterministic: bool) -> None:
    def derivative(x: Tensor) -> tuple[Tensor, ...]:
        x = x.detach().requires_grad_()
        y = CASES[name](x)
        return (torch.autograd.grad((y * y.detach().cos()).sum(), x)[0],)

    draw = torch.Generator().manual_seed(1)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        graph = traced(derivative, [torch.randn(7, 2, 11, 14, generator=draw)], [frozenset({0})])
        assert torch.are_deterministic_algorithms_enabled() is deterministic
    finally:
        torch.use_deterministic_algorithms(False)
    for count in (1, 3):
        x = torch.randn(count, 2, 11, 14, generator=draw)
        torch.testing.assert_close(graph(x), derivative(x), atol=1e-5, rtol=1e-5)
    assert not [node for node in graph.graph.nodes if "backward" in str(node.target)]
