"""Which feature maps a class-activation map is made of: the layer asked for, or what the classifier pools.

What is pooled is found in the graph of the score, whatever the pooling is called: going back from the score,
it is the first tensor that still has places. A squeeze-and-excitation's pooling lies behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from radgaze.attribution.engine.graph import VIEWS, Shape, before, channel_dim, leads_to, name_of, shape_of

Channels = Literal["auto", "first", "last"]
Arrange = Callable[[Tensor], Tensor]

Stage = tuple[Tensor, Any]
"""Feature maps that something took the places from, and the node that had made them then."""

_PLACES = ("Select", "Slice", "Index", "Gather", "IndexSelect", "Take")
"""What takes one of the places, and pools nothing."""

_PROLOGUE = ("Pow", "Exp")
"""What a generalised mean or a log-sum-exp does to each value first: the feature maps are what it had."""

_FLOOR = ("Clamp", "ClampMin", "Abs")
"""What keeps the values of a generalised mean positive, before the power."""

_TOKENS_POOLED = (
    *VIEWS,
    *("Transpose", "Permute", "T", "Expand", "Cat", "Concatenate", "Split", "SplitStep", "Unbind", "Stack"),
    *("Select", "Slice", "Add", "Mul", "Div", "Mm", "Addmm", "Bmm", "Baddbmm", "Linear", "Mean", "Sum"),
    *("Softmax", "ScaledDotProductFlashAttentionForCpu", "ScaledDotProductEfficientAttention"),
    *("ScaledDotProductFlashAttention", "ScaledDotProductAttentionMath"),
    *("Topk", "Sort", "Pow", "Exp", "Clamp", "ClampMin", "Abs"),
)
"""What poolings of flattened maps are made of, attention pooling too. Transformers also have norms."""


class UnpooledError(RuntimeError):
    """There are no feature maps that the score pools."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"found no feature maps that the class score pools or flattens{why}; name a layer: layer=…"
        )


def note(x: Any, y: Any, stages: list[Stage]) -> None:
    """Keep feature maps (B, C, h, w) or (B, h, w, C) that a function takes their places from, or may."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.dim() == 4 and x.grad_fn is not None):
        return
    if _has_places(x.shape) and not (y.dim() == 4 and _has_places(y.shape)):
        stages.append((x, x.grad_fn))


def _has_places(shape: Shape) -> bool:
    """Whether maps of that shape, with the channels first or last, may have more than one place."""
    return shape[1] * shape[2] * shape[3] not in (shape[1], shape[3])


def note_prologue(x: Any, stages: list[Stage]) -> None:
    """Keep feature maps of which a function makes others, place by place, that may then be pooled."""
    if isinstance(x, Tensor) and x.dim() == 4 and x.grad_fn is not None and x.shape[2:].numel() > 1:
        stages.append((x, x.grad_fn))


def pooled(score: Tensor, stages: Sequence[Stage]) -> tuple[Tensor, int]:
    """The last feature maps that a score pools or flattens, and the dimension of their channels.

    Raises:
        UnpooledError: There are none, or they are not among those that were kept.
    """
    kept = {node: x for x, node in stages}
    found, tokens = _frontier(score.grad_fn, kept)
    node, dim = max(found, key=lambda one: one[0]._sequence_nr())
    # Residual connections lead from a transformer's last tokens past all its blocks to the maps that the
    # first tokens were made of: those are not what is pooled.
    made_of_them = next((each for each in reversed(tokens) if leads_to(each, node)), None)
    if made_of_them is not None:
        raise UnpooledError(_but(made_of_them))
    node = _uncopied(_without_prologue(_uncopied(node, kept)), kept)
    dim = channel_dim(node) or dim
    if node not in kept or dim not in (1, 3):
        raise UnpooledError(" in a way that can be followed")
    return kept[node], dim


def _frontier(start: Any, kept: dict[Any, Tensor]) -> tuple[list[tuple[Any, int]], list[Any]]:
    """The nodes of feature maps from which paths lead to the score without passing others, and of tokens."""
    found: dict[Any, int] = {}
    why, tokens = "", list[Any]()
    seen, ahead = set(), [(start, start)]
    while ahead:
        node, after = ahead.pop()
        if node in seen or hasattr(node, "variable"):
            continue
        shape = shape_of(node)
        dim = found.get(node) or _channels_of_maps(node, shape, kept)
        if dim is not None:
            if name_of(after).startswith("Conv") and not _covers(after, shape):
                raise UnpooledError(": the last ones have one place")
            if name_of(after) in _PLACES and getattr(after, "_saved_dim", None) != dim:
                why = ": it takes one of their places"
            else:
                found[node] = dim
            continue
        seen.add(node)
        if len(shape) >= 3 and _many(shape) and name_of(node) not in _TOKENS_POOLED:
            tokens.append(node)
            continue
        ahead.extend((one, node) for one in before(node))
    if not found:
        raise UnpooledError(_but(tokens[-1]) if tokens else why)
    return list(found.items()), tokens


def _but(tokens: Any) -> str:
    return f", but tokens {shape_of(tokens)}"


def _channels_of_maps(node: Any, shape: Shape, kept: dict[Any, Tensor]) -> int | None:
    """The dimension of a node's channels where it gave feature maps of more than one place, else None."""
    if len(shape) != 4:
        return None
    dim = channel_dim(node)
    if dim is None and node in kept and name_of(node) not in _TOKENS_POOLED:
        dim = 1  # nothing tells; it was pooled, and so they are where they usually are
    if dim not in (1, 3):
        return None
    places = [size for k, size in enumerate(shape) if k not in (0, dim)]
    return dim if places[0] * places[1] > 1 else None


