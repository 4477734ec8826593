"""The blocks of an encoder, in order, found from the structure of its modules.

Blocks are those of a transformer of tokens, and the stages of other encoders. Each parameter of the encoder
has a *depth*: 0 for the stem in front of the first block, k for the k-th block and what stands between it and
the next one, and `count` + 1 for what comes after the last, such as a final norm.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from radgaze.errors import UserError
from radgaze.models.layers import encoder_of

CONTAINERS = ("blocks", "stages", "layers", "_blocks", "layer", "encoder_layers", "resblocks")
"""Names of a module of blocks in timm, segmentation-models-pytorch, torchvision and transformers."""

NUMBERED = re.compile(r"(?P<name>(?:\w+_)?(?:layers|layer|stages|blocks|denseblock))_?(?P<number>\d+)")
"""Names of stages that stand beside one another: layer1, stages_0, features_denseblock1."""


@dataclass(frozen=True)
class Depths:
    """The depths of an encoder's parameters.

    Attributes:
        count: Number of blocks.
        by_name: Depth of each parameter, by its name within the whole network; others have no entry.
    """

    count: int
    by_name: dict[str, int]


def depths(model: nn.Module) -> Depths | None:
    """Find the blocks of a network's encoder; None where they cannot be told.

    The encoder of a network of radgaze is its own; of another network it is all that comes before the end of
    its last block.
    """
    encoder = encoder_of(model)
    root = model if encoder is None else encoder
    blocks = _blocks(root)
    if blocks is None:
        return None
    prefix = "" if encoder is None else _name_of(encoder, model) + "."
    depth, by_name = 0, dict[str, int]()
    for name, _ in root.named_parameters():
        at = next((k for k, block in enumerate(blocks, 1) if name.startswith(f"{block}.")), None)
        if at is not None:
            depth = at
        elif depth == len(blocks):
            if encoder is None:
                continue  # a head of the user
            by_name[prefix + name] = depth + 1
            continue
        by_name[prefix + name] = depth
    return Depths(len(blocks), by_name)


def needed(model: nn.Module, setting: str) -> Depths:
    """The blocks of a network's encoder, which a setting needs.

    Raises:
        UserError: They cannot be told.
    """
    encoder = depths(model)
    if encoder is None:
        raise UserError(
            f"`{setting}` needs the blocks of the encoder, and the structure of this one does not tell "
            "them: they are found in modules with names such as blocks, stages, layers, or layer1, layer2, …"
        )
    return encoder


def _blocks(root: nn.Module) -> Sequence[str] | None:
    """The names of the blocks within a network: those of the outermost module that has any."""
    level = [("", root)]
    while level:
        for prefix, module in level:
            names = _within(module)
            if len(names) > 1:
                return [f"{prefix}{name}" for name in names]
        level = [
            (f"{prefix}{name}.", child) for prefix, module in level for name, child in module.named_children()
        ]
    return None


def _within(module: nn.Module) -> list[str]:
    """The blocks that are children of a module, or of one of its children."""
    children = dict(module.named_children())
    for name in CONTAINERS:
        inner = children.get(name)
        if isinstance(inner, nn.Sequential | nn.ModuleList):
            return [f"{name}.{number}" for number, _ in inner.named_children()]
    stages: dict[str, list[str]] = {}
    for name in children:
        if match := NUMBERED.fullmatch(name):
            stages.setdefault(match["name"], []).append(name)
    return max(stages.values(), key=len, default=[])


def _name_of(part: nn.Module, model: nn.Module) -> str:
    return next(str(name) for name, module in model.named_modules() if module is part)
