"""Trials that train: by validation alone, and the same side by side as one after another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from radgaze import models
from radgaze.errors import UserError
from radgaze.execution.shares import Share
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.store.dataset import GazeDataset
from radgaze.store.store import Images, Store
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.search import tune
from radgaze.tuning.trial import Failed, Pruned, run_trial
from radgaze.tuning.worker import Worker
from tests.execution.test_local import is_gone
from tests.tuning.conftest import MakeConfig, MakeSearch


def test_no_test_case_is_looked_at(
    search: MakeSearch, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its image, nor its labels among those of a data set, nor a prediction of it."""
    opened: set[int] = set()
    splits: set[str | Sequence[str] | None] = set()
    image, dataset = Images.__getitem__, GazeDataset.__init__

    def watched(self: Images, i: int) -> NDArray[np.uint8]:
        opened.add(int(i))
        return image(self, i)

    def built(self: GazeDataset, store: Store, split: str | Sequence[str] | None, **options: Any) -> None:
        splits.add(split)
        dataset(self, store, split, **options)

    monkeypatch.setattr(Images, "__getitem__", watched)
    monkeypatch.setattr(GazeDataset, "__init__", built)
    tune(search(trainer={"max_epochs": 1}), tmp_path / "out", TuneOptions(trials=3))
    assert splits == {"train", "validate"}
    seen = set(store.cases["split"].gather(sorted(opened)))
    assert seen == {"train", "validate"}
    assert not list((tmp_path / "out").rglob("predictions.parquet"))


def test_a_finished_trial_keeps_its_model_and_a_pruned_one_no_weights(
    config: MakeConfig, tmp_path: Path
) -> None:
    told = []

    def never(epochs: int, auc: float) -> bool:
        told.append((epochs, auc))
        return False

    best = run_trial(config(), tmp_path / "finished", never)
    run = Run.open(tmp_path / "finished")
    history = run.history()["validate/auc"]
    assert best == pytest.approx(history.max())
    assert [epochs for epochs, _ in told] == [1, 2]
    assert [auc for _, auc in told] == pytest.approx([history[0], history.max()])
    assert models.load(run.path / "model")[1] == run.store.classes
    with pytest.raises(Pruned):
        run_trial(config(trainer={"max_epochs": 4}), tmp_path / "pruned", lambda epochs, auc: epochs == 2)
    assert Run.open(tmp_path / "pruned").history().height == 2
    assert not weights(tmp_path / "pruned")
    # Over what was there; told to stop after its last epoch, it has finished.
    run_trial(config(), tmp_path / "pruned", lambda epochs, auc: epochs == 2)
    assert [path.name for path in weights(tmp_path / "pruned")] == ["model.safetensors"]
    with pytest.raises(Pruned):
        run_trial(config(), tmp_path / "pruned", lambda epochs, auc: True)
    assert not weights(tmp_path / "pruned")


def weights(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".ckpt", ".safetensors", ".pt", ".pth")]


def test_a_trial_says_nothing_of_its_own(
    config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_trial(config(), tmp_path / "run", lambda epochs, auc: False)
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


@pytest.mark.slow
def test_trials_in_processes_are_those_of_one(config: MakeConfig, tmp_path: Path) -> None:
    wanted, worker, told = config(), Worker(Share(1)), []

    def report(epochs: int, auc: float) -> bool:
        told.append(auc)
        return len(told) == 3

    try:
        there = worker(wanted, tmp_path / "there", report)
        assert there == run_trial(wanted, tmp_path / "here", lambda epochs, auc: False)
        with pytest.raises(Pruned):  # in the same process
            worker(wanted, tmp_path / "pruned", report)
        wanted.objective.heatmap.generator = "oracle"
        with pytest.raises(UserError, match="oracle"):
            worker(wanted, tmp_path / "refused", report)
    finally:
        worker.stop()


@pytest.mark.slow
def test_a_process_that_dies_costs_its_trial_and_another_takes_over(
    config: MakeConfig, tmp_path: Path
) -> None:
    worker = Worker(Share(1))

    def killing(epochs: int, auc: float) -> bool:
        assert worker._process is not None
        assert worker._process.pid is not None
        os.kill(worker._process.pid, signal.SIGKILL)
        return False

    try:
        with pytest.raises(
            Failed, match=r"its process was killed by SIGKILL \(out of memory\?\); try fewer `jobs`"
        ):
            worker(config(), tmp_path / "run", killing)
        assert 0 <= worker(config(), tmp_path / "run", lambda epochs, auc: False) <= 1
    finally:
        worker.stop()


ORPHANED = """
import os, signal, sys
from pathlib import Path
from radgaze.execution.shares import Share
from radgaze.runs import settings
from radgaze.tuning.worker import Worker
if __name__ == "__main__":
    worker = Worker(Share(1))
    def killing(epochs, auc):
        print(worker._process.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    worker(settings.read(Path(sys.argv[1])), Path(sys.argv[2]), killing)
"""


@pytest.mark.slow
def test_the_process_of_a_killed_search_does_not_go_on_with_its_trial(
    config: MakeConfig, tmp_path: Path
) -> None:
    settings.write(config(trainer={"max_epochs": 5000}), tmp_path / "config.yaml")
    (tmp_path / "search.py").write_text(ORPHANED)
    search = subprocess.run(
        [sys.executable, str(tmp_path / "search.py"), str(tmp_path / "config.yaml"), str(tmp_path / "run")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
    )
    assert search.returncode == -signal.SIGKILL
    assert is_gone(int(search.stdout))


@pytest.mark.slow
def test_a_search_side_by_side_has_as_many_trials(search: MakeSearch, tmp_path: Path) -> None:
    study = tune(
        search("baseline", trainer={"max_epochs": 1}), tmp_path / "out", TuneOptions(trials=3, jobs=2)
    )
    assert sorted(trial.number for trial in study.get_trials()) == [0, 1, 2]
    assert pl.read_csv(tmp_path / "out" / "trials.csv")["trial"].to_list() == [0, 1, 2]
    assert [path.name for path in sorted((tmp_path / "out" / "trials").iterdir())] == ["0000", "0001", "0002"]
