"""Trial of a user's network before a run is trained: what it takes, gives and lacks."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor
from torch.autograd.graph import Node

from radgaze import attribution
from radgaze.attribution.engine.graph import before, name_of
from radgaze.attribution.registry import REGISTRY
from radgaze.console import note
from radgaze.models import own
from radgaze.models.config import kind_of
from radgaze.models.output import Output
from radgaze.models.own import OwnNetwork
from radgaze.runs.config import Config
from radgaze.store.store import Store

TRIED_ELSEWHERE = ("cam", "attention", "attention_rollout", "relevance")
"""Generators that test a network themselves whenever they are chosen."""

EXPANDING = ("samples", "steps")
"""Options of generators that run many copies of an image; each works where its base does."""

SIGMOIDS = ("Sigmoid", "Hardsigmoid")
"""Operations that make probabilities of logits, by their names in the graph."""


def with_found_parts(config: Config, store: Store) -> Config:
    """Complete the settings of an own network: channels, maps that it gives, generators that make no map.

    Other configurations are returned as they are.

    Raises:
        UserError: The factory is not trusted or fails, or the network takes no image of the run, or returns
            something else than documented.
    """
    if not config.model.is_own:
        return config
    with torch.random.fork_rng(), warnings.catch_warnings(action="ignore"):
        network, output = own.tried(config.model, len(store.classes), config.input.size)
        images = torch.rand(2, 1, config.input.size, config.input.size)
        squashed = _squashed(network(images))
        lacks = tuple(name for name in _to_try() if not _makes_a_map(name, network, images))
    for name, function in squashed.items():
        note(
            f"Note: your network ({kind_of(config.model)}) returns {name} that went through a {function}, "
            "where logits are expected, to which radgaze applies its own: return the values before it"
        )
    model = replace(
        config.model, channels=own.channels_of(network), provides=own.provided(output), lacks=lacks
    )
    return replace(config, model=model)


def _squashed(output: Output) -> dict[str, str]:
    """Find the parts of an output that are no logits but probabilities, and the function that made them.

    Values in [0, 1] alone are no sign of a sigmoid, since those of a network before training are often small:
    the graph must have one as well. Rows that add up to 1 are those of a softmax.
    """
    parts = {"scores": output.logits, "a mask": output.mask}
    squashed = {}
    for name, values in parts.items():
        if values is None or not bool(((values >= 0) & (values <= 1)).all()):
            continue
        rows = values.flatten(1).sum(1) if name == "scores" and values.shape[1] > 1 else None
        if rows is not None and torch.allclose(rows, torch.ones_like(rows), atol=1e-4):
            squashed[name] = "softmax"
        elif values.grad_fn is not None and _ends_with_sigmoid(values.grad_fn):
            squashed[name] = "sigmoid"
    return squashed


def _ends_with_sigmoid(node: Node) -> bool:
    """Whether a graph ends with a sigmoid, and after it nothing but operations of one input, as resizing."""
    while True:
        if name_of(node) in SIGMOIDS:
            return True
        inputs = before(node)
        if len(inputs) != 1:
            return False
        node = inputs[0]


def _to_try() -> list[str]:
    """The names of the generators that are tried."""
    names = attribution.names(differentiable=True)
    return [
        name
        for name in names
        if name not in TRIED_ELSEWHERE
        and not REGISTRY[name].needs
        and not set(EXPANDING) & set(attribution.options(name))
    ]


def _makes_a_map(name: str, network: OwnNetwork, images: Tensor) -> bool:
    try:
        attribution.create(name, network)(images)
    except Exception:  # a user's network may fail in any way
        return False
    return True
