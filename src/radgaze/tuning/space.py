"""What a search varies: a range or choices for each of some fields of a run, and λ for its edges' weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.files import read_yaml
from radgaze.objectives import distances
from radgaze.objectives.config import Map
from radgaze.runs import settings
from radgaze.runs.config import Config

Space = dict[str, BaseDistribution]

GENERATORS = ("guided_backprop", "deconvnet", "backprop", "grad_cam", "hires_cam", "layer_cam")
"""Generators that cost one backward pass; averages over many are for those who ask for them."""

OF_CLASS_MAPS = ("pylon", "guided_backprop", "deconvnet", "backprop", "grad_cam")
"""The same of a model with class maps, whose maxima have a gradient in one place, all that others show."""

HELD = ("experiment", "protocol", "data", "seed", "selection", "split", "trainer")
"""Sections and fields that say what is compared and how: varied, they would make AUCs incomparable."""


def default(config: Config, given: Collection[str] = ()) -> Space:
    """The space of an experiment: what its loss depends on, its edges being those that have weight.

    Args:
        config: The experiment, resolved.
        given: Dotted names of fields that the user has set; they stay as they are.
    """
    edges = config.objective.edges
    goal, heatmap, optimisation = config.objective, config.objective.heatmap, config.optimisation
    generators = OF_CLASS_MAPS if config.model.has_class_maps else GENERATORS
    space: Space = {}
    if not any(f"objective.{edge}.weight" in given for edge in edges):
        space |= {name: FloatDistribution(0.1, 0.9) for name in lambdas(len(edges))}
    if edges:
        space["objective.gamma"] = FloatDistribution(0.05, 0.95)
    if edges or config.model.reads_gaze:
        space["gaze.sigma"] = _about(config.gaze.sigma, 1 / 3, 3)
    for edge in edges:
        names = dict.fromkeys((getattr(goal, edge).distance, *distances.REGISTRY))
        space[f"objective.{edge}.distance"] = CategoricalDistribution(tuple(names))
    if goal.compares(Map.HEATMAP):
        space |= {
            "objective.heatmap.generator": CategoricalDistribution(
                tuple(dict.fromkeys((heatmap.generator, *generators)))
            ),
            "objective.heatmap.match": CategoricalDistribution(("blur", "pool", "none")),
            "objective.heatmap.normalise": CategoricalDistribution(("max", "minmax", "quantile")),
            "objective.heatmap.margin": FloatDistribution(0.0, 0.1),
        }
    space["optimisation.learning_rate"] = _about(optimisation.learning_rate, 0.1, 5)
    if optimisation.optimiser == "adamw" and optimisation.weight_decay > 0:
        space["optimisation.weight_decay"] = _about(optimisation.weight_decay, 0.1, 5)
    return {name: values for name, values in space.items() if name not in given}


def lambdas(edges: int) -> tuple[str, ...]:
    """Names of the λ that share the loss among so many edges.

    The first edge has λ of all edges' weight; of what is left, the second has λ₂; the last has the rest.
    """
    return tuple("lambda" if i == 1 else f"lambda_{i}" for i in range(1, edges))


def read(path: Path, config: Config, given: Collection[str] = ()) -> dict[str, BaseDistribution | None]:
    """A user's space: dotted field to distribution, or to None where the field is not to be varied.

    A value is `{low: …, high: …, log: true}`, a list of choices, or `null`.

    Raises:
        UserError: The file cannot be read, or a field or value in it cannot be used.
    """
    try:
        entries = read_yaml(path)
    except OSError as error:
        raise UserError(f"--space {path} cannot be read: {error.strerror}") from error
    except UserError as error:
        raise UserError(f"--space {error}") from error
    if not isinstance(entries, dict):
        raise UserError(f"--space {path} must map fields to ranges; see docs/tuning.md")
    try:
        return {str(name): _entry(str(name), value, config, given) for name, value in entries.items()}
    except UserError as error:
        raise UserError(f"--space {path}: {error}") from error


def laid_over(space: Space, own: Mapping[str, BaseDistribution | None]) -> Space:
    """A space with a user's laid over it; weights that the user varies leave no λ.

    Raises:
        UserError: Nothing is left to vary.
    """
    both: dict[str, BaseDistribution | None] = {**space, **own}
    if any(name.endswith(".weight") for name in own):
        both = {name: values for name, values in both.items() if not name.startswith("lambda")}
    found = {name: values for name, values in both.items() if values is not None}
    if not found:
        raise UserError("nothing is left to search: every field is given or null")
    return found


def overrides(drawn: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Drawn values as nested overrides of a configuration; λ as the weights of its edges."""
    fields = {name: value for name, value in drawn.items() if not name.startswith("lambda")}
    edges = config.objective.edges
    if len(fields) < len(drawn):
        shares = {**_shares(config), **drawn}
        left = sum(edge.weight for edge in edges.values())
        for name, edge in zip((*lambdas(len(edges)), None), edges, strict=True):
            weight = left if name is None else shares[name] * left
            fields[f"objective.{edge}.weight"] = weight
            left -= weight
    nested: dict[str, Any] = {}
    for name, value in fields.items():
        nested = experiments.merge(nested, nest(name, value))
    return nested


