"""Which weights a run trains, and whether its heatmaps can change with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from radgaze import models
from radgaze.attribution.registry import REGISTRY
from radgaze.errors import UserError
from radgaze.models import freezing, lora
from radgaze.objectives.config import Map
from radgaze.objectives.terms import further
from radgaze.runs.config import Config
from radgaze.store.batch import Batch
from radgaze.training import optimiser


def prepare(model: nn.Module, config: Config) -> None:
    """Freeze parts of a network, or add weights of a low rank, as its settings say.

    Raises:
        UserError: The settings do not fit the network.
    """
    if config.model.lora_rank:
        lora.add(model, config.model.lora_rank, config.input.size)
    freezing.freeze(model, config.model.unfreeze)
    freezing.hold_norms(model)


def check_settings(config: Config) -> None:
    """Refuse a frozen encoder where a heatmap is to be learned, before the network is made.

    Raises:
        UserError: `model.unfreeze=0`, and a heatmap of the encoder is compared.
    """
    if config.model.unfreeze == 0 and (users := _learning(config)):
        raise UserError(
            f"`model.unfreeze=0` keeps the encoder as it is, and {users} of the experiment "
            f"{config.experiment} is learned by changing it: the heatmap of a frozen encoder cannot be "
            "guided. Train its last blocks (`model.unfreeze=2`), add weights of a low rank "
            "(`model.lora_rank=8`), or take an experiment without a heatmap, such as baseline"
        )


def check_trained(model: nn.Module, config: Config, batch: Batch) -> None:
    """Check that a network has weights to train and, if a heatmap is learned, some before its last layer.

    Raises:
        UserError: It has none, or the optimiser's settings do not fit the encoder.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise UserError("no weight of the network is trained: all have requires_grad=False")
    optimiser.groups(model, config.optimisation)
    users = _learning(config)
    if users and not _before_the_last_layer(model, batch):
        raise UserError(
            f"{users} of the experiment {config.experiment} is learned by changing the encoder, and no "
            "weight in front of the network's last layer is trained (requires_grad=False): the heatmap of "
            "a frozen encoder cannot be guided. Let its last blocks be trained, or take an experiment "
            "without a heatmap, such as baseline"
        )


def _learning(config: Config) -> str:
    """The edges and terms that learn from a heatmap that the encoder makes, in words; empty without any."""
    goal = config.objective
    made = {Map.HEATMAP.value: goal.heatmap, **goal.heatmaps}
    # A map that the network gives with its scores, as `pylon` shows, may be learned by its last layer.
    names = {name for name, each in made.items() if not REGISTRY[each.generator].needs}
    edges = [edge.value for edge in goal.edges if Map.HEATMAP in edge.ends and Map.HEATMAP.value in names]
    terms = [name for name, term in further(goal).items() if names & set(term.maps)]
    words = [f"the edge {', '.join(edges)}"] if edges else []
    return " and ".join([*words, *([f"the term {', '.join(terms)}"] if terms else [])])


def _before_the_last_layer(model: nn.Module, batch: Batch) -> bool:
    """Whether the scores depend on a trained weight that is not of the layer that gives them."""
    classes = batch.label.shape[1]
    last = {
        id(parameter)
        for module in model.modules()
        if getattr(module, "out_features", getattr(module, "out_channels", None)) == classes
        for parameter in module.parameters()
    }
    trained = [each for each in model.parameters() if each.requires_grad]
    with torch.enable_grad():
        logits: Tensor = models.forward(models.scoring(model), batch).logits
        if not logits.requires_grad:
            return False
        grads = torch.autograd.grad(logits.sum(), trained, allow_unused=True)
    used: tuple[Tensor | None, ...] = grads  # torch's stubs leave out the None of unused ones
    reached = [each for each, grad in zip(trained, used, strict=True) if grad is not None]
    return any(id(each) not in last for each in reached)
