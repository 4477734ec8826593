"""The record of stages that were trained with other settings than config.yaml has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radgaze.runs import resumed
from radgaze.runs.config import Config, TrainerConfig


def having(max_epochs: int, **trainer: Any) -> Config:
    return Config(trainer=TrainerConfig(max_epochs=max_epochs, **trainer))


def test_a_run_that_goes_on_with_its_settings_has_no_stages(tmp_path: Path) -> None:
    assert resumed.note(tmp_path, 3, having(6, workers=1, patience=2), having(6, workers=2)) is None
    assert not list(tmp_path.iterdir())


def test_each_stage_has_the_settings_that_changed(tmp_path: Path) -> None:
    resumed.note(tmp_path, 3, having(3), having(6))
    resumed.note(tmp_path, 4, having(6), having(6, devices=2))
    stages = resumed.read(tmp_path)
    assert stages is not None
    assert stages.words == (
        "trainer.max_epochs=3, trainer.devices=auto, from epoch 4 on trainer.max_epochs=6, "
        "trainer.devices=auto, from epoch 5 on trainer.max_epochs=6, trainer.devices=2"
    )
    assert resumed.note(tmp_path, 5, having(6, devices=2), having(6, devices="2")) is None
    assert resumed.read(tmp_path) == stages


def test_of_a_stage_that_trained_no_epoch_nothing_is_left(tmp_path: Path) -> None:
    resumed.note(tmp_path, 3, having(6), having(6, precision="16-mixed"))
    resumed.note(tmp_path, 3, having(6, precision="16-mixed"), having(6))
    assert not list(tmp_path.iterdir())
    assert resumed.note(tmp_path, 6, having(6), having(6, devices=2)) is None  # all epochs are done
    assert not list(tmp_path.iterdir())
