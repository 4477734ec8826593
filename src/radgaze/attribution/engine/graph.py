"""The autograd graph behind a tensor: its nodes, their shapes, and which dimension holds the channels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import prod
from typing import Any

from torch import Tensor

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
"""What gives the same values in the same order, in another shape at most."""

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
"""Layers whose channels are dimension 1 of what they give."""

_LAST = ("Addmm", "Mm", "Linear")
"""Layers whose channels are the last dimension."""

_FAR = 2000
"""Nodes looked at to tell where the channels are: they stand near, or there is nothing to find."""


def name_of(node: Any) -> str:
    """A node's operation, such as "Convolution", without what PyTorch adds."""
    return re.sub(r"(Compiled)?Backward\d*$", "", str(node.name()).rsplit("::", 1)[-1])


def shape_of(node: Any) -> Shape:
    """The shape of what a node gave."""
    known = node._input_metadata
    return tuple(int(size) for size in known[0].shape) if known else ()


def before(node: Any) -> list[Any]:
    """The nodes that a node got its inputs from."""
    return [ahead for ahead, _ in node.next_functions if ahead is not None]


def walk(start: Any) -> Iterator[Any]:
    """Each node that leads to a tensor of that node, once, beginning with it."""
    seen, ahead = set(), [start]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        ahead.extend(before(node))


def leads_to(start: Any, wanted: Any) -> bool:
    """Whether a node's graph holds another."""
    return wanted is not None and any(node is wanted for node in walk(start))


def channel_dim(tensor: Tensor | Any) -> int | None:
    """Which dimension of a tensor, or of what a node gave, holds the channels; None where nothing tells.

    The graph is followed to the layer that made the channels: a convolution gives them in dimension 1, a
    linear layer in the last, and layer norm over one dimension takes them there. What permutes, reshapes or
    is elementwise in between is followed through.
    """
    if isinstance(tensor, Tensor):
        return None if tensor.grad_fn is None else _channels(tensor.grad_fn, {})
    return _channels(tensor, {})


def _channels(start: Any, known: dict[Any, int | None]) -> int | None:
    """Depth first without recursion, for graphs are deep: a node's answer follows from one of its inputs'."""
    stack = [start]
    while stack and len(known) < _FAR:
        node = stack[-1]
        if known.get(node) is not None:
            stack.pop()
            continue
        if node not in known:
            known[node] = _told(node)
            if known[node] is not None:
                stack.pop()
                continue
        waiting = False
        for ahead in before(node):
            if ahead not in known:
                stack.append(ahead)
                waiting = True
                break
            dim = known[ahead]
            moved = None if dim is None else _carried(node, dim, shape_of(ahead))
            if moved is not None:
                known[node] = moved
                break
        if not waiting:
            stack.pop()
    return known.get(start)


def _told(node: Any) -> int | None:
    """Where a layer that makes channels puts them."""
    kind, shape = name_of(node), shape_of(node)
    if kind in _FIRST and len(shape) == 4:
        return 1
    if kind in _LAST and shape:
        return len(shape) - 1
    if kind == "NativeLayerNorm" and len(getattr(node, "_saved_normalized_shape", ())) == 1:
        return len(shape) - 1
    return None


def _carried(node: Any, dim: int, came: Shape) -> int | None:
    """Where a node puts the channels that came in a dimension of its input."""
    kind, shape = name_of(node), shape_of(node)
    if kind == "Permute":
        dims = [_signed(d) % len(came) for d in node._saved_dims]
        return dims.index(dim)
    if kind == "Transpose":
        one, other = (_signed(d) % len(came) for d in (node._saved_dim0, node._saved_dim1))
        return {one: other, other: one}.get(dim, dim)
    if shape == came:
        return dim
    if kind in VIEWS:
        after = prod(came[dim + 1 :])
        fits = [k for k, size in enumerate(shape) if size == came[dim] and prod(shape[k + 1 :]) == after]
        return fits[0] if fits else None
    # Cut, padded, rolled, joined or broadcast: the dimensions keep their places.
    return dim if len(shape) == len(came) else None


def _signed(dim: int) -> int:
    return dim - 2**64 if dim >= 2**63 else dim
