"""A run trains with the settings of the experiment and protocol that it is recorded under."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from radgaze.cli import build_parser, main
from radgaze.cli.parser import listed
from radgaze.cli.train import OF_VERB
from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.runs.config import Config


def configured(*arguments: str) -> Config:
    """The configuration that `radgaze train` makes of its arguments."""
    args = build_parser(["train", *arguments]).parse_args(["train", *arguments]).train
    return settings.from_dict({k: v for k, v in args.as_dict().items() if k not in OF_VERB})


@pytest.mark.parametrize(
    "option", ["--exp", "--experimen", "--proto", "--res", "--model.enc", "--trainer.max"]
)
def test_an_abbreviated_option_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", "store", "--out", "run", option, "baseline"]) == 2
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "run", "--resam", "9"],
        ["prepare", "table", "--imag", "x", "--out", "s"],
        ["tune", "--exper", "baseline", "--data", "s", "--trials", "1", "--out", "o"],
        ["reproduce", "--dat", "s", "--out", "o"],
    ],
)
def test_no_verb_knows_abbreviations(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2


@pytest.mark.parametrize(
    ("experiment", "protocol"),
    [
        ("set3_guided", "faithful"),
        *(pytest.param(each, "honest", marks=pytest.mark.slow) for each in ("set3_guided", "no_decoder")),
        pytest.param("no_decoder", "faithful", marks=pytest.mark.slow),
    ],
)
def test_the_experiment_counts_wherever_it_is_named(experiment: str, protocol: str, tmp_path: Path) -> None:
    wanted = settings.resolve(experiment, protocol=protocol)
    part = tmp_path / "part.yaml"
    part.write_text(yaml.safe_dump({"experiment": experiment, "protocol": protocol}))
    for arguments in (
        ["--experiment", experiment, "--protocol", protocol],
        [f"--experiment={experiment}", f"--protocol={protocol}"],
        ["--experiment", "baseline", "--experiment", experiment, f"--protocol={protocol}"],
        ["--config", str(part)],
        ["--experiment", "baseline", "--config", str(part)],
        [f"--protocol={protocol}", "--config", str(part)],
    ):
        assert configured(*arguments) == wanted, arguments


def test_the_command_line_is_laid_over_the_file_and_the_file_over_the_experiment(tmp_path: Path) -> None:
    part = tmp_path / "part.yaml"
    part.write_text(yaml.safe_dump({"experiment": "set3_guided", "objective": {"gamma": 0.7}, "seed": 5}))
    made = configured("--config", str(part), "--seed", "6")
    assert made == settings.resolve("set3_guided", objective={"gamma": 0.7}, seed=6)


def test_without_an_experiment_the_run_is_the_baseline_that_it_is_called() -> None:
    assert configured() == settings.resolve("baseline")
    assert configured().objective.mask_gaze.weight == 1
    faithful = configured("--protocol", "faithful")
    assert faithful == settings.resolve("baseline", protocol="faithful")
    assert faithful.optimisation.optimiser == "adam"


def test_an_experiment_named_in_a_file_that_does_not_exist_is_told(tmp_path: Path) -> None:
    part = tmp_path / "part.yaml"
    part.write_text("experiment: set9\n")
    with pytest.raises(UserError, match="no experiment 'set9'"):
        configured("--config", str(part))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate"], "required: RUN; see `radgaze evaluate --help`"),
        (["explain"], "required: RUN, IMAGE; see `radgaze explain --help`"),
        (["predict"], "required: RUN, IMAGE; see `radgaze predict --help`"),
        (["prepare", "table"], "required: --table, --out; see `radgaze prepare table --help`"),
        (["prepare"], "see `radgaze prepare --help`"),
        (["tune"], "required: --experiment, --data, --out, --trials; see `radgaze tune --help`"),
    ],
)
def test_what_is_missing_is_told_in_the_words_of_the_verb_s_own_help(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "x" * 5000],
        ["explain", "x" * 5000, "image.png", "--out", "maps"],
        ["predict", "x" * 5000, "image.png", "--out", "p.csv"],
        ["train", "--data", "x" * 5000, "--out", "run"],
        ["inspect", "x" * 5000],
        ["prepare", "egd", "--egd", "x" * 5000, "--mimic", "y", "--out", "store"],
    ],
)
def test_a_path_too_long_for_any_file_system_is_told_in_a_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said
    assert "name too long" in said.lower()


def test_names_parted_by_commas_may_have_spaces_around_them() -> None:
    assert listed(" grad_cam, guided_backprop ,") == ["grad_cam", "guided_backprop"]


@pytest.mark.parametrize("option", [["--out", "elsewhere"], ["--overwrite"]])
def test_a_run_that_goes_on_has_no_other_folder(
    option: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.write(settings.resolve("baseline", data="store"), tmp_path / "config.yaml")
    assert main(["train", "--resume", str(tmp_path), *option]) == 2
    assert f"leave out {option[0]}, or --resume" in " ".join(capsys.readouterr().err.split())