def own_values(space: Space, config: Config) -> dict[str, Any] | None:
    """The experiment's own values for a space, or None where they lie outside it."""
    now = experiments.flat(asdict(config)) | _shares(config)
    values = {name: now[name] for name in space}
    inside = all(_contains(space[name], value) for name, value in values.items())
    return values if inside else None


def nest(name: str, value: Any) -> dict[str, Any]:
    """A field's value as nested dictionaries."""
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _shares(config: Config) -> dict[str, float]:
    """The λ that the weights of an experiment's edges amount to."""
    weights = [edge.weight for edge in config.objective.edges.values()]
    return {
        name: weights[i] / left if (left := sum(weights[i:])) else 0.0
        for i, name in enumerate(lambdas(len(weights)))
    }


def _about(value: float, low: float, high: float) -> FloatDistribution:
    return FloatDistribution(value * low, value * high, log=True)


def _entry(name: str, value: Any, config: Config, given: Collection[str]) -> BaseDistribution | None:
    fields = experiments.flat(asdict(config))
    known = lambdas(len(config.objective.edges))
    if name not in fields and name not in known:
        shares = f", and {', '.join(known)}" if known else "; an experiment of one edge has no lambda"
        raise UserError(
            f"there is no field {name}; fields are those of a run's config.yaml, joined by dots as in "
            f"objective.gamma{shares if name.startswith('lambda') or known else ''}"
        )
    if name.split(".")[0] in HELD:
        raise UserError(
            f"{name} cannot be varied: trials must differ in nothing else that they are judged by"
        )
    if name in given:
        raise UserError(f"{name} is given on the command line too; leave out one of the two")
    if value is None:
        return None
    try:
        found = _distribution(value, whole=isinstance(fields.get(name), int))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{name}: {value!r} is no range; give {{low: A, high: B}} with A below B, with log: true where "
            "it is above 0 and varies by factors, or a list of choices, or null"
        ) from error
    for extreme in _extremes(found):
        settings.from_dict(experiments.merge(settings.to_dict(config), overrides({name: extreme}, config)))
    return found


def _distribution(value: Any, *, whole: bool) -> BaseDistribution:
    if isinstance(value, list):
        if not all(choice is None or isinstance(choice, bool | int | float | str) for choice in value):
            raise TypeError
        return CategoricalDistribution(tuple(value))
    more = set(value) - {"low", "high", "log"}
    if more or not isinstance(value.get("log", False), bool) or isinstance(value["low"], bool):
        raise ValueError
    # YAML 1.1 takes 1e-4, without a point, for a string.
    low, high, log = float(value["low"]), float(value["high"]), value.get("log", False)
    if not low < high:
        raise ValueError
    if whole:
        if low != int(low) or high != int(high):
            raise ValueError
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _extremes(values: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(values, CategoricalDistribution):
        return values.choices
    assert isinstance(values, FloatDistribution | IntDistribution)
    return values.low, values.high


def _contains(values: BaseDistribution, value: Any) -> bool:
    if isinstance(values, CategoricalDistribution):
        return value in values.choices
    assert isinstance(values, FloatDistribution | IntDistribution)
    return isinstance(value, int | float) and bool(values.low <= value <= values.high)
