"""The list of experiments, and the settings of one."""

from __future__ import annotations

import pytest
import yaml

from radgaze import experiments
from radgaze.cli import main


def test_every_experiment_stands_under_its_family_with_its_summary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["experiments"]) == 0
    family, listed = "", {}
    for line in capsys.readouterr().out.splitlines():
        if line and not line.startswith(" "):
            family = line
        elif line:
            name, summary = line.strip().split("  ", 1)
            listed[name] = (family, summary.strip())
    assert listed == {each.name: (each.family, each.summary) for each in experiments.catalogue()}


def test_the_settings_of_one_are_printed_with_their_comments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "rrr"]) == 0
    text = capsys.readouterr().out
    assert "Ross, Hughes and Doshi-Velez 2017" in text
    assert yaml.safe_load(text)["objective"] == experiments.load("rrr")["objective"]


def test_an_unknown_one_is_refused_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "rrrr"]) == 2
    names = ", ".join(experiments.names())
    assert f"there is no experiment 'rrrr'; there are {names}" in capsys.readouterr().err
