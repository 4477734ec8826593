"""The space of a search: what the experiment's loss depends on, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.objectives import distances
from radgaze.objectives.terms import compares
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.tuning.space import (
    Value,
    default,
    drawn_config,
    experiment_values,
    lambdas,
    overrides,
    read,
    replaced,
)


def three_edges() -> Config:
    weights = {"mask_gaze": 0.5, "heatmap_gaze": 0.3, "mask_heatmap": 0.2}
    return settings.resolve(
        "set3_guided", objective={edge: {"weight": weight} for edge, weight in weights.items()}
    )


@pytest.mark.parametrize("protocol", ["honest", "faithful"])
@pytest.mark.parametrize("experiment", experiments.names())
def test_an_experiments_space_is_what_its_loss_depends_on(experiment: str, protocol: str) -> None:
    config = settings.resolve(experiment, protocol=protocol)
    edges, space = config.objective.edges, default(config)
    assert {name for name in space if name.startswith("lambda")} == set(lambdas(len(edges)))
    for edge in ("mask_gaze", "heatmap_gaze", "mask_heatmap"):
        assert (f"objective.{edge}.distance" in space) == (edge in edges)
    goal = config.objective
    raw = {name for name, distance in distances.REGISTRY.items() if distance.raw}
    heat = {f"objective.heatmap.{name}" for name in ("match", "normalise", "margin")}
    matched = any("heatmap" in edge and settings_.distance not in raw for edge, settings_ in edges.items())
    assert heat & set(space) == (heat if matched else set())
    is_free = goal.heatmap.channel_weights == "exact" and goal.heatmap.layer is None
    assert ("objective.heatmap.generator" in space) == (compares(goal, "heatmap") and is_free)
    # A γ that follows a schedule is the method's own.
    assert ("objective.gamma" in space) == (bool(goal.weights) and goal.gamma_schedule == "constant")
    reads = compares(goal, "gaze") or config.model.architecture in ("temporal", "unet_with_gaze")
    assert ("gaze.sigma" in space) == (bool(edges) or reads)
    assert ("optimisation.weight_decay" in space) == (config.optimisation.optimiser == "adamw")
    assert "optimisation.learning_rate" in space
    # The experiment itself lies within, and drawing its own values changes nothing.
    own = experiment_values(space, config)
    assert own is not None
    same = drawn_config(own, config)
    for edge, before in edges.items():
        assert getattr(same.objective, edge).weight == pytest.approx(before.weight)
        getattr(same.objective, edge).weight = before.weight
    assert same == config


def test_lambda_shares_the_weight_of_all_edges_among_them() -> None:
    config = settings.resolve("set3_guided")
    assert list(config.objective.edges) == ["mask_gaze", "heatmap_gaze"]
    assert weights({"lambda": 0.3}, config) == pytest.approx([0.3, 0.7])
    config = three_edges()
    assert lambdas(3) == ("lambda", "lambda_2")
    assert list(config.objective.edges) == ["mask_gaze", "heatmap_gaze", "mask_heatmap"]
    assert weights({"lambda": 0.6, "lambda_2": 0.25}, config) == pytest.approx([0.6, 0.1, 0.3])
    held = weights({"lambda": 0.6}, config)  # λ₂ null: the other two keep their proportion
    assert held == pytest.approx([0.6, 0.24, 0.16])


def weights(drawn: Mapping[str, Value], config: Config) -> list[object]:
    """The weight that drawn values give each edge."""
    fields = experiments.flat(overrides(drawn, config))
    return [fields[f"objective.{edge}.weight"] for edge in config.objective.edges]


@pytest.mark.parametrize("protocol", ["honest", "faithful"])
def test_a_drawn_encoder_has_the_initial_weights_with_which_a_run_trains_it(protocol: str) -> None:
    config = settings.resolve("set3_guided", protocol=protocol)
    drawn = drawn_config({"model.encoder": "resnet18"}, config)
    assert drawn == settings.resolve("set3_guided", protocol=protocol, model={"encoder": "resnet18"})
    own = {"model.encoder": config.model.encoder}
    assert drawn_config(own, config) == config
    given = settings.resolve("set3_guided", protocol=protocol, model={"weights": "none"})
    kept = drawn_config({"model.encoder": "resnet18"}, given, {"model.weights"})
    assert kept.model.weights == "none"
    both = drawn_config({"model.encoder": "resnet18", "model.weights": "none"}, config)
    assert both.model.weights == "none"


def test_a_model_with_class_maps_has_its_own_map_among_the_generators() -> None:
    edge = {"heatmap_gaze": {"weight": 1.0}}
    for experiment, has in (("pylon", True), ("set3_guided", False)):
        space = default(settings.resolve(experiment, objective=edge))
        generator = space["objective.heatmap.generator"]
        assert isinstance(generator, CategoricalDistribution)
        choices = generator.choices
        assert ("pylon" in choices) == has
        assert ("hires_cam" in choices) != has  # of a maximum it would be a single place
        assert {"guided_backprop", "grad_cam"} <= set(choices)


def test_what_the_user_gives_is_held() -> None:
    config = settings.resolve("set3_guided")
    left = default(config, {"objective.gamma", "objective.mask_gaze.weight", "objective.heatmap.generator"})
    assert not {"objective.gamma", "objective.heatmap.generator", "lambda"} & set(left)
    assert "objective.heatmap.margin" in left


def test_a_users_space_is_replaced_the_experiments(tmp_path: Path) -> None:
    config = settings.resolve("set3_guided")
    path = tmp_path / "space.yaml"
    path.write_text(
        "optimisation.learning_rate: {low: 1e-4, high: 1e-3, log: true}\n"  # 1e-4 is a string in YAML 1.1
        "objective.heatmap.cells: {low: 7, high: 28}\n"
        "objective.heatmap.match: [pool]\n"
        "input.augment: [true, false]\n"
        "lambda: {low: 0.4, high: 0.6}\n"
        "gaze.sigma: null\n"
    )
    space = replaced(default(config), read(path, config))
    assert space["optimisation.learning_rate"] == FloatDistribution(1e-4, 1e-3, log=True)
    assert space["objective.heatmap.cells"] == IntDistribution(7, 28)
    assert space["objective.heatmap.match"] == CategoricalDistribution(("pool",))
    assert space["input.augment"] == CategoricalDistribution((True, False))
    assert space["lambda"] == FloatDistribution(0.4, 0.6)
    assert "gaze.sigma" not in space
    assert "objective.gamma" in space
    assert experiment_values(space, config) is None  # learns by blur: not among the choices


def test_choices_have_the_type_of_their_field_so_that_the_experiments_own_is_one_of_them(
    tmp_path: Path,
) -> None:
    config = settings.resolve("set3_guided", optimisation={"learning_rate": 1e-3})
    path = tmp_path / "space.yaml"
    path.write_text(
        "optimisation.learning_rate: [1e-4, 1e-3]\n"  # strings in YAML 1.1
        "objective.gamma: [0, 1]\n"
        "lambda: [5e-1, 1]\n"
    )
    ranges = read(path, config)
    assert ranges["optimisation.learning_rate"] == CategoricalDistribution((1e-4, 1e-3))
    for name, choices in (("objective.gamma", (0.0, 1.0)), ("lambda", (0.5, 1.0))):
        found = ranges[name]
        assert isinstance(found, CategoricalDistribution)
        assert found.choices == choices
        assert {type(choice) for choice in found.choices} == {float}
    space = {name: each for name, each in ranges.items() if name != "objective.gamma" and each is not None}
    own = experiment_values(space, config)
    assert own == {"optimisation.learning_rate": 1e-3, "lambda": 0.5}


def test_weights_that_the_user_varies_leave_no_lambda(tmp_path: Path) -> None:
    config = settings.resolve("set3_guided")
    path = tmp_path / "space.yaml"
    path.write_text("objective.mask_heatmap.weight: {low: 0, high: 1}\n")
    space = replaced(default(config), read(path, config))
    assert "lambda" not in space
    drawn = overrides({"objective.mask_heatmap.weight": 0.2}, config)
    assert drawn == {"objective": {"mask_heatmap": {"weight": 0.2}}}


@pytest.mark.parametrize(
    "other", ["objective.mask_gaze.weight: null", "gaze.weight: [duration, count]", "gaze.sigma: null"]
)
def test_lambda_is_varied_beside_what_varies_no_weight_of_an_edge(other: str, tmp_path: Path) -> None:
    config = settings.resolve("set3_guided")
    path = tmp_path / "space.yaml"
    path.write_text(f"lambda: {{low: 0.3, high: 0.7}}\n{other}\n")
    assert replaced(default(config), read(path, config))["lambda"] == FloatDistribution(0.3, 0.7)


def test_lambda_and_a_weight_that_it_divides_are_refused(tmp_path: Path) -> None:
    config, weight = settings.resolve("set3_guided"), "objective.mask_gaze.weight"
    path = tmp_path / "space.yaml"
    path.write_text("lambda: {low: 0.3, high: 0.7}\n")
    with pytest.raises(UserError, match=f"lambda divides .*`{weight}` is set or varied as well"):
        read(path, config, {weight})
    path.write_text(f"lambda: {{low: 0.3, high: 0.7}}\n{weight}: {{low: 0, high: 1}}\n")
    with pytest.raises(UserError, match=f"lambda divides .*`{weight}` is set or varied as well"):
        read(path, config)
    path.write_text("lambda: null\n")
    assert "lambda" not in replaced(default(config, {weight}), read(path, config, {weight}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("objective.gama: {low: 0, high: 1}", "no field objective.gama"),
        ("objective: {gamma: {low: 0, high: 1}}", "as in objective.gamma"),
        ("lambda_2: {low: 0, high: 1}", "no field lambda_2"),
        ("trainer.max_epochs: [1, 2]", "cannot be varied"),
        ("seed: [1, 2, 3]", "cannot be varied"),
        ("input.fit: [pad, crop]", "crop"),
        ("objective.gamma: [few, many]", "objective.gamma"),
        ("objective.gamma: 0.5", "no range"),
        ("lambda: [1/3, 1/2]", "lambda: .* is no range; .* or a list of numbers"),
        ("lambda: [null]", "lambda: .* is no range"),
        ("lambda: [true]", "lambda: .* is no range"),
        ("lambda: [.nan]", "lambda: .* is no range"),
        ("objective.gamma: {low: 1, high: 0}", "no range"),
        ("objective.gamma: {low: 0, high: 1, log: true}", "no range"),
        ("objective.gamma: {from: 0, to: 1}", "no range"),
        ("objective.heatmap.cells: {low: 1.5, high: 3}", "no range"),
        ("objective.heatmap.scales: [[1], [1, 2]]", "no range"),
        ("input.size: [32, 64]", "is set as well"),
        ("- objective.gamma", "must map fields"),
        ("objective.gamma: {", "not YAML"),
    ],
)
def test_what_a_space_cannot_be_is_told_with_file_and_field(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read(path, settings.resolve("set3_guided"), {"input.size"})
    assert str(path) in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "none.yaml", settings.resolve("set3_guided"))


def test_an_experiment_of_one_edge_has_no_lambda(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("lambda: {low: 0, high: 1}")
    with pytest.raises(UserError, match="one edge has no lambda"):
        read(path, settings.resolve("baseline"))


def test_a_space_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="nothing is left"):
        replaced({"objective.gamma": FloatDistribution(0, 1)}, {"objective.gamma": None})
