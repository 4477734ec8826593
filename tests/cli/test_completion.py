"""The scripts of shells offer what the parsers have."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from radgaze import experiments
from radgaze.cli import VERBS, completion
from radgaze.sources.registry import SOURCES


def completed(script: str, *words: str) -> list[str]:
    """Words that bash offers for the last one of a command line."""
    typed = " ".join(f"'{word}'" for word in ("radgaze", *words))
    shown = 'printf "%s\\n" "${COMPREPLY[@]}"'
    code = f"{script}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words)}; _radgaze; {shown}"
    return subprocess.run(["bash"], input=code, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture(scope="module")
def script() -> str:
    return completion.bash()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_verbs_options_sources_and_names(script: str) -> None:
    assert set(VERBS) <= set(completed(script, ""))
    assert completed(script, "tra") == ["train"]
    assert completed(script, "train", "--trainer.max") == ["--trainer.max_epochs"]
    assert completed(script, "train", "--experiment", "") == list(experiments.names())
    assert completed(script, "--plugin", "x", "init", "basel") in ([], ["baseline"])
    assert completed(script, "init", "basel") == ["baseline"]
    assert set(completed(script, "prepare", "")) == set(SOURCES)
    assert completed(script, "prepare", "egd", "--mi") == ["--mimic"]
    assert completed(script, "predict", "run", "--device", "c") == ["cpu", "cuda"]
    assert "grad_cam" in completed(script, "explain", "run", "a.png", "--methods", "")
    assert completed(script, "predict", "run", "ima") == []  # bash then completes files


def test_fish_has_a_line_for_each_option_of_each_verb() -> None:
    lines = completion.fish().splitlines()
    for command, parser in completion.commands().items():
        for option in completion.options(parser):
            condition = f"-n '__fish_seen_subcommand_from {command.split()[-1]}' -l {option[2:]} "
            assert any(condition in line for line in lines), (command, option)
    assert all(line.count("'") % 2 == 0 for line in (line.replace("\\'", "") for line in lines))


def test_no_value_needs_an_option_that_no_parser_has() -> None:
    """The names that are listed by hand belong to options that there are."""
    every = {option for parser in completion.commands().values() for option in completion.options(parser)}
    assert {"--experiment", "--device", "--methods", "--objective.heatmap.generator"} <= every
