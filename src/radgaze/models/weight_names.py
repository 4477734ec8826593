"""Mapping of named tensors onto an encoder whose tensors may be spelt otherwise.

Names are compared as words: `features_conv0.weight`, `features.conv0.weight` and
`module.features.conv.0.weight` differ in a prefix alone. Where two libraries name one architecture
differently, as torchvision and timm do with EfficientNets, tensors are taken in their order, but only if the
kinds and shapes of all of the encoder's tensors agree with an unbroken run of the file's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

COUNTER = "num_batches_tracked"
"""Buffer of batch norms that older files lack, and that has no influence on a trained network."""

DEEPEST = 8
"""Most words of a prefix that is left out."""

Words = tuple[str, ...]
Shapes = Mapping[str, torch.Size]


@dataclass(frozen=True)
class Mapped:
    """Tensors of a file by the names of an encoder.

    Attributes:
        tensors: The tensors, with the encoder's shapes.
        counters: Counters of batches beside them, which are counted nowhere.
        by: How they were found, "name" or "order".
        changed: Names of the encoder's tensors whose values were summed or spread over another number of
            input channels, or resampled to another grid of positions.
        missing: Names of the encoder's tensors that the file lacks, or has in another shape.
        unused: Names of the file's tensors that were not taken.
    """

    tensors: Mapping[str, Tensor]
    counters: Mapping[str, Tensor]
    by: str
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def mapped(source: Mapping[str, Tensor], shapes: Shapes, *, prefix_tokens: int = 1) -> Mapped:
    """Map a file's tensors onto the names and shapes of an encoder.

    Args:
        source: The file's tensors, in its order.
        shapes: Shapes of the encoder's tensors, in its order.
        prefix_tokens: Number of tokens before the grid in the encoder's position embeddings.
    """
    counters = {name: each for name, each in source.items() if name.endswith(COUNTER)}
    source = {name: each for name, each in as_timm(source).items() if name not in counters}
    if not prefix_tokens:
        source |= _without_position_of_class(source)
    shapes = {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)}
    pairs = _by_name(source, shapes)
    by, fitting = "name", _fitting(pairs, source, shapes, prefix_tokens)
    if len(fitting) < len(shapes) and (in_order := _by_order(source, shapes)):
        by, pairs = "order", in_order
        fitting = _fitting(pairs, source, shapes, prefix_tokens)
    return Mapped(
        fitting,
        _beside(fitting, pairs, counters),
        by,
        tuple(name for name in fitting if source[pairs[name]].squeeze().shape != _squeezed(shapes[name])),
        tuple(name for name in shapes if name not in fitting),
        tuple(sorted({*source} - {pairs[name] for name in fitting})),
    )


def _fitting(
    pairs: Mapping[str, str], source: Mapping[str, Tensor], shapes: Shapes, prefix_tokens: int
) -> dict[str, Tensor]:
    """The tensors of pairs of names that have the wanted shapes, or can be brought into them."""
    shaped = {name: _shaped(source[other], shapes[name], prefix_tokens) for name, other in pairs.items()}
    return {name: tensor for name, tensor in shaped.items() if tensor is not None}


def _without_position_of_class(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that change for an encoder that adds positions to patches alone, as timm's with registers.

    The first position embedding, the class token's, is added to that token instead, which gives the same.
    """
    changed = {}
    for name, positions in source.items():
        token = source.get(f"{_place(name)}cls_token")
        if name.rpartition(".")[2] != "pos_embed" or token is None or positions.dim() != 3:
            continue
        count = positions.shape[1]
        if math.isqrt(count) ** 2 != count and math.isqrt(count - 1) ** 2 == count - 1:
            changed[name] = positions[:, 1:]
            changed[f"{_place(name)}cls_token"] = token + positions[:, :1]
    return changed


def _by_name(source: Mapping[str, Tensor], shapes: Shapes) -> dict[str, str]:
    """Name in the file of each of the encoder's tensors, without the most common pair of prefixes."""
    by_words = {words_of(name): name for name in source}
    votes: Counter[tuple[Words, Words]] = Counter()
    ends: dict[Words, list[tuple[Words, str]]] = {}
    for name in shapes:
        words = words_of(name)
        for cut in range(min(3, len(words) - 1)):
            ends.setdefault(words[cut:], []).append((words[:cut], name))
    for words, other in by_words.items():
        for cut in range(min(DEEPEST, len(words) - 1)):
            for lost, name in ends.get(words[cut:], ()):
                votes[words[:cut], lost] += _channels_apart(source[other].shape, shapes[name])
    if not votes:
        return {}
    # Of equal votes, the shortest prefixes.
    (theirs, ours), _ = max(votes.items(), key=lambda item: (item[1], -len(item[0][0]) - len(item[0][1])))
    pairs = {}
    for name in shapes:
        words = words_of(name)
        if words[: len(ours)] == ours and (theirs + words[len(ours) :]) in by_words:
            pairs[name] = by_words[theirs + words[len(ours) :]]
    return pairs


