"""Heatmaps compared with the gaze of the class that they explain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from torch import Tensor

from radgaze import models
from radgaze.errors import UserError
from radgaze.objectives import triangle
from radgaze.objectives.heatmaps import Targets
from radgaze.objectives.step import Maps
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.data import dataset
from radgaze.store.batch import Batch, collate
from radgaze.store.store import Store
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.store.cohorts import make_cohort, with_mentions
from tests.stores import prepare
from tests.training.conftest import TINY


@pytest.fixture(scope="module")
def mentioned(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """36 cases with any number of classes each, and gaze of random classes."""
    folder = tmp_path_factory.mktemp("mentioned")
    cohort = with_mentions(make_cohort(folder / "images", cases=36, shape=(64, 64)))
    draw = np.random.default_rng(7)
    labels = [pl.Series(f"label_{name}", draw.integers(0, 2, 36), pl.Int8) for name in cohort.classes]
    cohort = replace(cohort, cases=cohort.cases.with_columns(*labels), exclusive=False)
    return prepare(cohort, folder / "store", size=64, workers=1)


def configured(store: Store, experiment: str = "set3_guided", per: str = "class") -> Config:
    own = {**TINY, "gaze": {"per": per}, "objective": {"classification": "sigmoid"}}
    return settings.resolve(experiment, data=str(store.path), **own)


def training_batch(store: Store, config: Config) -> Batch:
    cases = StoreData(store, config).train_cases
    return collate([cases[i] for i in range(12)])


def module_of(config: Config) -> GazeGuided:
    torch.manual_seed(0)
    return GazeGuided(models.create(config.model, 3), config, 3).train()


def maps_of(module: GazeGuided, batch: Batch) -> tuple[Maps, dict[str, Tensor]]:
    """The maps of a step, and its terms, drawn with one seed."""
    torch.manual_seed(5)
    output, maps, forward = module._forward(batch)
    terms = triangle.terms(output.logits, batch.label, maps, module.config.objective, forward=forward)
    return maps, terms


def test_the_gaze_is_of_the_class_that_is_drawn_and_explained(
    mentioned: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(mentioned)
    batch, module = training_batch(mentioned, config), module_of(config)
    explained, of = list[Tensor](), Targets.of

    def spied(targets: Targets, target: str) -> object:
        explained.append(of(targets, target))  # type: ignore[arg-type]
        return explained[-1]

    monkeypatch.setattr(Targets, "of", spied)
    assert batch.draw is not None
    drawn = []
    for _ in range(3):
        batch.draw.add_(1)  # as another epoch would
        _, maps, _ = module._forward(batch)
        classes = explained[-1]
        drawn.append(classes.tolist())
        assert torch.equal(maps.gaze_of["heatmap"], batch.gaze_maps(classes=classes))
        assert torch.equal(maps.gaze, batch.gaze_maps())
        several = batch.label.sum(1) > 0
        assert (batch.label.gather(1, classes[:, None])[several] == 1).all()
    assert drawn[0] != drawn[1]
    assert not torch.equal(maps.gaze_of["heatmap"], maps.gaze)


def test_only_the_heatmap_is_compared_with_it_where_the_mask_is_of_no_class(mentioned: Store) -> None:
    both = {}
    for per in ("case", "class"):
        config = configured(mentioned, per=per)
        batch = training_batch(mentioned, configured(mentioned))
        maps, both[per] = maps_of(module_of(config), batch)
        assert set(maps.gaze_of) == ({"heatmap"} if per == "class" else set())
    assert torch.equal(both["case"]["mask_gaze"], both["class"]["mask_gaze"])
    assert not torch.allclose(both["case"]["heatmap_gaze"], both["class"]["heatmap_gaze"])


def test_the_mask_of_a_class_is_compared_with_the_gaze_of_the_same_class(mentioned: Store) -> None:
    config = configured(mentioned, "pylon")
    batch = training_batch(mentioned, config)
    maps, _ = maps_of(module_of(config), batch)
    assert "mask" in maps.gaze_of
    for other in maps.gaze_of.values():
        assert torch.equal(other, maps.gaze_of["mask"])


def test_a_configuration_without_it_is_written_as_before(mentioned: Store, tmp_path: Path) -> None:
    settings.write(configured(mentioned, per="case"), tmp_path / "case.yaml")
    settings.write(configured(mentioned), tmp_path / "class.yaml")
    assert "per" not in yaml.safe_load((tmp_path / "case.yaml").read_text())["gaze"]
    assert yaml.safe_load((tmp_path / "class.yaml").read_text())["gaze"]["per"] == "class"
    assert settings.read(tmp_path / "class.yaml").gaze.per == "class"
    assert settings.read(tmp_path / "case.yaml").gaze.per == "case"


def test_a_store_without_gaze_by_class_is_refused(store: Store, tmp_path: Path) -> None:
    config = configured(store)
    with pytest.raises(UserError, match=r"does not record which fixations belong to a class"):
        train(config, tmp_path / "run")
    assert dataset(store, config, "test")[0].class_weights is None  # nothing but training needs it


def test_a_run_is_trained_with_it(mentioned: Store, tmp_path: Path) -> None:
    config = configured(mentioned)
    run = train(replace(config, trainer=replace(config.trainer, max_epochs=1)), tmp_path / "run")
    assert settings.read(tmp_path / "run" / "config.yaml").gaze.per == "class"
    assert run is not None
