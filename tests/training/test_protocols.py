"""Who trains, validates and tests, and which of them the epoch is chosen by."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape
from pathlib import Path

import polars as pl
import pytest
import torch
from lightning.fabric.accelerators import mps
from lightning.pytorch.accelerators import CPUAccelerator, MPSAccelerator
from sklearn.metrics import roc_auc_score

from radgaze.cli.compare import compare_and_report
from radgaze.cli.evaluate import evaluate_and_report
from radgaze.errors import UserError
from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.runs.config import SELECTED_ON_TEST
from radgaze.runs.run import Run
from radgaze.store.manifest import Manifest
from radgaze.store.store import Store
from radgaze.training.checkpoints import Checkpoints
from radgaze.training.train import train
from radgaze.training.trainer import best_checkpoint, make_trainer, precision
from tests.store.cohorts import CLASSES
from tests.training.conftest import Configure


def with_published_split(store: Store) -> Store:
    """The store as if it had been prepared with the published split."""
    known: Manifest = {
        **store.manifest,
        "parameters": {**store.manifest["parameters"], "split": "published"},
    }
    return replace(store, manifest=known)


def split_of(store: Store) -> dict[str, str]:
    return dict(store.cases.select("case_id", "split").iter_rows())


@pytest.mark.parametrize("kind", ["stratified", "folds"])
def test_a_store_is_split_anew_by_patient_and_stays_as_it_is_on_disk(store: Store, kind: str) -> None:
    again = store.resplit(kind, seed=5)
    assert split_of(again) == split_of(store.resplit(kind, seed=5)) != split_of(store.resplit(kind, seed=6))
    assert again.cases.group_by("patient").agg(pl.col("split").n_unique())["split"].max() == 1
    assert set(again.cases["split"]) == {"train", "validate", "test"}
    assert split_of(Store.open(store.path)) == split_of(store)


def test_the_published_split_is_the_stores_own_whatever_the_seed_and_the_losses(store: Store) -> None:
    with pytest.raises(UserError, match="does not know the published split"):
        store.resplit("published")
    published = with_published_split(store)
    for seed in (1, 42):
        assert split_of(published.resplit("published", seed=seed)) == split_of(store)


def test_a_store_that_was_split_anew_still_knows_its_own_split(store: Store) -> None:
    other = with_published_split(store).of_readings(store.readings["reading_id"][:5])
    other = other.resplit("stratified", seed=5)
    assert split_of(other) != split_of(store)
    for kind in ("store", "published"):
        again = other.resplit(kind)
        assert split_of(again) == split_of(store)
        assert len(again.readings) == 5
    assert split_of(other.resplit("folds", fold=1)) == split_of(store.resplit("folds", fold=1))


def test_folds_of_a_store_test_every_case_once(store: Store) -> None:
    tested = [
        case
        for fold in range(4)
        for case, split in split_of(store.resplit("folds", seed=1, folds=4, fold=fold)).items()
        if split == "test"
    ]
    assert sorted(tested) == sorted(store.cases["case_id"])


@pytest.mark.parametrize(
    ("kind", "fold", "says"),
    [("odd", 0, "no split of the kind"), ("folds", 9, "fold 9")],
)
def test_a_split_that_there_is_not_is_named(store: Store, kind: str, fold: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        store.resplit(kind, fold=fold)


def test_training_prediction_and_evaluation_see_the_runs_split(
    config: Configure, tmp_path: Path, store: Store
) -> None:
    wanted = {"kind": "folds", "seed": 2, "folds": 3, "fold": 1}
    run = train(config("baseline", split=wanted, trainer={"max_epochs": 1}), tmp_path / "run")
    expected = split_of(store.resplit("folds", seed=2, folds=3, fold=1))
    predicted = dict(run.predictions().select("case_id", "split").iter_rows())
    assert predicted == {case: split for case, split in expected.items() if split != "train"}
    reopened = Run.open(run.path)
    assert split_of(reopened.store) == expected
    assert set(reopened.dataset("test").case_ids) == {c for c, split in expected.items() if split == "test"}


def test_runs_of_different_splits_are_not_compared(config: Configure, tmp_path: Path) -> None:
    runs = []
    for fold in (0, 1):
        split = {"kind": "folds", "folds": 3, "fold": fold}
        run = train(config("baseline", split=split, trainer={"max_epochs": 1}), tmp_path / str(fold))
        evaluate(run, EvaluationOptions(resamples=20))
        runs.append(run)
    with pytest.raises(UserError, match="different test cases"):
        compare_and_report(runs, tmp_path / "compared")


def test_selection_on_test_chooses_by_it_and_stamps_the_metrics(
    config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = config("baseline", selection="test", trainer={"max_epochs": 4})
    run = train(wanted, tmp_path / "chosen")
    assert "`selection=test`" in " ".join(capsys.readouterr().err.split())
    test = run.predictions().filter(pl.col("split") == "test")
    columns = [[f"{kind}_{name}" for name in CLASSES] for kind in ("label", "probability")]
    auc = roc_auc_score(test.select(columns[0]).to_numpy(), test.select(columns[1]).to_numpy())
    history = run.history()["test/auc"]
    assert history.n_unique() > 1  # else any epoch would do
    assert auc == pytest.approx(history.max(), abs=1e-6)
    evaluate(run, EvaluationOptions(resamples=20))
    assert json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))["selection"] == "test"


@pytest.mark.slow
def test_pages_say_which_run_was_selected_on_the_test_cases(config: Configure, tmp_path: Path) -> None:
    run = train(config("baseline", selection="test", trainer={"max_epochs": 1}), tmp_path / "chosen")
    honest = train(config("set3_guided", trainer={"max_epochs": 1}), tmp_path / "honest")
    for own in (run, honest):
        page = evaluate_and_report(own, EvaluationOptions(resamples=20)).read_text(encoding="utf-8")
        assert (SELECTED_ON_TEST in unescape(page)) == (own is run)
    compare_and_report([honest, run], tmp_path / "compared", CompareOptions(resamples=20))
    for file in ("index.html", "compare.md"):
        assert SELECTED_ON_TEST in unescape((tmp_path / "compared" / file).read_text(encoding="utf-8"))


def test_faithful_runs_keep_every_epoch_and_have_the_papers_interval(
    config: Configure, tmp_path: Path
) -> None:
    run = train(config("baseline", "faithful"), tmp_path / "run")
    kept = sorted(path.name for path in (run.path / "checkpoints").iterdir())
    assert kept == ["before-last.ckpt", "epoch-000.ckpt", "epoch-001.ckpt", "last.ckpt"]
    evaluate(run, EvaluationOptions(resamples=20))
    metrics = json.loads((run.path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["settings"]["interval"] == "paper"
    assert metrics["test"]["auc"] == metrics["test"]["auc_paper"]


def test_the_faithful_protocol_trains_in_32_bits_on_a_gpu_too(
    config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    wanted = replace(config().trainer, accelerator="gpu")
    assert precision(wanted, "faithful") == "32-true"
    assert precision(wanted, "honest") == "bf16-mixed"


def test_auto_takes_a_gpu_of_cuda_or_the_cpu_as_every_other_verb_does(
    config: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for of_apple in (mps.MPSAccelerator, MPSAccelerator):  # Lightning asks either
        monkeypatch.setattr(of_apple, "is_available", lambda: True)
    settings = config("no_decoder")
    settings = replace(settings, trainer=replace(settings.trainer, accelerator="auto"))
    out = tmp_path / "run"
    trainer = make_trainer(settings, out, Checkpoints(out), best_checkpoint(settings, out), [])
    assert isinstance(trainer.accelerator, CPUAccelerator)
