"""The parameters that are trained, in groups with their learning rate and weight decay."""

from __future__ import annotations

from typing import Any

from torch import nn

from radgaze.models.blocks import needed
from radgaze.runs.config import OptimisationConfig

Group = dict[str, Any]
"""Parameters, with their settings, as torch's optimisers take them."""


def groups(model: nn.Module, settings: OptimisationConfig) -> list[Group]:
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
    depths = needed(model, f"optimisation.layer_decay={settings.layer_decay:g}")
    head = depths.count + 1
    together: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_vector = decay is not None and parameter.dim() <= 1
            key = (head - depths.by_name.get(name, head), is_vector)
            together.setdefault(key, []).append(parameter)
    made: list[Group] = []
    for behind, is_vector in sorted(together):
        rate = settings.learning_rate * settings.layer_decay**behind
        group: Group = {"params": together[behind, is_vector], "lr": rate}
        made.append(group if decay is None else {**group, "weight_decay": 0.0 if is_vector else decay})
    return made


def decay_groups(model: nn.Module, weight_decay: float) -> list[Group]:
    """Group parameters into those with weight decay, and those of one dimension (biases, norms) without."""
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() > 1]
    vectors = [p for p in trained if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
