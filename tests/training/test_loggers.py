"""Loggers by name: each has what history.csv has, in the run's folder; a missing library is told."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import polars as pl
import pytest
import yaml

from radgaze.errors import UserError
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.store import Store
from radgaze.training import loggers
from radgaze.training.train import train
from tests.training.conftest import TINY


def run_with(logger: str, store: Store, out: Path) -> pl.DataFrame:
    wanted = {**TINY, "trainer": {**TINY["trainer"], "logger": logger}}
    return train(settings.resolve("no_decoder", data=str(store.path), **wanted), out).history()


def test_csv_has_the_auc_of_the_history_and_a_resumed_training_a_file_of_its_own(
    store: Store, tmp_path: Path
) -> None:
    history = run_with("csv", store, tmp_path / "run")
    (file,) = (tmp_path / "run" / "csv").glob("*/metrics.csv")
    logged = pl.read_csv(file)["validate/auc"].drop_nulls()
    assert logged.to_list() == pytest.approx(history["validate/auc"].to_list(), abs=1e-6)
    loggers.make(settings.read(tmp_path / "run" / "config.yaml"), tmp_path / "run").log_metrics({"a": 1.0}, 0)  # type: ignore[union-attr]
    assert file.is_file()


def test_mlflow_writes_files_into_the_run(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    history = run_with("mlflow", store, tmp_path / "run")
    (file,) = (tmp_path / "run" / "mlruns").glob("*/*/metrics/validate/auc")
    logged = [float(line.split()[1]) for line in file.read_text().splitlines()]
    assert logged == pytest.approx(history["validate/auc"].to_list(), abs=1e-6)
    named = {each.name for each in (tmp_path / "run" / "mlruns").glob("*/*/params/*")}
    assert "seed" in named
    assert "data" not in named


def test_wandb_writes_files_into_the_run_and_stays_offline(store: Store, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    run_with("wandb", store, tmp_path / "run")
    Run.open(tmp_path / "run")  # refused if a link leads out of it
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_links_of_a_logger_that_lead_out_of_the_run_are_removed(tmp_path: Path) -> None:
    """wandb links its log in the user's own folder, and a run with such a link is refused."""
    inside = tmp_path / "run" / "wandb" / "logs"
    inside.mkdir(parents=True)
    (tmp_path / "log").write_text("of the user")
    (inside / "within").symlink_to(tmp_path / "run")
    (inside / "out").symlink_to(tmp_path / "log")
    loggers.remove_links(tmp_path / "run")
    assert [each.name for each in inside.iterdir()] == ["within"]
    assert (tmp_path / "log").is_file()


@pytest.mark.parametrize("name", loggers.EXTRAS)
def test_a_library_that_is_missing_is_told_with_its_extra(
    name: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=rf"install radgaze\[{name}\]"):
        run_with(name, store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_mlflow_and_wandb_are_asked_for_files_in_the_run_and_the_settings(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stand-ins for Lightning's loggers, so that it is checked where neither library is installed."""
    from lightning.pytorch import loggers as of_lightning

    made: list[tuple[tuple[object, ...], Mapping[str, object]]] = []

    class StandIn:
        def __init__(self, *given: object, **named: object) -> None:
            made.append((given, named))

    monkeypatch.setattr(of_lightning, "MLFlowLogger", StandIn)
    monkeypatch.setattr(of_lightning, "WandbLogger", StandIn)
    out = tmp_path / "run"
    for name in loggers.EXTRAS:
        config = settings.resolve("no_decoder", data=str(store.path), trainer={"logger": name})
        loggers.make(config, out)
        values = loggers.hyperparameters(config)
        assert values["seed"] == 42
        assert "model.encoder" in values
        assert not any(str(store.path) in str(value) for value in values.values())
    (mlflow, wandb) = made
    assert mlflow[1]["tracking_uri"] == (out / "mlruns").as_uri()
    assert wandb[0][1] == out
    assert wandb[1]["offline"] is True


def test_a_library_that_is_there_is_not_imported_by_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("mlflow")
    module.__spec__ = ModuleSpec("mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    loggers.check("mlflow")
    loggers.check("csv")


def test_each_logger_is_a_value_of_the_setting_and_has_an_extra_if_it_needs_one() -> None:
    import tomllib

    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(loggers.EXTRAS) <= set(extras)
    for name in (*loggers._MADE, "none"):
        assert settings.resolve("baseline", data="x", trainer={"logger": name}).trainer.logger == name
    with pytest.raises(UserError, match="logger"):
        settings.from_dict(yaml.safe_load("trainer: {logger: excel}"))
