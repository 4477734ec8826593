"""Outputs of a network that a heatmap generator requires."""

from __future__ import annotations

from collections.abc import Sequence

from radgaze.attribution.registry import REGISTRY
from radgaze.models import registry
from radgaze.models.config import ModelConfig


def unmet(generator: str, config: ModelConfig) -> str | None:
    """State in words which outputs a heatmap generator needs and a network lacks; None for none.

    Args:
        generator: Name of the generator.
        config: Settings of the network.
    """
    missing = set(REGISTRY[generator].needs) - set(config.network.provides)
    if not missing:
        return None
    able = [name for name in registry.names() if missing <= set(registry.find(name).provides)]
    maps = " and ".join(sorted(missing)).replace("_", " ")
    return (
        f"the model {config.architecture} gives no {maps}, which the heatmap generator {generator} needs; "
        f"`model.architecture` {_alternatives(able)} does"
    )


def _alternatives(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1] if len(names) > 1 else "".join(names)
