"""The autograd graph behind a tensor: its nodes, their shapes, and which dimension holds the channels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod

from torch import Tensor
from torch.autograd.graph import Node

Shape = tuple[int, ...]

VIEWS = (
    "View",
    "ReshapeAlias",
    "UnsafeView",
    "Squeeze",
    "Unsqueeze",
    "Clone",
    "Alias",
    "ToCopy",
    "Contiguous",
)
"""Operations that keep the values and their order, and change the shape at most."""

_FIRST = (
    "Convolution",
    "Conv",
    "ConvNorm",
    "ConvAffine",
    "BatchNorm",
    "NativeBatchNorm",
    "CudnnBatchNorm",
    "NativeGroupNorm",
    "MaxPool2D",
    "MaxPool2DWithIndices",
    "AvgPool2D",
    "AdaptiveAvgPool2D",
    "AdaptiveMaxPool2D",
    "UpsampleBilinear2D",
    "UpsampleNearest2D",
    "PixelShuffle",
    "Gate",
    "ActivatePReLU",
)
"""Layers whose channels are dimension 1 of their output."""

_LAST = ("Addmm", "Mm", "Linear")
"""Layers whose channels are the last dimension."""

_FAR = 2000
"""Most nodes visited to find where the channels are: the layer that made them is near, or there is none."""


def name_of(node: Node) -> str:
    """A node's operation, such as "Convolution", without what PyTorch adds."""
    return re.sub(r"(Compiled)?Backward\d*$", "", str(node.name()).rsplit("::", 1)[-1])


def shape_of(node: Node) -> Shape:
    """The shape of a node's output; in a trace, where the number of cases is a symbol, its example's."""
    outputs = node._input_metadata
    if not outputs:
        return ()
    return tuple(size if isinstance(size, int) else size.node.hint for size in outputs[0].shape)


def leaf_of(node: Node) -> Tensor | None:
    """The leaf tensor whose gradient a node accumulates; None for another node."""
    leaf: Tensor | None = getattr(node, "variable", None)
    return leaf


def saved(node: Node, name: str) -> tuple[int, ...]:
    """Numbers that a node saved, such as the dimensions that it permuted; empty where it saved none."""
    value: int | tuple[int, ...] | None = getattr(node, f"_saved_{name}", None)
    numbers = () if value is None else (value,) if isinstance(value, int) else value
    return tuple(number - 2**64 if number >= 2**63 else number for number in numbers)


def before(node: Node) -> list[Node]:
    """The nodes that a node got its inputs from."""
    return [ahead for ahead, _ in node.next_functions if ahead is not None]


def walk(start: Node | None) -> Iterator[Node]:
    """Each node that a node's output was computed by, once, beginning with the node itself."""
    seen: set[Node] = set()
    ahead = [start]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        ahead.extend(before(node))


def leads_to(start: Node, other: Node | None) -> bool:
    """Whether a node's graph holds another."""
    return other is not None and any(node is other for node in walk(start))


def channel_dim(tensor: Tensor | Node) -> int | None:
    """The dimension of a tensor, or of a node's output, that holds the channels; None where it is unknown.

    The graph is followed to the layer that made the channels: a convolution gives them in dimension 1, a
    linear layer in the last, and layer norm over one dimension takes them there. Permutations, reshapes and
    elementwise operations in between are followed.
    """
    if isinstance(tensor, Tensor):
        return None if tensor.grad_fn is None else _channels(tensor.grad_fn, {})
    return _channels(tensor, {})


def _channels(start: Node, dims: dict[Node, int | None]) -> int | None:
    """Depth first without recursion, as graphs are deep: a node's answer follows from one of its inputs'."""
    stack = [start]
    while stack and len(dims) < _FAR:
        node = stack[-1]
        if dims.get(node) is not None:
            stack.pop()
            continue
        if node not in dims:
            dims[node] = _made(node)
            if dims[node] is not None:
                stack.pop()
                continue
        waiting = False
        for ahead in before(node):
            if ahead not in dims:
                stack.append(ahead)
                waiting = True
                break
            dim = dims[ahead]
            moved = None if dim is None else _carried(node, dim, shape_of(ahead))
            if moved is not None:
                dims[node] = moved
                break
        if not waiting:
            stack.pop()
    return dims.get(start)


def _made(node: Node) -> int | None:
    """The dimension in which a layer that makes channels puts them."""
    kind, shape = name_of(node), shape_of(node)
    if kind in _FIRST and len(shape) == 4:
        return 1
    if kind in _LAST and shape:
        return len(shape) - 1
    if kind == "NativeLayerNorm" and len(saved(node, "normalized_shape")) == 1:
        return len(shape) - 1
    if kind == "LayerNorm" and len(getattr(node, "normalized_shape", ())) == 1:
        return len(shape) - 1
    return None


def _carried(node: Node, dim: int, came: Shape) -> int | None:
    """The dimension in which a node puts the channels that are in dimension `dim` of its input."""
    kind, shape = name_of(node), shape_of(node)
    if kind == "Permute":
        dims = [d % len(came) for d in saved(node, "dims")]
        return dims.index(dim)
    if kind == "Transpose":
        one, other = (d % len(came) for d in (*saved(node, "dim0"), *saved(node, "dim1")))
        return {one: other, other: one}.get(dim, dim)
    if shape == came:
        return dim
    if kind in VIEWS:
        after = prod(came[dim + 1 :])
        fits = [k for k, size in enumerate(shape) if size == came[dim] and prod(shape[k + 1 :]) == after]
        return fits[0] if fits else None
    # Cut, padded, rolled, joined or broadcast: the dimensions keep their places.
    return dim if len(shape) == len(came) else None
