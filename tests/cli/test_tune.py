"""`radgaze tune` from the command line, and its best settings in `radgaze train`."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from radgaze.cli import main
from radgaze.runs import settings
from radgaze.store.store import Store
from tests.training.conftest import store

__all__ = ["store"]

TINY = [
    "--model.encoder=tu-test_efficientnet",
    "--model.weights=none",
    "--model.decoder_channels=[16,8,8,4,4]",
    "--input.size=32",
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--trainer.logger=none",
    "--optimisation.batch_size=8",
]


@pytest.mark.slow
def test_the_best_settings_train_as_they_stand(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = ["--experiment", "set3_guided", "--data", str(store.path)]
    out = ["--out", "search", "--trials", "3"]
    (tmp_path / "space.yaml").write_text("objective.gamma: {low: 0.2, high: 0.3}\n")
    assert main(["tune", *named, *out, "--space", "space.yaml", "--gaze.sigma=0.1", *TINY]) == 0
    shown = capsys.readouterr().out
    assert "The best of 3 trials" in shown
    assert shown.rstrip().endswith("search/tuning.html")
    trials = pl.read_csv("search/trials.csv")
    assert "gaze.sigma" not in trials.columns
    assert trials["objective.gamma"].is_between(0.2, 0.3).all()

    best = trials.sort("validation_auc", "trial", descending=[True, False])["trial"][0]
    tuned = settings.read(tmp_path / f"search/trials/{best:04d}/config.yaml")
    assert tuned.gaze.sigma == 0.1
    said = (tmp_path / "search/best.yaml").read_text().splitlines()[1]
    command = said.removeprefix("# radgaze ").replace("STORE", str(store.path)).replace("RUN", "run").split()
    assert main([*command, "--evaluate=false"]) == 0
    trained = settings.read(tmp_path / "run" / "config.yaml")
    tuned.trainer.devices = trained.trainer.devices  # one for each trial
    assert trained == tuned
    history = pl.read_csv("run/history.csv")["validate/auc"]
    assert history.max() == pytest.approx(trials["validation_auc"][best])

    assert main([*command, "--evaluate=false", "--overwrite", "--objective.gamma", "0.77"]) == 0
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["objective"]["gamma"] == 0.77

    more = ["--resume", "--space", "space.yaml", "--gaze.sigma=0.1"]
    assert main(["tune", *named, "--out", "search", "--trials", "4", *more, *TINY]) == 0
    assert pl.read_csv("search/trials.csv").height == 4


def test_help_states_the_space(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tune", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("lambda (0.1 to 0.9", "objective.gamma (0.05 to 0.95)", "gaze.sigma", "--space FILE"):
        assert word in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--experiment", "set9"], "set9"),
        (["--experiment", "baseline", "--space", "none.yaml"], "none.yaml"),
        (["--experiment", "baseline", "--trainer.devices", "3"], "--jobs"),
        (["--experiment", "baseline", "--model.colour", "red"], "--model.colour"),
        (["--experiment", "baseline"], "nowhere"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if said in ("none.yaml", "--jobs"):  # told once there is a store
        monkeypatch.setattr("radgaze.cli.tune.check_store", lambda path: None)
    assert main(["tune", *arguments, "--data", "nowhere", "--trials", "2", "--out", "out"]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()