def _by_order(source: Mapping[str, Tensor], shapes: Shapes) -> dict[str, str]:
    """Names in the file, by the order of tensors; empty unless all kinds and shapes agree."""
    ours = [(name.rpartition(".")[2], shape) for name, shape in shapes.items()]
    theirs = [(name.rpartition(".")[2], tensor.shape) for name, tensor in source.items()]
    for start in range(len(theirs) - len(ours) + 1):
        run = theirs[start : start + len(ours)]
        if all(a[0] == b[0] and _channels_apart(a[1], b[1]) for a, b in zip(run, ours, strict=True)):
            return dict(zip(shapes, [*source][start:], strict=False))
    return {}


def words_of(name: str) -> Words:
    """The words of a tensor's name: runs of letters and runs of digits."""
    return tuple(re.findall(r"[A-Za-z]+|\d+", name))


def _beside(
    fitting: Mapping[str, Tensor], pairs: Mapping[str, str], counters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The counters of the modules whose tensors were taken."""
    places = {f"{_place(name)}{COUNTER}": f"{_place(pairs[name])}{COUNTER}" for name in fitting}
    return {name: counters[other] for name, other in places.items() if other in counters}


def _place(name: str) -> str:
    """The name of a tensor's module, with a point at the end unless it is empty."""
    return name[: len(name) - len(name.rpartition(".")[2])]


def _channels_apart(one: torch.Size, other: torch.Size) -> bool:
    """Whether shapes are equal, but for sides of 1 and for one input channel in place of three."""
    if _squeezed(one) == _squeezed(other):
        return True
    stems = len(one) == len(other) == 4 and {one[1], other[1]} == {1, 3}
    return stems and (one[0], one[2:]) == (other[0], other[2:])


def _squeezed(shape: torch.Size) -> tuple[int, ...]:
    return tuple(side for side in shape if side != 1)


def _shaped(tensor: Tensor, shape: torch.Size, prefix_tokens: int) -> Tensor | None:
    """A tensor in another shape, if nothing but channels or the grid of positions differ; else None."""
    if tensor.shape == shape:
        return tensor
    if _squeezed(tensor.shape) == _squeezed(shape):
        return tensor.reshape(shape)
    if _channels_apart(tensor.shape, shape):
        # The same answer to a grey image: three equal channels, each of a third of the weight, are as one.
        return tensor.sum(1, keepdim=True) if shape[1] == 1 else tensor.expand(shape) / 3
    if tensor.dim() == len(shape) == 3 and tensor.shape[0] == shape[0] == 1 and tensor.shape[2] == shape[2]:
        return _resampled(tensor, shape[1], prefix_tokens)
    return None


def _resampled(positions: Tensor, tokens: int, prefix_tokens: int) -> Tensor | None:
    """Position embeddings (1, N, C) for another square grid; None where the numbers are of no square."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    before, after = (round((count - prefix_tokens) ** 0.5) for count in (positions.shape[1], tokens))
    if before**2 + prefix_tokens != positions.shape[1] or after**2 + prefix_tokens != tokens:
        return None
    resampled: Tensor = resample_abs_pos_embed(
        positions, [after, after], [before, before], num_prefix_tokens=prefix_tokens
    )
    return resampled


# Vision transformers of the library transformers, ViT and DINOv2, in the names of timm.
_TRANSFORMERS = (
    (r"(?:.*\.)?embeddings\.cls_token$", "cls_token"),
    (r"(?:.*\.)?embeddings\.register_tokens$", "reg_token"),
    (r"(?:.*\.)?embeddings\.position_embeddings$", "pos_embed"),
    (r"(?:.*\.)?embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"(?:.*\.)?encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"(?:.*\.)?encoder\.layer\.(\d+)\.(?:layernorm_before|norm1)\.", r"blocks.\1.norm1."),
    (r"(?:.*\.)?encoder\.layer\.(\d+)\.(?:layernorm_after|norm2)\.", r"blocks.\1.norm2."),
    (r"(?:.*\.)?encoder\.layer\.(\d+)\.(?:intermediate\.dense|mlp\.fc1)\.", r"blocks.\1.mlp.fc1."),
    (r"(?:.*\.)?encoder\.layer\.(\d+)\.(?:output\.dense|mlp\.fc2)\.", r"blocks.\1.mlp.fc2."),
    (r"(?:.*\.)?encoder\.layer\.(\d+)\.layer_scale([12])\.lambda1$", r"blocks.\1.ls\2.gamma"),
    (r"(?:.*\.)?layernorm\.(weight|bias)$", r"norm.\1"),
)
_PART = re.compile(r"(?:.*\.)?encoder\.layer\.(\d+)\.attention\.attention\.(query|key|value)\.(weight|bias)")


def as_timm(source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Spell a vision transformer of the library transformers, or of DINOv2's own files, as timm does.

    Others stay as they are.
    """
    if any(_PART.fullmatch(name) for name in source):
        return dict(_as_timm(source))
    return {re.sub(r"(^|\.)register_tokens$", r"\1reg_token", name): each for name, each in source.items()}


def _as_timm(source: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in source.items():
        if part := _PART.fullmatch(name):
            joined = parts.setdefault(f"blocks.{part[1]}.attn.qkv.{part[3]}", {})
            joined[part[2]] = tensor
            continue
        spelt = (re.sub(old, new, name) for old, new in _TRANSFORMERS if re.match(old, name))
        yield next(spelt, name), tensor
    for name, joined in parts.items():
        if joined.keys() == {"query", "key", "value"}:
            yield name, torch.cat([joined["query"], joined["key"], joined["value"]])
