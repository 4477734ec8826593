"""Requirements of heatmap generators on networks, and of controls of gaze on runs."""

from __future__ import annotations

from collections.abc import Sequence

from radgaze.attribution.registry import REGISTRY
from radgaze.models import registry
from radgaze.models.config import ModelConfig
from radgaze.objectives.config import Map
from radgaze.objectives.terms import compares
from radgaze.runs.config import Config
from radgaze.runs.controls import SEQUENCES


def unmet(generator: str, config: ModelConfig) -> str | None:
    """State in words which outputs a heatmap generator needs and a network lacks; None for none.

    Args:
        generator: Name of the generator.
        config: Settings of the network.
    """
    if generator in config.lacks:
        return f"the heatmap generator {generator} makes no map of your own network; take another one"
    missing = set(REGISTRY[generator].needs) - set(config.network.provides)
    if not missing:
        return None
    able = [name for name in registry.names() if missing <= set(registry.find(name).provides)]
    maps = " and ".join(sorted(missing)).replace("_", " ")
    return (
        f"the model {config.architecture} gives no {maps}, which the heatmap generator {generator} needs; "
        f"`model.architecture` {_alternatives(able)} does"
    )


def uses_gaze(config: Config) -> bool:
    """Whether gaze is a target of the objective, an input of the model, or what training images keep."""
    read = config.model.reads_gaze or config.counterfactual.uses_gaze
    return read or compares(config.objective, Map.GAZE)


def unsuited(config: Config) -> str | None:
    """State why a run cannot have its control, as a rule for `gaze.control`; None where it can."""
    control, model = config.gaze.control, config.model
    if control == "none":
        return None
    if not uses_gaze(config):
        return f"{control} has no effect: neither the objective nor the model uses gaze; leave it out"
    if model.reads_frames and control not in SEQUENCES:
        return (
            f"cannot be {control}, a map: the model {model.architecture} reads fixations in their order; "
            f"give {' or '.join(SEQUENCES)}"
        )
    if model.reads_gaze and control == "box":
        return f"cannot be box: the label selects the boxes, and the model {model.architecture} would read it"
    return None


def _alternatives(names: Sequence[str]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1] if len(names) > 1 else "".join(names)