def _many(shape: Shape) -> bool:
    """Whether a tensor (B, …) has more than one dimension that is not 1, beside the cases."""
    return sum(size > 1 for size in shape[1:]) > 1


def _covers(node: Any, shape: Shape) -> bool:
    """Whether a convolution's kernel lies on all places at once: it flattens, and is a linear layer."""
    weight = getattr(node, "_saved_weight", None)
    if weight is None and hasattr(node, "saved_tensors"):
        weight = next((t for t in node.saved_tensors if t.dim() == 4 and t.shape[-2:] == shape[-2:]), None)
    return weight is not None and tuple(weight.shape[-2:]) == shape[-2:] and shape_of(node)[2:] == (1, 1)


def _uncopied(node: Any, kept: dict[Any, Tensor]) -> Any:
    """What a node copied or permuted, as flattening and einsum do by themselves."""
    while node not in kept and name_of(node) in (*VIEWS, "Permute", "Transpose"):
        ahead = before(node)
        if not ahead or len(shape_of(ahead[0])) != 4:
            break
        node = ahead[0]
    return node


def _without_prologue(node: Any) -> Any:
    stripped = False
    while name_of(node) in _PROLOGUE and before(node):
        node, stripped = before(node)[0], True
    if stripped and name_of(node) in _FLOOR and before(node):
        node = before(node)[0]
    return node


def arranged(
    name: str | None, tensor: Tensor, channels: Channels, reshape: Arrange | None
) -> tuple[Arrange, bool]:
    """How a layer's output becomes feature maps (B, C, h, w), and whether that is only taken for granted.

    Raises:
        RuntimeError: It does not.
    """
    if reshape is not None:
        made: Any = reshape(tensor)
        if not isinstance(made, Tensor) or made.dim() != 4 or len(made) != len(tensor):
            found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise RuntimeError(f"reshape makes feature maps (B, C, h, w) of what {name} gives, not {found}")
        return reshape, False
    shape = tuple(tensor.shape)
    if tensor.dim() == 3:
        raise RuntimeError(
            f"{name} gives no feature maps (B, C, h, w), but tokens {shape}: say how these lie in the image, "
            "e.g. reshape=lambda t: t[:, 1:].transpose(1, 2).unflatten(2, (h, w))"
        )
    if tensor.dim() != 4:
        raise RuntimeError(f"{name} gives no feature maps (B, C, h, w), but {shape}")
    dim = channel_dim(tensor) if channels == "auto" else {"first": 1, "last": 3}[channels]
    if dim not in (None, 1, 3):
        raise RuntimeError(
            f"{name} gives {shape} with its channels in dimension {dim}: say how these are feature maps "
            "(B, C, h, w), reshape=lambda t: …"
        )
    return (_last_to_first if dim == 3 else _as_it_is), dim is None


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _last_to_first(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 3, 1, 2)


def arrangement(dim: int) -> Arrange:
    """What makes maps (B, C, h, w) of those with the channels in that dimension."""
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
