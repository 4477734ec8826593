"""`--device` of every verb that computes, and the names that were perhaps meant."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest

from radgaze import devices, methods
from radgaze.attribution.registry import PRESETS, REGISTRY
from radgaze.cli import build_parser, main
from radgaze.cli.completion import commands, options
from radgaze.cli.train import run as run_train
from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.runs.config import Config

COMPUTING = (
    "demo",
    "train",
    "tune",
    "reproduce",
    "evaluate",
    "audit",
    "vote",
    "pseudo",
    "predict",
    "explain",
    "view",
    "worker",
)


def test_each_verb_that_computes_has_the_option_with_the_same_help() -> None:
    parsers = commands()
    shown = {name: options(parsers[name]).get("--device") for name in parsers}
    assert {name for name, action in shown.items() if action is not None} == set(COMPUTING)
    assert {str(action.help) for action in shown.values() if action is not None} == {devices.HELP}


@pytest.mark.parametrize(
    ("device", "accelerator", "given"),
    [("cpu", "cpu", "auto"), ("cuda", "cuda", 1), ("cuda:1", "cuda", "1,"), ("mps", "mps", 1)],
)
def test_train_gives_it_to_the_trainer_and_the_evaluation(
    device: str,
    accelerator: str,
    given: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Config] = []

    class TrainedError(Exception):
        pass

    def train(config: Config, out: Path, **rest: object) -> None:
        seen.append(config)
        raise TrainedError

    monkeypatch.setattr("radgaze.training.train.train", train)
    monkeypatch.setattr("radgaze.cli.train.check_store", lambda data: None)
    arguments = ["train", "--data", "store", "--out", str(tmp_path / "run"), "--device", device]
    parsed: Namespace = build_parser(arguments).parse_args(arguments)["train"]
    with pytest.raises(TrainedError):
        run_train(parsed)  # type: ignore[arg-type]  # jsonargparse's Namespace
    assert (seen[0].trainer.accelerator, seen[0].trainer.devices) == (accelerator, given)


@pytest.mark.parametrize(
    ("device", "field", "value"),
    [("cuda", "devices", "4"), ("cpu", "accelerator", "gpu"), ("cuda:1", "devices", "1")],
)
def test_train_refuses_a_device_and_another_setting_of_the_trainer(
    device: str, field: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--data", "store", "--out", str(tmp_path / "run"), "--device", device]
    assert main([*command, f"--trainer.{field}", value]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"--device {device} means --trainer.{field}" in told
    assert f"and --trainer.{field} {value} is given: leave out one of the two" in told


def test_a_run_goes_on_with_another_device_than_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("radgaze.cli.train.check_folder", lambda *_, **__: None)
    settings.write(
        settings.resolve("baseline", data="store", trainer={"devices": 4}), tmp_path / "config.yaml"
    )
    command = ["train", "--resume", str(tmp_path), "--device", "cuda"]
    parsed: Namespace = build_parser(command).parse_args(command)["train"]
    with pytest.raises(UserError, match="store"):  # it is not there; the device was taken
        run_train(parsed)  # type: ignore[arg-type]  # as above


def test_several_trainings_get_a_kind_of_device_only() -> None:
    assert devices.given_by_device("auto") == {}
    assert devices.given_by_device("cuda") == {"trainer": {"accelerator": "cuda"}}
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES"):
        devices.given_by_device("cuda:1")
    for wrong in ("gpu", "cuda:", "cuda:x", "cuda:1,2", ""):
        with pytest.raises(UserError, match="`device` must be"):
            devices.check_device(wrong)


def test_the_names_that_are_known_without_torch_are_those_that_are_registered() -> None:
    assert {name for name in PRESETS if name in methods.METHODS} == set(methods.METHODS)
    own = {name for name, cls in REGISTRY.items() if cls.__module__.startswith("radgaze.")}
    assert {*methods.METHODS} - {"guided_smooth_grad"} == own


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        ("trian", "train"),
        ("train --experimnt baseline", "--experiment"),
        ("train --trainer.max_epoch 3", "--trainer.max_epochs"),
        ("train --experiment basline --data x --out y", "baseline"),
        ("experiments set3_guide", "set3_guided"),
        ("init set3_guide", "set3_guided"),
        ("prepare tabel", "table"),
        ("prepare table --tabel x", "--table"),
        ("predict a b --out c.csv --devcie cpu", "--device"),
        ("explain a b --out c --methods grad_camm", "grad_cam"),
        ("audit a --out c --methods backprob", "backprop"),
        ("train --objective.heatmap.generator gradcam --data x --out y", "grad_cam"),
        ("evaluate a --target predict", "predicted"),
    ],
)
def test_a_mistyped_name_is_told_with_the_one_that_was_meant(
    command: str,
    meant: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"did you mean {meant}?" in told


def test_a_name_like_no_other_has_no_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "xyzzyxyzzy"]) == 2
    assert "did you mean" not in capsys.readouterr().err
