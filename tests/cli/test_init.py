"""`radgaze init`: the file of settings is taken by `radgaze train` as the experiment itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from radgaze import experiments
from radgaze.cli import build_parser, main
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.template import template
from radgaze.sections import Section


@pytest.mark.parametrize("protocol", experiments.protocols())
@pytest.mark.parametrize("name", experiments.names())
def test_the_file_of_each_experiment_is_its_configuration(name: str, protocol: str) -> None:
    config = settings.resolve(name, protocol=protocol)
    text = template(config, "Settings.")
    assert settings.from_dict(yaml.safe_load(text)) == config
    assert max(map(len, text.splitlines())) <= 400


@pytest.mark.parametrize("name", ["set3_guided", "actdiff", "temporal", "three_stage"])
def test_train_takes_the_file_as_the_experiment(name: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    assert main(["init", name, "--out", str(file)]) == 0
    parsed = []
    for given in (["--config", str(file)], ["--experiment", name]):
        arguments = ["train", *given, "--data", "store", "--trainer.max_epochs", "3"]
        values = build_parser(arguments).parse_args(arguments)["train"].as_dict()
        wanted = {each.name: values[each.name] for each in fields(Config)}
        parsed.append(settings.from_dict(wanted))
    assert parsed[0] == parsed[1]
    assert parsed[0].trainer.max_epochs == 3


def test_each_setting_stands_below_its_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "set3_guided"]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()

    def described(section: Section) -> None:
        for each in fields(section):
            at = [
                i
                for i, line in enumerate(lines)
                if line.strip().removeprefix("# ").startswith(f"{each.name}:")
            ]
            assert at, each.name
            assert all(lines[i - 1].strip().startswith("#") for i in at), each.name
            value = getattr(section, each.name)
            if isinstance(value, Section):
                described(value)

    described(settings.resolve("set3_guided"))
    assert "# Random seed; one seed gives one result on one machine.\nseed: 42" in text


def test_a_file_is_not_replaced_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a" / "settings.yaml"
    assert main(["init", "baseline", "--out", str(file)]) == 0
    assert main(["init", "no_decoder", "--out", str(file)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert yaml.safe_load(file.read_text())["experiment"] == "baseline"
    assert main(["init", "no_decoder", "--out", str(file), "--overwrite"]) == 0
    assert yaml.safe_load(file.read_text())["experiment"] == "no_decoder"
    assert main(["init", "set9"]) == 2
