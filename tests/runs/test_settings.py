"""A configuration's values are checked wherever it comes from; the error is one line that names the field."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from radgaze import experiments, plugins
from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.objectives import distance
from radgaze.runs import settings

BAD = [
    ("gaze.sigma", -1.0, "must be above 0, got -1.0"),
    ("input.size", 48, "must be a multiple of 32, as the encoders need it, got 48"),
    ("model.dropout", 1.0, "must be at least 0 and below 1, got 1.0"),
    ("objective.mask_gaze.weight", -2.0, "must be at least 0, got -2.0"),
    (
        "trainer.precision",
        "16-true",
        "must be one of auto, 32-true, 32, 16-mixed, bf16-mixed, got 16-true; did you mean 32-true?",
    ),
    ("seed", -1, "must be from 0 to 4,294,967,295, got -1"),
]


def nested(field: str, value: object) -> dict[str, object]:
    for name in reversed(field.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(("field", "value", "rule"), BAD)
def test_a_bad_value_is_refused_by_library_command_line_and_files_alike(
    field: str, value: object, rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as error:
        settings.resolve("baseline", protocol="honest", **nested(field, value))
    assert str(error.value) == f"`{field}` {rule}"

    train = ["train", "--data", "store", "--out", str(tmp_path / "run")]
    assert main([*train, f"--{field}", str(value)]) == 2
    assert capsys.readouterr().err == f"radgaze train: --{field} {rule}\n"

    part = tmp_path / "part.yaml"
    part.write_text(yaml.safe_dump(nested(field, value)))
    assert main([*train, "--config", str(part)]) == 2
    assert capsys.readouterr().err == f"radgaze train: --{field} {rule}\n"


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("seed", "a whole number"),
        ("optimisation.learning_rate", "a number"),
        ("model.dropout", "a number"),
        ("input.augment", "true or false"),
        ("trainer.logger", "one of tensorboard, csv, mlflow, wandb, none"),
        ("trainer.devices", "a whole number or text"),
        ("objective.heatmap_gaze.weight", "a number"),
        ("objective.heatmap.scales", "a sequence of values"),
    ],
)
def test_none_is_refused_where_the_type_of_the_field_does_not_include_it(field: str, kind: str) -> None:
    with pytest.raises(UserError) as error:
        settings.resolve("set3_guided", protocol="honest", **nested(field, None))
    assert str(error.value) == f"`{field}` must be {kind}, got None"


@pytest.mark.parametrize(
    "field",
    [
        *("split.seed", "gaze.pixels_per_degree", "optimisation.gaze_fraction"),
        *("model.factory", "model.channels", "objective.heatmap.readout", "objective.heatmap.layer"),
    ],
)
def test_none_is_taken_where_the_type_of_the_field_includes_it(field: str) -> None:
    assert (
        settings.resolve("set3_guided", protocol="honest", **nested(field, None)).experiment == "set3_guided"
    )


@pytest.mark.parametrize("protocol", experiments.protocols())
@pytest.mark.parametrize("name", experiments.names())
def test_each_experiment_and_a_file_with_all_its_values_are_read(
    name: str, protocol: str, tmp_path: Path
) -> None:
    made = settings.resolve(name, protocol=protocol)
    settings.write(made, tmp_path / "config.yaml")
    assert settings.read(tmp_path / "config.yaml") == made


def test_what_a_failed_plugin_has_registered_is_refused_before_it_is_trained_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distance, "REGISTRY", dict(distance.REGISTRY))
    file = tmp_path / "plugin_that_fails.py"
    file.write_text(
        "from radgaze.objectives import distances\n@distances.register\n"
        "def of_the_plugin_that_fails(p, q):\n    return (p - q).abs().mean((1, 2, 3))\n1 / 0\n"
    )
    with pytest.raises(UserError, match=r"plugin_that_fails\.py cannot be imported: ZeroDivisionError"):
        plugins.load(str(file))
    chosen = {"heatmap_gaze": {"weight": 1.0, "distance": "of_the_plugin_that_fails"}}
    with pytest.raises(plugins.PluginMissingError, match="it needs the plugin plugin_that_fails"):
        settings.resolve("set3_guided", objective=chosen)


def test_a_runs_file_that_names_what_a_notebook_defined_is_not_called_damaged_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    settings.write(settings.resolve("set3_guided"), path)
    path.write_text(path.read_text().replace("generator: guided_backprop", "generator: of_a_notebook"))
    with pytest.raises(UserError) as error:
        settings.read(path)
    assert "`objective.heatmap.generator` must be one of" in str(error.value)
    assert "if your notebook or script defined it, run that first; else put the file back" in str(error.value)


def test_a_bad_value_in_a_runs_own_file_is_refused_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    settings.write(settings.resolve("baseline"), path)
    text = path.read_text()
    path.write_text(text.replace("sigma: 0.05", "sigma: -3.0"))
    with pytest.raises(UserError) as error:
        settings.read(path)
    assert str(error.value).startswith(f"{path}: `gaze.sigma` must be above 0, got -3.0; ")


SPLITS = [
    ({"fold": 3}, "`split.fold` needs `split.kind=folds`, got store: set that, or leave out `split.fold=3`"),
    ({"kind": "stratified", "folds": 4}, "`split.folds` needs `split.kind=folds`, got stratified: .*"),
    ({"kind": "store", "seed": 0}, "`split.seed` needs `split.kind=stratified or folds`, got store: .*"),
    ({"kind": "folds", "fold": 9}, "`split.fold` must be from 0 to 4, got 9"),
    ({"kind": "folds", "folds": 1}, "`split.folds` must be at least 2, got 1"),
]


@pytest.mark.parametrize(("split", "rule"), SPLITS)
def test_a_split_is_not_given_in_vain(
    split: dict[str, object], rule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=f"^{rule}$"):
        settings.resolve("baseline", split=split)
    part = tmp_path / "part.yaml"
    part.write_text(yaml.safe_dump({"split": split}))
    assert main(["train", "--data", "store", "--out", str(tmp_path / "run"), "--config", str(part)]) == 2
    assert capsys.readouterr().err.startswith("radgaze train: --split.")


def test_a_runs_own_file_may_hold_a_field_of_the_split_that_it_does_not_use(tmp_path: Path) -> None:
    config = settings.resolve("baseline", split={"kind": "folds", "fold": 3, "seed": 5})
    config.split.kind = "store"
    settings.write(config, tmp_path / "config.yaml")
    assert settings.read(tmp_path / "config.yaml").split.fold == 3


def test_sections_that_do_not_fit_together_are_refused() -> None:
    heatmap: dict[str, object] = {"match": "pool", "cells": 64}
    with pytest.raises(UserError, match=r"^`objective\.heatmap\.cells` must be at most the 32 px"):
        settings.resolve("baseline", objective={"heatmap": heatmap}, input={"size": 32})
    with pytest.raises(UserError, match=r"^`objective\.heatmap\.scales` must be at most 14: "):
        settings.resolve("baseline", objective={"heatmap": {**heatmap, "cells": 14, "scales": [1, 15]}})
    with pytest.raises(UserError, match=r"^`gaze\.unit` must be pixels or share"):
        settings.resolve("baseline", gaze={"weight": "reference", "unit": "degrees"})


@pytest.mark.parametrize(
    ("experiment", "given", "weights"),
    [
        ("baseline", {}, "noisy-student"),
        ("baseline", {"encoder": "timm-efficientnet-b0"}, "noisy-student"),
        ("baseline", {"encoder": "resnet18"}, "imagenet"),
        ("baseline", {"encoder": "resnet18", "weights": "none"}, "none"),
        ("baseline", {"encoder": "resnet18", "weights": "noisy-student"}, "noisy-student"),
        ("baseline", {"dropout": 0.1}, "noisy-student"),
    ],
)
def test_initial_weights_follow_the_encoder_for_library_and_command_line_alike(
    experiment: str, given: dict[str, object], weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = settings.resolve(experiment, protocol="honest", model=given)
    assert config.model.weights == weights
    words = [f"--model.{name}={value}" for name, value in given.items()]
    with pytest.raises(SystemExit):
        main(["train", "--experiment", experiment, *words, "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["weights"] == weights
