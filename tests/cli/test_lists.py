"""The verbs that list what there is: methods, encoders, and the installation."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from radgaze import attribution
from radgaze.cli import main


def test_each_method_of_heatmaps_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(listed) == sorted(attribution.PRESETS)
    trained = lines[1 : lines.index("")]
    assert "guided_backprop" in {line.split()[0] for line in trained}
    assert "lime" not in {line.split()[0] for line in trained}


def test_encoders_are_found_by_a_part_of_their_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encoders", "efficientnet-b0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "timm-efficientnet-b0  imagenet, noisy-student" in lines
    assert all("efficientnet-b0" in line for line in lines)
    assert main(["encoders", "test_efficientnet", "--timm"]) == 0
    assert "tu-test_efficientnet" in capsys.readouterr().out


def test_an_encoder_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encoders", "alexnet"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "no encoder has 'alexnet' in its name" in said.err


def test_the_installation_is_told_without_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    rows = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    assert rows["torch"].strip() == version("torch")
    assert rows["extra cluster"].strip().startswith("ray ")
    assert "cpu" in rows
    assert not any("/" in value for value in rows.values())
