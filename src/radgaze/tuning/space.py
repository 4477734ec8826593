"""The space of a search: ranges or choices of the fields of a run, and λ for the weights of its edges."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.objectives import distances
from radgaze.objectives.config import Edge as Edges
from radgaze.objectives.config import Map
from radgaze.objectives.schedules import CONSTANT
from radgaze.objectives.terms import compares
from radgaze.objectives.terms.edge import Edge
from radgaze.objectives.triangle import with_weight
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.tuning.space_file import read_entries

Space = dict[str, BaseDistribution]

Value = bool | int | float | str | None
"""A value of a field that can be varied."""

GENERATORS = ("guided_backprop", "deconvnet", "backprop", "grad_cam", "hires_cam", "layer_cam")
"""Generators that need one backward pass; those that average over several are left out by default."""

GENERATORS_WITH_CLASS_MAPS = ("pylon", "guided_backprop", "deconvnet", "backprop", "grad_cam")
"""Generators for models with class maps. The score is the maximum of such a map, whose gradient is not 0 at
one place only, so that other class-activation maps would show only this place."""

HELD = ("experiment", "protocol", "data", "seed", "selection", "split", "trainer")
"""Sections and fields that must not vary, since the AUCs would not be comparable."""


WEIGHTS = tuple(f"objective.{edge.value}.weight" for edge in Edges)
"""Weights of the edges, which λ divides the total of."""


def default(config: Config, given: Collection[str] = ()) -> Space:
    """Return the default space of an experiment: the settings on which its loss depends.

    Args:
        config: Resolved configuration of the experiment. Its edges are those with a weight.
        given: Dotted names of fields that the user has set; they are not varied.
    """
    edges = config.objective.edges
    goal, heatmap, optimisation = config.objective, config.objective.heatmap, config.optimisation
    generators = GENERATORS_WITH_CLASS_MAPS if config.model.has_class_maps else GENERATORS
    space: Space = {}
    if not any(f"objective.{edge}.weight" in given for edge in edges):
        space |= {name: FloatDistribution(0.1, 0.9) for name in lambdas(len(edges))}
    if goal.weights and goal.gamma_schedule == CONSTANT:
        space["objective.gamma"] = FloatDistribution(0.05, 0.95)
    reads_gaze = config.model.reads_gaze or config.counterfactual.uses_gaze
    if edges or reads_gaze or compares(goal, Map.GAZE):
        space["gaze.sigma"] = _about(config.gaze.sigma, 1 / 3, 3)
    for edge in edges:
        now = distances.find(getattr(goal, edge).distance)
        # Those of raw heatmaps have units of their own: a weight for one says nothing of another.
        others = [] if now.raw else [each.name for each in distances.REGISTRY.values() if not each.raw]
        names = dict.fromkeys((now.name, *others))
        space[f"objective.{edge}.distance"] = CategoricalDistribution(tuple(names))
    if compares(goal, Map.HEATMAP) and heatmap.channel_weights == "exact" and heatmap.layer is None:
        choices = tuple(dict.fromkeys((heatmap.generator, *generators)))
        space["objective.heatmap.generator"] = CategoricalDistribution(choices)
    if _matches_heatmap(config):
        space |= {
            "objective.heatmap.match": CategoricalDistribution(("blur", "pool", "none")),
            "objective.heatmap.normalise": CategoricalDistribution(("max", "minmax", "quantile")),
            "objective.heatmap.margin": FloatDistribution(0.0, 0.1),
        }
    space["optimisation.learning_rate"] = _about(optimisation.learning_rate, 0.1, 5)
    if optimisation.optimiser == "adamw" and optimisation.weight_decay > 0:
        space["optimisation.weight_decay"] = _about(optimisation.weight_decay, 0.1, 5)
    return {name: values for name, values in space.items() if name not in given}


def _matches_heatmap(config: Config) -> bool:
    """Whether a distance takes the heatmap H as its settings match it, not as it was made."""
    terms = [term for term in with_weight(config.objective).values() if isinstance(term, Edge)]
    return any(Map.HEATMAP in term.maps and not distances.find(term.distance).raw for term in terms)


def lambdas(edges: int) -> tuple[str, ...]:
    """Return the names of the λ that divide the total weight among the edges.

    The first edge has the share λ of the total weight, the second the share λ₂ of the remaining weight, and
    so on; the last edge has the rest.

    Args:
        edges: Number of edges.
    """
    return tuple("lambda" if i == 1 else f"lambda_{i}" for i in range(1, edges))


def read(path: Path, config: Config, given: Collection[str] = ()) -> dict[str, BaseDistribution | None]:
    """Read a space from a file.

    A value in the file is `{low: …, high: …, log: true}`, a list of choices, or `null` for a field that does
    not vary.

    Args:
        path: The YAML file.
        config: Resolved configuration of the experiment.
        given: Dotted names of fields that the user has set.

    Returns:
        The distribution of each dotted field; None for a field that does not vary.

    Raises:
        UserError: The file cannot be read, or a field or value in it cannot be used.
    """
    entries = read_entries(path)
    try:
        ranges = {str(name): _entry(str(name), value, config, given) for name, value in entries.items()}
        _check_lambdas(ranges, config, given)
    except UserError as error:
        raise UserError(f"`space` {path}: {error}") from error
    return ranges


def replaced(space: Space, ranges: Mapping[str, BaseDistribution | None]) -> Space:
    """Replace distributions of a space by those of a user; where these vary an edge's weight, λ are left out.

    Args:
        space: The default space.
        ranges: Distributions of the user, None for fields that do not vary.

    Raises:
        UserError: Nothing is left to vary.
    """
    both: dict[str, BaseDistribution | None] = {**space, **ranges}
    if any(ranges.get(name) is not None for name in WEIGHTS):
        both = {name: values for name, values in both.items() if not name.startswith("lambda")}
    varied = {name: values for name, values in both.items() if values is not None}
    if not varied:
        raise UserError("nothing is left to search: every field is given or null")
    return varied


def overrides(drawn: Mapping[str, Value], config: Config) -> dict[str, object]:
    """Convert the values of a trial to nested fields of a configuration, and λ to the weights of its edges.

    Args:
        drawn: Values by dotted field or λ.
        config: Resolved configuration of the experiment.
    """
    fields = {name: value for name, value in drawn.items() if not name.startswith("lambda")}
    edges = config.objective.edges
    if len(fields) < len(drawn):
        shares = _shares(config) | {name: float(drawn[name] or 0) for name in drawn.keys() - fields.keys()}
        left = sum(edge.weight for edge in edges.values())
        for name, edge in zip((*lambdas(len(edges)), None), edges, strict=True):
            weight = left if name is None else shares[name] * left
            fields[f"objective.{edge}.weight"] = weight
            left -= weight
    nested: dict[str, object] = {}
    for name, value in fields.items():
        nested = experiments.merge(nested, nest(name, value))
    return nested


def drawn_config(drawn: Mapping[str, Value], config: Config, given: Collection[str] = ()) -> Config:
    """Make the configuration of a trial: the one that `settings.resolve` makes of its values.

    Args:
        drawn: Values by dotted field or λ.
        config: Resolved configuration of the experiment.
        given: Dotted names of fields that the user has set.

    Raises:
        UserError: A value is not allowed.
    """
    fields: Mapping[str, object] = settings.to_dict(config)
    if "model.weights" not in given:
        fields = experiments.for_encoder(fields, drawn.get("model.encoder"))
    return settings.from_dict(experiments.merge(fields, overrides(drawn, config)))


def experiment_values(space: Space, config: Config) -> dict[str, Value] | None:
    """Return the values of the experiment for the fields of a space; None where one is outside the space."""
    now = experiments.flat(asdict(config)) | _shares(config)
    values = {name: now[name] for name in space}
    inside = all(_contains(space[name], value) for name, value in values.items())
    return values if inside else None


def nest(name: str, value: object) -> dict[str, object]:
    """Return nested dictionaries that hold the value of one dotted field."""
    first, *rest = name.split(".", 1)
    return {first: nest(rest[0], value) if rest else value}


def _shares(config: Config) -> dict[str, float]:
    """Values of the λ that correspond to the weights of an experiment's edges."""
    weights = [edge.weight for edge in config.objective.edges.values()]
    return {
        name: weights[i] / left if (left := sum(weights[i:])) else 0.0
        for i, name in enumerate(lambdas(len(weights)))
    }


