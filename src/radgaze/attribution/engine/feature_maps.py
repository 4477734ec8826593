"""The feature maps of a class-activation map: those of the layer asked for, or those the classifier pools.

The pooled maps are found in the graph of the score, whatever the pooling is called: going back from the
score, they are the first tensor that still has places. A squeeze-and-excitation's pooling lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.autograd.graph import Node

from radgaze.attribution.engine.graph import (
    VIEWS,
    Shape,
    before,
    channel_dim,
    leads_to,
    leaf_of,
    name_of,
    saved,
    shape_of,
)
from radgaze.attribution.engine.tokens import GridError, TokenGrid

Channels = Literal["auto", "first", "last"]
Arrange = Callable[[Tensor], Tensor]

Stage = tuple[Tensor, Node]
"""Feature maps whose places a function removed, and the node that had made them then."""

_PLACES = ("Select", "Slice", "Index", "Gather", "IndexSelect", "Take")
"""Operations that take one of the places, and pool nothing."""

_PROLOGUE = ("Pow", "Exp")
"""First operations of a generalised mean or a log-sum-exp: the feature maps are their input."""

_FLOOR = ("Clamp", "ClampMin", "Abs")
"""Operations that keep the values of a generalised mean positive, before the power."""

_TOKENS_POOLED = (
    *VIEWS,
    *("Transpose", "Permute", "T", "Expand", "Cat", "Concatenate", "Split", "SplitStep", "Unbind", "Stack"),
    *("Select", "Slice", "Add", "Mul", "Div", "Mm", "Addmm", "Bmm", "Baddbmm", "Linear", "Mean", "Sum"),
    *("Softmax", "ScaledDotProductFlashAttentionForCpu", "ScaledDotProductEfficientAttention"),
    *("ScaledDotProductFlashAttention", "ScaledDotProductAttentionMath"),
    *("Topk", "Sort", "Pow", "Exp", "Clamp", "ClampMin", "Abs"),
)
"""Operations of poolings of flattened maps, also attention pooling. Transformers have norms as well."""


class UnpooledError(RuntimeError):
    """There are no feature maps that the score pools."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"found no feature maps that the class score pools or flattens{why}; name a layer: layer=…"
        )


def note(x: object, y: object, stages: list[Stage]) -> None:
    """Keep feature maps (B, C, h, w) or (B, h, w, C) whose places a function removes, or may remove."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.dim() == 4 and x.grad_fn is not None):
        return
    if _has_places(x.shape) and not (y.dim() == 4 and _has_places(y.shape)):
        stages.append((x, x.grad_fn))


def _has_places(shape: Shape) -> bool:
    """Whether maps of that shape, with the channels first or last, may have more than one place."""
    return shape[1] * shape[2] * shape[3] not in (shape[1], shape[3])


def note_prologue(x: object, stages: list[Stage]) -> None:
    """Keep feature maps that a function transforms place by place, before they may be pooled."""
    if isinstance(x, Tensor) and x.dim() == 4 and x.grad_fn is not None and x.shape[2:].numel() > 1:
        stages.append((x, x.grad_fn))


def pooled(score: Tensor, stages: Sequence[Stage]) -> tuple[Tensor, int]:
    """The last feature maps that a score pools or flattens, and the dimension of their channels.

    Raises:
        UnpooledError: There are none, or they are not among those that were kept.
    """
    maps = {node: x for x, node in stages}
    frontier, tokens = _frontier(score.grad_fn, maps)
    node, dim = max(frontier, key=lambda entry: entry[0]._sequence_nr())
    # Residual connections lead from a transformer's last tokens past all its blocks to the maps that the
    # first tokens were made of: those are not what is pooled.
    made_of_them = next((each for each in reversed(tokens) if leads_to(each, node)), None)
    if made_of_them is not None:
        raise UnpooledError(_but(made_of_them))
    node = _uncopied(_without_prologue(_uncopied(node, maps)), maps)
    dim = channel_dim(node) or dim
    if node not in maps or dim not in (1, 3):
        raise UnpooledError(" in a way that can be followed")
    return maps[node], dim


def _frontier(start: Node | None, maps: dict[Node, Tensor]) -> tuple[list[tuple[Node, int]], list[Node]]:
    """The nodes of feature maps from which paths lead to the score without passing others, and of tokens."""
    dims: dict[Node, int] = {}
    why, tokens = "", list[Node]()
    seen, seen_in_part, flattened = set[Node](), set[Node](), False
    ahead = [] if start is None else [(start, start)]
    while ahead:
        node, after = ahead.pop()
        if node in seen or leaf_of(node) is not None:
            continue
        shape = shape_of(node)
        dim = dims.get(node) or _channels_of_maps(node, shape, maps)
        if dim is not None:
            convolved = name_of(after).startswith("Conv")
            if convolved and not _covers(after, shape):
                seen_in_part.add(node)
            elif name_of(after) in _PLACES and saved(after, "dim") != (dim,):
                why = ": it takes one of their places"
            else:
                dims[node] = dim
                flattened = flattened or convolved
            continue
        seen.add(node)
        if len(shape) >= 3 and _many(shape) and name_of(node) not in _TOKENS_POOLED:
            tokens.append(node)
            continue
        ahead.extend((source, node) for source in before(node))
    # The strided shortcut of a residual block sees one place of maps of which its convolutions see all.
    sources = {_uncopied(node, maps) for node in dims}
    if {_uncopied(node, maps) for node in seen_in_part} - sources:
        raise UnpooledError(": the last ones have one place")
    if flattened and len(sources) > 1:
        raise UnpooledError(": several branches flatten maps of their own")
    if not dims:
        raise UnpooledError(_but(tokens[-1]) if tokens else why)
    return list(dims.items()), tokens


def _but(tokens: Node) -> str:
    return f", but tokens {shape_of(tokens)}"


def _channels_of_maps(node: Node, shape: Shape, maps: dict[Node, Tensor]) -> int | None:
    """The dimension of a node's channels where its output is feature maps of several places, else None."""
    if len(shape) != 4:
        return None
    dim = channel_dim(node)
    if dim is None and node in maps and name_of(node) not in _TOKENS_POOLED:
        dim = 1  # unknown; it was pooled, so they are where they usually are
    if dim not in (1, 3):
        return None
    places = [size for k, size in enumerate(shape) if k not in (0, dim)]
    return dim if places[0] * places[1] > 1 else None


