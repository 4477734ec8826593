"""The list of experiments, and the settings of one."""

from __future__ import annotations

from pathlib import Path

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


def without(field: str) -> str:
    lines = experiments.source("rrr").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(f"{field}:"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        *((without(field), f"must state '{field}', as text") for field in ("title", "summary", "family")),
        (without("title") + "title: 3\n", "must state 'title', as text"),
        (without("order") + "order: first\n", "must be a whole number, got 'first'"),
        ("title: [", "cannot be read as YAML"),
        ("", "has no fields"),
    ],
)
def test_a_fault_in_an_experiments_file_is_one_line_with_file_and_field(
    text: str, fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = experiments.source
    monkeypatch.setattr(experiments, "source", lambda name: text if name == "rrr" else source(name))
    experiments.catalogue.cache_clear()
    try:
        assert main(["experiments"]) == 2
    finally:
        experiments.catalogue.cache_clear()
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert "rrr.yaml" in line
    assert fault in line
    assert not output.out


@pytest.mark.parametrize("verb", [["train"], ["tune", "--trials", "1"]])
def test_a_file_in_place_of_an_experiment_is_told_with_the_command_that_takes_it(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("experiment: gain\n", encoding="utf-8")
    given = ["--experiment", str(file), "--data", "store", "--out", str(tmp_path / "run")]
    assert main([*verb, *given]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"there is no experiment '{file}'" in line
    assert f"radgaze train --config {file}" in line