def _about(value: float, low: float, high: float) -> FloatDistribution:
    return FloatDistribution(value * low, value * high, log=True)


def _check_lambdas(
    ranges: Mapping[str, BaseDistribution | None], config: Config, given: Collection[str]
) -> None:
    """Raise UserError where λ is varied, and an edge's weight is set or varied as well."""
    varied = [name for name in lambdas(len(config.objective.edges)) if ranges.get(name) is not None]
    in_use = [f"objective.{edge}.weight" for edge in config.objective.edges]
    weights = [name for name in WEIGHTS if ranges.get(name) is not None]
    weights += [name for name in in_use if name in given]
    if varied and weights:
        raise UserError(
            f"{varied[0]} divides the weights of the edges, and `{weights[0]}` is set or varied as well; "
            "leave out one of the two"
        )


def _entry(name: str, value: object, config: Config, given: Collection[str]) -> BaseDistribution | None:
    fields = experiments.flat(asdict(config))
    names = lambdas(len(config.objective.edges))
    if name not in fields and name not in names:
        shares = f", and {', '.join(names)}" if names else "; an experiment of one edge has no lambda"
        raise UserError(
            f"there is no field {name}; fields are those of a run's config.yaml, joined by dots as in "
            f"objective.gamma{shares if name.startswith('lambda') or names else ''}"
        )
    if name.split(".")[0] in HELD:
        raise UserError(f"{name} cannot be varied: the AUCs of the trials would not be comparable")
    if name in given:
        raise UserError(f"`{name}` is set as well; leave out one of the two")
    if value is None:
        return None
    try:
        distribution = _distribution(value, whole=isinstance(fields.get(name), int))
        if name in names and isinstance(distribution, CategoricalDistribution):
            distribution = CategoricalDistribution([_share(choice) for choice in distribution.choices])
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{name}: {value!r} is no range; give {{low: A, high: B}} with A below B, with log: true where "
            f"it is above 0 and varies by factors, or a list of {'numbers' if name in names else 'choices'}, "
            "or null"
        ) from error
    made = [drawn_config({name: extreme}, config, given) for extreme in _extremes(distribution)]
    if name in fields and isinstance(distribution, CategoricalDistribution):
        # As the fields have them: YAML 1.1 reads 1e-4, without a point, as a string.
        return CategoricalDistribution([experiments.flat(asdict(each))[name] for each in made])
    return distribution


