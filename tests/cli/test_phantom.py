"""The commands that `radgaze phantom` prints prepare what it made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from radgaze.cli import main
from radgaze.store.store import Store


def test_the_printed_commands_prepare_what_was_made_and_one_without_its_phase_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    small = ["--patients", "12", "--pixels", "64", "--workers", "1"]
    assert main(["phantom", str(raw), *small, "--reflacx"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    commands = [match.split() for match in re.findall(r"radgaze (prepare .+? --out STORE)", said)]
    assert [command[1] for command in commands] == ["egd", "reflacx"]
    for command in commands:
        store = tmp_path / command[1]
        words = [str(store) if word == "STORE" else word for word in command]
        assert main([*words, "--size", "64", "--workers", "1"]) == 0
        assert Store.open(store).cases.height > 0

    capsys.readouterr()
    command = commands[1]
    at = command.index("--phases")
    for phases, missing in (([], "phases 1 and 2"), (["--phases", "1", "3"], "phase 1")):
        assert main([*command[:at], *phases, "--out", str(tmp_path / "other")]) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert f"main_data has no readings of {missing}; read what it has with --phases 3" in error


def test_a_phantom_without_dictation_names_one_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["phantom", str(tmp_path / "raw"), "--patients", "6", "--pixels", "64", "--workers", "1"]
    assert main(command) == 0
    assert capsys.readouterr().err.count("radgaze prepare") == 1
