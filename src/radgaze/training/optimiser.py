"""The parameters that are trained, in groups with their learning rate and weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from radgaze.models.blocks import needed
from radgaze.runs.config import OptimisationConfig


def groups(model: nn.Module, settings: OptimisationConfig) -> list[dict[str, Any]]:
    """Group the trained parameters of a network; the first group has the full learning rate.

    With `layer_decay` d, parameters of the encoder's depth l (see `models.blocks`) have the learning rate
    lr · d^(n + 1 − l), where n is the number of blocks: what comes after the last block has the full rate, as
    the head and decoder have, and the stem in front of the first block has lr · d^(n + 1) (Bao et al.,
    "BEiT", ICLR 2022, as in their code and timm's).

    Raises:
        UserError: A layer decay is given, and the encoder's blocks cannot be told.
    """
    decay = settings.weight_decay if settings.optimiser == "adamw" else None
    if settings.layer_decay == 1:
        trained = [p for p in model.parameters() if p.requires_grad]
        return [{"params": trained}] if decay is None else decay_groups(model, decay)
    found = needed(model, f"optimisation.layer_decay={settings.layer_decay:g}")
    made: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        behind = found.count + 1 - found.of.get(name, found.count + 1)
        plain = decay is None or parameter.dim() > 1
        group = made.setdefault((behind, not plain), {"params": []})
        group["params"].append(parameter)
        group["lr"] = settings.learning_rate * settings.layer_decay**behind
        if decay is not None:
            group["weight_decay"] = decay if plain else 0.0
    return [made[key] for key in sorted(made)]


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Group parameters into those with weight decay, and those of one dimension (biases, norms) without."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() > 1]
    vectors = [p for p in trained if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
