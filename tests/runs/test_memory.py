"""Every verb that trains a network or makes maps with it keeps freed memory, by one rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from radgaze import models
from radgaze.attribution import memory
from radgaze.evaluation.maps import RunExplainer
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training.train import train
from tests.training.conftest import TINY, store

__all__ = ["store"]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """The calls of `keep_freed_memory`, which has no effect."""
    made: list[bool] = []

    def keep() -> bool:
        made.append(True)
        return True

    monkeypatch.setattr(memory, "keep_freed_memory", keep)
    return made


def run_of(config: Config, folder: Path) -> Run:
    """A run with a model that was not trained."""
    models.save(models.create(config.model, 3, 32), config.model, ("a", "b", "c"), folder / "model", size=32)
    return Run(folder, config)


@pytest.mark.parametrize(("experiment", "keeps"), [("baseline", True), ("temporal", False)])
def test_loading_a_runs_model_keeps_freed_memory_except_for_models_of_frames(
    experiment: str, keeps: bool, calls: list[bool], tmp_path: Path
) -> None:
    config = settings.resolve(experiment, **TINY)
    run = run_of(config, tmp_path)
    assert not calls
    run.model()
    assert bool(calls) == keeps


def test_the_maps_of_evaluate_report_and_pseudo_are_made_with_it(calls: list[bool], tmp_path: Path) -> None:
    run = run_of(settings.resolve("baseline", **TINY), tmp_path)
    RunExplainer.of(run, None, "cpu")
    assert calls


def test_training_keeps_freed_memory(store: Store, calls: list[bool], tmp_path: Path) -> None:
    small = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    train(settings.resolve("no_decoder", data=str(store.path), **small), tmp_path / "run")
    assert calls


def test_the_rule_is_applied_in_one_place() -> None:
    source = Path(memory.__file__).parents[1]
    users = {
        file.relative_to(source).as_posix()
        for file in source.rglob("*.py")
        if "keep_freed_memory(" in file.read_text(encoding="utf-8")
    }
    assert users == {"attribution/memory.py", "runs/memory.py"}
