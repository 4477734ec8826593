"""Evaluate a chain of elementwise operations in one pass over memory: block by block, or compiled.

Written with torch's operations, a formula of ten steps passes ten times over its tensors, and on a CPU
memory traffic is most of its cost. In blocks that fit the cache only inputs and outputs are read from and
written to memory; a compiled formula also saves the steps between.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from types import FunctionType

import torch
from torch import Tensor

from radgaze.attribution.tracing import is_traced

Formula = Callable[..., tuple[Tensor, ...]]

BLOCK = 2**17
"""Elements of a block: half a megabyte in float32, a few of which fit a core's second-level cache."""


def blockwise(formula: Formula, *tensors: Tensor, compiled: bool = False) -> tuple[Tensor, ...]:
    """Evaluate `formula(*tensors)`, an elementwise formula of tensors of one shape; results have that shape.

    The formula is called directly on tensors that fit a block, on a device other than the CPU, and where the
    results will be differentiated.

    Args:
        formula: The formula; the same object in each call if it is to be compiled.
        tensors: Its arguments, of one shape.
        compiled: Whether to compile it; if that fails, a warning says so, and it runs in blocks.
    """
    first = tensors[0]
    on_cpu = first.device.type == "cpu"
    in_graph = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    if is_traced() or in_graph or first.numel() <= BLOCK or not (on_cpu or compiled):
        return formula(*tensors)  # blocks have no graph
    channels_last = first.dim() == 4 and first.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    rows = [tensor.detach().contiguous(memory_format=layout) for tensor in tensors]
    rows = [row.as_strided((row.numel(),), (1,), row.storage_offset()) for row in rows]
    with torch.no_grad():  # compiled code is of one mode
        walk = _compiled(formula, len(rows), first.dtype, first.device) if compiled else None
        results = walk(*rows) if walk is not None else _in_blocks(formula, rows) if on_cpu else formula(*rows)
    strides = torch.empty(first.shape, device="meta", memory_format=layout).stride()
    return tuple(part.as_strided(first.shape, strides) for part in results)


def _in_blocks(formula: Formula, rows: list[Tensor]) -> list[Tensor]:
    wholes: list[Tensor] = []
    for k, blocks in enumerate(zip(*(torch.split(row, BLOCK) for row in rows), strict=True)):
        parts = formula(*blocks)
        if not wholes:
            wholes = [torch.empty_like(rows[0], dtype=part.dtype) for part in parts]
        for whole, part in zip(wholes, parts, strict=True):
            whole[k * BLOCK : (k + 1) * BLOCK].copy_(part)
    return wholes


@cache
def _compiled(formula: Formula, arguments: int, dtype: torch.dtype, device: torch.device) -> Formula | None:
    """The formula compiled and, once, compared with itself on random numbers; None where either fails."""
    walk: Formula = torch.compile(_of_its_own(formula), dynamic=True)
    draw = torch.Generator().manual_seed(0)
    rows = [torch.randn(BLOCK + 1, generator=draw).to(device, dtype) for _ in range(arguments)]
    try:
        for compiled, plain in zip(walk(*rows), formula(*rows), strict=True):
            torch.testing.assert_close(compiled, plain)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        warnings.warn(f"a rule's formula could not be compiled and is not: {reason}", stacklevel=2)
        return None
    return walk


def _of_its_own(formula: Formula) -> Formula:
    """The formula with code that no other has: torch compiles one code eight times at most.

    The formulas of all rules and activations are closures of the same few lines. Beyond that number torch
    would run them as they are, on whole tensors, in more time than in blocks.
    """
    if not isinstance(formula, FunctionType):
        return formula
    names, defaults, closure = formula.__globals__, formula.__defaults__, formula.__closure__
    its_own = FunctionType(formula.__code__.replace(), names, formula.__name__, defaults, closure)
    its_own.__kwdefaults__ = formula.__kwdefaults__
    return its_own