def _many(shape: Shape) -> bool:
    """Whether a tensor (B, …) has more than one dimension that is not 1, beside the cases."""
    return sum(size > 1 for size in shape[1:]) > 1


def _covers(node: Node, shape: Shape) -> bool:
    """Whether a convolution's kernel lies on all places at once: it flattens, and is a linear layer."""
    weight: Tensor | None = getattr(node, "_saved_weight", None)
    # A step saves its input too, which has all places whatever the kernel is.
    tensors = getattr(node, "saved_tensors", ()) if weight is None else (weight, weight)
    return sum(_as_large(t, shape) for t in tensors) > 1 and shape_of(node)[2:] == (1, 1)


def _as_large(tensor: Tensor | None, shape: Shape) -> bool:
    """Whether the last two of four dimensions are at least those of maps; a padded kernel has more."""
    if tensor is None or tensor.dim() != 4:
        return False
    return all(size >= places for size, places in zip(tensor.shape[-2:], shape[-2:], strict=True))


def _uncopied(node: Node, maps: dict[Node, Tensor]) -> Node:
    """The node whose output a node copied or permuted, as flattening and einsum do."""
    while node not in maps and name_of(node) in (*VIEWS, "Permute", "Transpose"):
        ahead = before(node)
        if not ahead or len(shape_of(ahead[0])) != 4:
            break
        node = ahead[0]
    return node


def _without_prologue(node: Node) -> Node:
    stripped = False
    while name_of(node) in _PROLOGUE and before(node):
        node, stripped = before(node)[0], True
    if stripped and name_of(node) in _FLOOR and before(node):
        node = before(node)[0]
    return node


def arranged(
    name: str | None,
    tensor: Tensor,
    channels: Channels,
    reshape: Arrange | None,
    grid_of: Callable[[int], TokenGrid],
) -> tuple[Arrange, bool]:
    """The function that makes feature maps (B, C, h, w) of a layer's output, and whether that is a guess.

    Args:
        name: Name of the layer.
        tensor: Its output.
        channels: Where its channels are.
        reshape: The function that the user gave, if any.
        grid_of: Function that finds the grid of a number of tokens.

    Raises:
        RuntimeError: There is none.
    """
    if reshape is not None:
        _check_reshaped(reshape(tensor), name, len(tensor))
        return reshape, False
    shape = tuple(tensor.shape)
    if tensor.dim() == 3:
        return _of_tokens(name, tensor, grid_of), False
    if tensor.dim() != 4:
        raise RuntimeError(f"{name} gives no feature maps (B, C, h, w), but {shape}")
    dim = channel_dim(tensor) if channels == "auto" else {"first": 1, "last": 3}[channels]
    if dim not in (None, 1, 3):
        raise RuntimeError(
            f"{name} gives {shape} with its channels in dimension {dim}: say how these are feature maps "
            "(B, C, h, w), reshape=lambda t: …"
        )
    return (_last_to_first if dim == 3 else _as_it_is), dim is None


def _of_tokens(name: str | None, tensor: Tensor, grid_of: Callable[[int], TokenGrid]) -> Arrange:
    """The function that makes feature maps of tokens (B, N, C), or of (B, C, N)."""
    first = channel_dim(tensor) == 1
    try:
        grid = grid_of(tensor.shape[2 if first else 1])
    except GridError as error:
        raise GridError(
            f"{name} gives no feature maps (B, C, h, w), but tokens {tuple(tensor.shape)}: {error}, or "
            "say how they lie in the image, reshape=lambda t: …"
        ) from error
    return (lambda tokens: grid.maps(tokens.transpose(1, 2))) if first else grid.maps


def _check_reshaped(maps: object, name: str | None, batch: int) -> None:
    if not isinstance(maps, Tensor) or maps.dim() != 4 or len(maps) != batch:
        given = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise RuntimeError(f"reshape makes feature maps (B, C, h, w) of what {name} gives, not {given}")


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _last_to_first(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2)


def arrangement(dim: int) -> Arrange:
    """The function that makes maps (B, C, h, w) of maps with the channels in that dimension."""
    return _last_to_first if dim == 3 else _as_it_is


def layer_name(model: nn.Module, layer: object) -> str | None:
    """The dotted name of a layer that was given as a name or as the module itself.

    Raises:
        ValueError: It is neither, or not one of the model.
    """
    if layer is None:
        return None
    if isinstance(layer, nn.Module):
        for name, module in model.named_modules():
            if module is layer:
                return str(name)
        raise ValueError(f"the layer, a {type(layer).__name__}, is no module of this model")
    if not isinstance(layer, str):
        raise ValueError(
            "layer is one name of the model's named_modules(), or one of its modules; not a "
            f"{type(layer).__name__}"
        )
    if layer not in dict(model.named_modules()):
        raise ValueError(f"the model has no layer {layer!r}; its named_modules() tell which it has")
    return layer


CHANNELS = get_args(Channels)
