"""A chain of elementwise operations, evaluated block by block so that its steps stay in the cache.

Written out with torch's operations, a formula of ten steps walks ten times over its tensors, and on a CPU
the walk through memory is what it costs. In blocks that fit the cache only inputs and outputs are walked.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 2**17
"""Elements of a block: half a megabyte in float32, a few of which fit a core's second-level cache."""


def blockwise(formula: Callable[..., tuple[Tensor, ...]], *tensors: Tensor) -> tuple[Tensor, ...]:
    """`formula(*tensors)` for an elementwise formula of tensors of one shape; its results have that shape.

    Off the CPU, and for what fits a block anyway, this is the formula itself.
    """
    first = tensors[0]
    if first.device.type != "cpu" or first.numel() <= BLOCK:
        return formula(*tensors)
    layout = (
        torch.channels_last
        if first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last)
        else torch.contiguous_format
    )
    rows = [tensor.contiguous(memory_format=layout) for tensor in tensors]
    rows = [row.as_strided((row.numel(),), (1,), row.storage_offset()) for row in rows]
    results: list[Tensor] = []
    walks: list[tuple[Tensor, ...]] = []
    for k, blocks in enumerate(zip(*(torch.split(row, BLOCK) for row in rows), strict=True)):
        found = formula(*blocks)
        if not results:
            results = [
                torch.empty(first.shape, dtype=part.dtype, device=first.device, memory_format=layout)
                for part in found
            ]
            walks = [torch.split(whole.as_strided((whole.numel(),), (1,)), BLOCK) for whole in results]
        for walk, part in zip(walks, found, strict=True):
            walk[k].copy_(part)
    return tuple(results)
