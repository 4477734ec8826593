"""Record what is computed from images as one graph of torch's operations, for any number of images.

The graph holds the gradients of a heatmap as operations of their own, so that software without automatic
differentiation runs it: the derivative of a convolution is a transposed convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
from torch.nn.attention import SDPBackend, sdpa_kernel

from radgaze.attribution.tracing import tracing

aten = torch.ops.aten

EXAMPLES = 7
"""Number of images of the example: not one, which some operations treat in another way, and no number of
channels or classes that is usual, since torch fixes two sizes that it compares and finds equal."""

Dynamic = Sequence[frozenset[int]]
"""The dimensions of each input that may have another size."""


class NotDynamicError(ValueError):
    """Error about a graph that is for the example's number of images alone."""


def traced(
    function: Callable[..., tuple[Tensor, ...]], examples: Sequence[Tensor], dynamic: Dynamic
) -> GraphModule:
    """Record a function of tensors as a graph.

    Args:
        function: The function.
        examples: Tensors that it may be called with.
        dynamic: The dimensions of each that may have another size.

    Raises:
        NotDynamicError: The graph fixes such a dimension.
        Exception: An operation cannot be recorded, for whatever reason; torch's classes are many.
    """
    shapes = ShapeEnv()
    mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True)
    fakes = [
        mode.from_tensor(x, symbolic_context=_context(x, dims))
        for x, dims in zip(examples, dynamic, strict=True)
    ]
    record = make_fx(
        function, tracing_mode="symbolic", decomposition_table=TABLE, _allow_non_fake_inputs=True
    )
    # The derivative of the fused attention is torch's alone, as are those of its deterministic mode.
    with tracing(), indeterministic(), sdpa_kernel(SDPBackend.MATH):
        graph: GraphModule = record(*fakes)
    if shapes.replacements and any(size.is_number for size in shapes.replacements.values()):
        raise NotDynamicError("an operation fixes the number of images")
    return graph


@contextmanager
def indeterministic() -> Iterator[None]:
    """Let torch choose among its algorithms, as in a process that has trained no network."""
    before, only_warns = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warns)


def _context(x: Tensor, dims: frozenset[int]) -> StatelessSymbolicContext[..., object]:
    sizes = [DimDynamic.DYNAMIC if k in dims else DimDynamic.STATIC for k in range(x.dim())]
    return StatelessSymbolicContext(dynamic_sizes=sizes)


def _convolution_backward(  # many arguments: those of torch's operation
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Sequence[int] | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    output_mask: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Compute the gradient of a convolution in its input, as a convolution; parameters need none."""
    if output_mask[1] or output_mask[2]:
        raise NotImplementedError("the derivative of a convolution in its parameters")
    if not output_mask[0]:
        return None, None, None
    if transposed:
        return (
            aten.convolution(grad, weight, None, stride, padding, dilation, False, [0, 0], groups),
            None,
            None,
        )
    # The pixels at the lower right edges that no kernel reached.
    rest = [
        x.shape[2 + i]
        - ((grad.shape[2 + i] - 1) * stride[i] - 2 * padding[i] + dilation[i] * (weight.shape[2 + i] - 1) + 1)
        for i in range(x.dim() - 2)
    ]
    return aten.convolution(grad, weight, None, stride, padding, dilation, True, rest, groups), None, None


def _max_pool2d_backward(grad: Tensor, x: Tensor, *others: object) -> Tensor:
    """The gradient of a pooling: each value to the place of the largest, the last argument."""
    places = others[-1]
    assert isinstance(places, Tensor)
    made = torch.zeros_like(x).flatten(2).scatter_add(2, places.flatten(2), grad.flatten(2))
    return made.reshape(x.shape)


def _avg_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """The gradient of a pooling: each value, over the number that it is the mean of, to each of them."""
    kernel = [kernel_size[-2 % len(kernel_size)], kernel_size[-1]]
    stride = [stride[-2 % len(stride)], stride[-1]] if stride else kernel
    edge = [padding[-2 % len(padding)], padding[-1]]
    rows, columns = x.shape[-2:]
    sides = [
        _number(grad.shape[-2 + i], x.shape[-2 + i], kernel[i], stride[i], edge[i], count_include_pad)
        for i in (0, 1)
    ]
    number = torch.tensor(sides[0])[:, None] * torch.tensor(sides[1])
    share = grad / (number.to(x.dtype) if divisor_override is None else divisor_override)
    rest = [
        x.shape[-2 + i] - ((grad.shape[-2 + i] - 1) * stride[i] - 2 * edge[i] + kernel[i]) for i in (0, 1)
    ]
    each = x.new_ones(x.shape[1], 1, *kernel)
    beyond = [max(size, 0) for size in rest]  # `ceil_mode` has windows that reach beyond the edge
    made = aten.convolution(share, each, None, stride, edge, [1, 1], True, beyond, x.shape[1])
    cut: Tensor = made[..., :rows, :columns]
    return cut


def _number(count: int, size: int, kernel: int, stride: int, edge: int, with_edge: bool) -> list[int]:
    """How many places along a side each mean is of. onnxruntime's pooling cannot count them."""
    starts = [stride * k - edge for k in range(count)]
    ends = [min(start + kernel, size + edge) for start in starts]
    if with_edge:
        return [end - start for start, end in zip(starts, ends, strict=True)]
    return [min(end, size) - max(start, 0) for start, end in zip(starts, ends, strict=True)]


TABLE: dict[torch._ops.OpOverload, Callable[..., object]] = {
    **{
        op: steps
        for op, steps in decomposition_table.items()
        if isinstance(op, torch._ops.OpOverload) and "backward" in str(op)
    },
    aten.convolution_backward.default: _convolution_backward,
    aten.avg_pool2d_backward.default: _avg_pool2d_backward,
    aten.max_pool2d_with_indices_backward.default: _max_pool2d_backward,
}
"""Derivatives, in operations that other software has."""