def _share(choice: Value) -> float:
    if choice is None or isinstance(choice, bool) or not math.isfinite(float(choice)):
        raise ValueError
    return float(choice)


def _distribution(value: object, *, whole: bool) -> BaseDistribution:
    if isinstance(value, list):
        if not all(choice is None or isinstance(choice, bool | int | float | str) for choice in value):
            raise TypeError
        return CategoricalDistribution(tuple(value))
    if not isinstance(value, dict):
        raise TypeError
    if (
        set(value) - {"low", "high", "log"}
        or not isinstance(value.get("log", False), bool)
        or isinstance(value["low"], bool)
    ):
        raise ValueError
    # YAML 1.1 reads 1e-4, without a point, as a string.
    low, high, log = float(value["low"]), float(value["high"]), value.get("log", False)
    if not low < high:
        raise ValueError
    if whole:
        if low != int(low) or high != int(high):
            raise ValueError
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _extremes(values: BaseDistribution) -> tuple[Value, ...]:
    if isinstance(values, CategoricalDistribution):
        return values.choices
    assert isinstance(values, FloatDistribution | IntDistribution)
    return values.low, values.high


def _contains(values: BaseDistribution, value: object) -> bool:
    if isinstance(values, CategoricalDistribution):
        return value in values.choices
    assert isinstance(values, FloatDistribution | IntDistribution)
    return isinstance(value, int | float) and bool(values.low <= value <= values.high)
