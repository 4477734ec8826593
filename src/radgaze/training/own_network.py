"""Trial of a user's network before a run is trained: what it takes, gives and lacks."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from radgaze import attribution
from radgaze.attribution.registry import REGISTRY
from radgaze.models import own
from radgaze.models.own import OwnNetwork
from radgaze.runs.config import Config
from radgaze.store.store import Store

TRIED_ELSEWHERE = ("cam", "attention", "attention_rollout", "relevance")
"""Generators that test a network themselves whenever they are chosen."""

EXPANDING = ("samples", "steps")
"""Options of generators that run many copies of an image; each works where its base does."""


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
        lacks = tuple(name for name in _to_try() if not _makes_a_map(name, network, images))
    model = replace(
        config.model, channels=own.channels_of(network), provides=own.provided(output), lacks=lacks
    )
    return replace(config, model=model)


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
