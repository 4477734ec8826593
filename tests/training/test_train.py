"""Training: deterministic, stoppable, resumable, chosen by validation alone, and clear about what broke."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import lightning as L
import polars as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from sklearn.metrics import roc_auc_score
from torch import Tensor

from radgaze import models
from radgaze.cli import main
from radgaze.errors import Stopped, UserError
from radgaze.evaluation import EvaluationOptions, evaluate, results
from radgaze.objectives import triangle
from radgaze.objectives.config import ObjectiveConfig
from radgaze.objectives.distance import check
from radgaze.objectives.step import ForwardPass, Maps
from radgaze.objectives.triangle import Shares
from radgaze.options import FieldError
from radgaze.reporting.description import StoreFacts, facts
from radgaze.reporting.run_page import report
from radgaze.runs import resumed, settings
from radgaze.runs.config import Config
from radgaze.runs.run import Run
from radgaze.store.batch import Batch
from radgaze.store.store import Store
from radgaze.training import fitting, run_folder
from radgaze.training.checks import check_selection
from radgaze.training.module import GazeGuided, NonFiniteLossError
from radgaze.training.run_folder import EVALUATED, FILES
from radgaze.training.train import train
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure


def predictions(run: Run) -> bytes:
    return (run.path / "predictions.parquet").read_bytes()


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_one_seed_gives_one_result_whatever_the_number_of_workers(
    workers: int, config: Configure, tmp_path: Path
) -> None:
    runs = [
        train(config(input={"augment": True}, trainer={"workers": each}), tmp_path / str(place))
        for place, each in enumerate((0, workers))
    ]
    assert predictions(runs[0]) == predictions(runs[1])
    other = train(config(input={"augment": True}, seed=43), tmp_path / "other")
    assert predictions(other) != predictions(runs[0])


def test_a_run_stopped_with_ctrl_c_keeps_what_there_is_and_resumes_to_the_same_bytes(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = config(model={"dropout": 0.5}, trainer={"max_epochs": 3})
    whole = train(wanted, tmp_path / "whole")

    step, calls = GazeGuided.training_step, [0]

    def interrupted(self: GazeGuided, batch: Batch, index: int) -> Tensor:
        calls[0] += 1
        if calls[0] == 4:  # in the second epoch of two steps each
            raise KeyboardInterrupt
        return step(self, batch, index)

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(GazeGuided, "training_step", interrupted)
        with pytest.raises(Stopped, match="resume="):
            train(wanted, out)
    assert models.load(out / "model")[1] == CLASSES
    assert Run.open(out).history().height == 1
    with pytest.raises(UserError, match="not finished"):
        Run.open(out).predictions()

    resumed = train(wanted, out, resume=True)
    assert predictions(resumed) == predictions(whole)
    assert resumed.history()["epoch"].to_list() == [0, 1, 2]


def test_a_run_that_is_extended_says_that_its_settings_alone_do_not_give_it(
    config: Configure, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = train(config("no_decoder", trainer={"max_epochs": 1}), tmp_path / "run", predictions=False)
    assert resumed.read(run.path) is None
    capfd.readouterr()
    run = train(config("no_decoder", trainer={"max_epochs": 2}), run.path, resume=True)
    words = "trainer.max_epochs=1, from epoch 2 on trainer.max_epochs=2"
    assert f"this run has {words}." in " ".join(capfd.readouterr().err.split())
    evaluated = evaluate(run, EvaluationOptions(device="cpu", resamples=20))
    assert ("Resumed with other settings", words) in facts(run, evaluated, StoreFacts())


@pytest.mark.parametrize(("before", "after"), [(8, 4), (4, 8)])
def test_a_run_that_goes_on_with_other_steps_in_an_epoch_keeps_its_schedules(
    before: int, after: int, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on another number of devices, where the batches of all of them together have another size."""

    def wanted(cases: int) -> Config:
        optimisation = {"batch_size": cases, "warmup_epochs": 0}
        return config("no_decoder", optimisation=optimisation, trainer={"max_epochs": 4})

    whole = train(wanted(after), tmp_path / "whole", predictions=False).history()

    step, done = GazeGuided.training_step, []

    def interrupted(self: GazeGuided, batch: Batch, index: int) -> Tensor:
        if (self.current_epoch, self.config.optimisation.batch_size) == (2, before):
            raise KeyboardInterrupt
        done.append(self._progress())
        return step(self, batch, index)

    monkeypatch.setattr(GazeGuided, "training_step", interrupted)
    with pytest.raises(Stopped):
        train(wanted(before), tmp_path / "run", predictions=False)
    monkeypatch.setattr(fitting, "check_unchanged", lambda *_: None)
    done.clear()
    history = train(wanted(after), tmp_path / "run", resume=True, predictions=False).history()
    assert history["learning_rate"].to_list() == pytest.approx(whole["learning_rate"].to_list())
    steps = 20 // after * 4
    assert done == pytest.approx([place / steps for place in range(steps // 2, steps)])


def test_a_run_that_had_stopped_early_trains_no_further_epoch_when_it_is_resumed(
    config: Configure, tmp_path: Path
) -> None:
    trainer = {"max_epochs": 9, "patience": 1}
    still = config("no_decoder", trainer=trainer, optimisation={"learning_rate": 1e-30})
    run = train(still, tmp_path / "run")
    before, wanted = run.history(), predictions(run)
    best = before["validate/auc"].arg_max()
    assert best is not None
    assert best < before.height - 1 < 8
    last = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["epoch"] == before["epoch"][-1]  # and not the best one
    (run.path / "predictions.parquet").unlink()  # killed after its last epoch, before it was done
    resumed = train(still, run.path, resume=True)
    assert resumed.history().equals(before)
    assert predictions(resumed) == wanted


def test_a_run_that_is_resumed_has_the_patience_that_it_is_given(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        GazeGuided, "validation_step", lambda self, batch, step: self.log("validate/auc", 0.5, on_epoch=True)
    )
    out = tmp_path / "run"
    for patience, max_epochs, epochs in ((1, 9, 2), (3, 9, 4), (9, 6, 6)):
        wanted = config("no_decoder", trainer={"max_epochs": max_epochs, "patience": patience})
        run = train(wanted, out, resume=out.exists(), predictions=False)
        assert run.history().height == epochs
        assert (f"for {patience} epochs the AUC" in capfd.readouterr().err) == (epochs < max_epochs)


def test_the_weights_kept_are_those_of_the_best_validation_auc(config: Configure, tmp_path: Path) -> None:
    run = train(config("baseline", trainer={"max_epochs": 5}), tmp_path / "run")
    kept = run.predictions().filter(pl.col("split") == "validate")
    columns = [[f"{kind}_{name}" for name in CLASSES] for kind in ("label", "probability")]
    auc = roc_auc_score(kept.select(columns[0]).to_numpy(), kept.select(columns[1]).to_numpy())
    history = run.history()["validate/auc"]
    assert history.n_unique() > 1  # else any epoch would do
    assert auc == pytest.approx(history.max(), abs=1e-6)


def test_a_run_folder_holds_what_it_should_and_no_patient(
    config: Configure, tmp_path: Path, store: Store
) -> None:
    run = train(config(trainer={"logger": "tensorboard"}), tmp_path / "run")
    for name in ("config.yaml", "model/model.safetensors", "model/config.json", "checkpoints/last.ckpt"):
        assert (run.path / name).is_file()
    assert list(run.path.glob("tensorboard/events*"))
    table = run.predictions()
    both = [f"{kind}_{name}" for name in CLASSES for kind in ("probability", "label")]
    assert set(table.columns) == {"case_id", "patient", "split", *both}
    held_out = store.cases.filter(pl.col("split") != "train")
    assert sorted(table["case_id"]) == sorted(held_out["case_id"])
    assert table.select(
        f"probability_{name}" for name in CLASSES
    ).sum_horizontal().to_list() == pytest.approx([1.0] * table.height)
    for file in run.path.rglob("*"):
        if file.is_file():
            assert b"secret" not in file.read_bytes().lower(), file


@pytest.mark.parametrize("experiment", ["baseline", "no_decoder", "set3_guided"])
def test_every_experiment_learns_what_is_easy(experiment: str, config: Configure, tmp_path: Path) -> None:
    wanted = config(experiment, trainer={"max_epochs": 12}, optimisation={"learning_rate": 0.005})
    history = train(wanted, tmp_path / "run").history()
    assert history["train/classification"][-1] < 0.7 * history["train/classification"][0]
    edges = {"baseline": {"mask_gaze"}, "no_decoder": set(), "set3_guided": {"mask_gaze", "heatmap_gaze"}}
    terms = {name.removeprefix("train/") for name in history.columns if name.startswith("train/")}
    assert terms == {"loss", "classification", *edges[experiment]}
    for edge in edges[experiment]:
        assert history[f"train/{edge}"][-1] < history[f"train/{edge}"][0]


def test_the_faithful_protocol_trains(config: Configure, tmp_path: Path) -> None:
    run = train(config("baseline", "faithful", trainer={"max_epochs": 2}), tmp_path / "run")
    history = run.history()
    # Read after the epoch's step of the schedule: triangular2 of epochs 1 and 2, floor lr².
    rate = run.config.optimisation.learning_rate
    assert history["learning_rate"].to_list() == pytest.approx(
        [rate * (rate + (1 - rate) * 0.5), rate * 1.0], rel=1e-6
    )


def test_a_loss_that_breaks_stops_the_run_with_step_cases_and_term(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = triangle.terms, [0]

    def broken(
        logits: Tensor,
        labels: Tensor,
        maps: Maps,
        config: ObjectiveConfig,
        shares: Shares,
        *,
        forward: ForwardPass,
    ) -> dict[str, Tensor]:
        calls[0] += 1
        terms = whole(logits, labels, maps, config, shares, forward=forward)
        if calls[0] == 2:
            terms["heatmap_gaze"] = terms["heatmap_gaze"] * float("nan")
        return terms

    monkeypatch.setattr(triangle, "terms", broken)
    with pytest.raises(NonFiniteLossError) as caught:
        train(config(), tmp_path / "run")
    message = str(caught.value)
    assert "at step 1: heatmap_gaze;" in message
    assert message.count("case-") == 8  # the batch
    assert "classification" not in message


def test_early_stopping_ends_a_run_that_no_longer_gets_better(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        GazeGuided, "validation_step", lambda self, batch, step: self.log("validate/auc", 0.5, on_epoch=True)
    )
    for patience, epochs in ((2, 3), (0, 6)):
        stopping = {"max_epochs": 6, "patience": patience}
        run = train(config("baseline", trainer=stopping), tmp_path / str(patience))
        assert run.history().height == epochs
        said = capfd.readouterr().err
        told = "stopped after epoch 3 of 6: for 2 epochs the AUC was no better than 0.500"
        assert (told in said) == (patience == 2)
        assert len(re.findall(r"^baseline \d/6, loss \d\.\d{3}, AUC 0\.500  ", said, re.M)) >= epochs


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"input": {"size": 100}}, "`input.size=100` does not fit"),
        ({"objective": {"gamma": 1.5}}, "`objective.gamma`"),
        ({"objective": {"heatmap": {"margin": 0.5}}}, "`objective.heatmap.margin`"),
        ({"objective": {"heatmap": {"generator": "oracle"}}}, "guided_backprop"),
        ({"objective": {"heatmap": {"generator": "lime"}}}, "lime` makes maps to look at"),
        ({"objective": {"heatmap_gaze": {"distance": "far"}}}, "bce"),
        ({"model": {"architecture": "classifier"}}, "no mask"),
        ({"model": {"encoder": "no-such-encoder"}}, "no-such-encoder"),
        ({"trainer": {"accelerator": "abacus"}}, "`trainer.accelerator`"),
        ({"trainer": {"strategy": "ddp_spawn"}}, "`trainer.strategy`"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_trained_is_told_before_training(
    overrides: dict[str, object], said: str, config: Configure, tmp_path: Path
) -> None:
    def attempt() -> None:
        train(config(**overrides), tmp_path / "run")

    with pytest.raises(UserError, match=said):
        attempt()


def test_a_folder_that_holds_something_is_left_alone(config: Configure, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="not empty"):
            train(config(), out, overwrite=overwrite)
    with pytest.raises(UserError, match="cannot be resumed"):
        train(config(), out, resume=True)
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_refused_training_removes_no_file(config: Configure, tmp_path: Path) -> None:
    """Those of the user may have such names, and another process may just be writing."""
    out, names = tmp_path / "mine", {".download.part", ".notes.json.0a1b2c3d.part", "notes.txt"}
    (out / "checkpoints").mkdir(parents=True)
    for path in (*(out / name for name in names), out / "checkpoints" / ".last.ckpt.0a1b2c3d.part"):
        path.touch()
    before = sorted(out.rglob("*"))
    for overwrite in (False, True):
        with pytest.raises(UserError, match="mine is not empty"):
            train(config(), out, overwrite=overwrite)
    (out / "checkpoints" / "last.ckpt").touch()
    with pytest.raises(UserError, match="mine is not a run"):
        train(config(), out, resume=True)
    (out / "checkpoints" / "last.ckpt").unlink()
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_killed_training_left_is_removed_by_the_next(resume: bool, tmp_path: Path) -> None:
    (tmp_path / ".config.yaml.0a1b2c3d.part").touch()
    run_folder.check_new(tmp_path, overwrite=False)  # it is as good as empty
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".last.ckpt.0a1b2c3d.part").touch()
    run_folder.make(tmp_path, resume=resume)
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("removed", [1, 2])
def test_a_run_whose_removal_was_cut_off_can_still_be_overwritten(
    removed: int, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.yaml", "history.csv", "predictions.parquet"):
        (tmp_path / name).touch()
    settings.write(config(), tmp_path / "config.yaml")
    (tmp_path / "thesis.txt").touch()  # so that without settings the folder is no run's
    remove, done = run_folder._remove, list[Path]()

    def killed(path: Path) -> None:
        remove(path)
        done.append(path)
        if len(done) == removed:
            raise SystemExit

    with monkeypatch.context() as patch, suppress(SystemExit):
        patch.setattr(run_folder, "_remove", killed)
        run_folder.make(tmp_path, resume=False)
    run_folder.check_new(tmp_path, overwrite=True)


@pytest.mark.parametrize("how", ["new", "overwrite", "resume"])
def test_a_second_training_is_kept_out_of_a_folder_in_which_one_is_at_work(
    how: str, config: Configure, tmp_path: Path
) -> None:
    """Else the folder has the weights of one under the settings of the other."""
    out, other = tmp_path / "run", config("no_decoder", seed=2)

    class Second(Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            if how == "new":  # both found no folder
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(run_folder, "check_new", lambda *_: None)
                    self.attempt()
            elif trainer.current_epoch == 1:
                self.attempt()

        def attempt(self) -> None:
            with pytest.raises(UserError, match="another training is at work in "):
                train(other, out, overwrite=how == "overwrite", resume=how == "resume")

    run = train(config("no_decoder"), out, callbacks=[Second()])
    assert run.history()["epoch"].to_list() == [0, 1]
    assert settings.read(out / "config.yaml").seed == run.config.seed != other.seed
    assert not (out / "train.lock").exists()


def test_the_lock_of_a_killed_training_keeps_nobody_out(config: Configure, tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pathlib import Path; from radgaze.training import run_folder\n"
        "with run_folder.locked(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    out = tmp_path / "runs" / "run"
    subprocess.run([sys.executable, "-c", killed, str(out)], check=False)
    assert [path.name for path in out.iterdir()] == ["train.lock"]
    train(config("no_decoder", trainer={"max_epochs": 1}), out)
    (out / "train.lock").touch()
    assert train(config("no_decoder"), out, resume=True).history().height == 2
    assert not (out / "train.lock").exists()


def test_a_refused_training_leaves_no_folder(config: Configure, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-encoder"):
        train(config(model={"encoder": "no-such-encoder"}), tmp_path / "runs" / "run")
    assert not list(tmp_path.iterdir())


def test_a_store_without_gaze_trains_the_classifier_and_refuses_what_needs_gaze(
    tmp_path: Path, config: Configure
) -> None:
    cohort = make_cohort(tmp_path / "images", cases=12, shape=(64, 64))
    blind = type(cohort)(
        **{
            **cohort.__dict__,
            "readings": cohort.readings.clear(),
            "fixations": cohort.fixations.clear(),
            "rejections": cohort.rejections.clear(),
        }
    )
    store = prepare(blind, tmp_path / "store", size=32, workers=1)
    wanted = config("no_decoder", trainer={"max_epochs": 1})
    wanted.data = str(store.path)
    assert train(wanted, tmp_path / "run").predictions().height == 4
    wanted = config("baseline")
    wanted.data = str(store.path)
    with pytest.raises(UserError, match="no gaze"):
        train(wanted, tmp_path / "other")


def test_a_store_of_one_class_is_learned_evaluated_and_reported(
    tmp_path: Path, config: Configure, capfd: pytest.CaptureFixture[str]
) -> None:
    cohort = make_cohort(tmp_path / "images", cases=36, shape=(64, 64))
    others = [f"label_{name}" for name in CLASSES[1:]]
    cohort = replace(cohort, classes=CLASSES[:1], cases=cohort.cases.drop(others), exclusive=False)
    wanted = config("set3_guided", trainer={"max_epochs": 2})
    wanted.data = str(prepare(cohort, tmp_path / "store", size=64, workers=1).path)
    run = train(wanted, tmp_path / "run")
    assert f"has one class, {CLASSES[0]}:" in " ".join(capfd.readouterr().err.split())
    kept = run.predictions().filter(pl.col("split") == "validate")
    auc = roc_auc_score(kept[f"label_{CLASSES[0]}"], kept[f"probability_{CLASSES[0]}"])
    assert auc == pytest.approx(run.history()["validate/auc"].max(), abs=1e-6)
    evaluated = evaluate(run, EvaluationOptions(device="cpu", resamples=20))
    assert evaluated.test.auc["macro"].value == evaluated.test.auc[CLASSES[0]].value
    assert CLASSES[0] in report(run, evaluated).read_text(encoding="utf-8")


def test_a_checkpoint_is_never_unpickled_blindly(config: Configure, tmp_path: Path) -> None:
    run = train(config("baseline", trainer={"max_epochs": 1}), tmp_path / "run")
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trap,)

    last = run.path / "checkpoints" / "last.ckpt"
    torch.save({"state_dict": {}, "trap": Trap()}, last)
    with pytest.raises(UserError, match=r"last\.ckpt"):
        train(config("baseline", trainer={"max_epochs": 2}), run.path, resume=True)
    assert not trap.exists()


def test_the_model_says_what_it_is_in_plain_json(config: Configure, tmp_path: Path) -> None:
    run = train(config("baseline", trainer={"max_epochs": 1}), tmp_path / "run")
    about = json.loads((run.path / "model" / "config.json").read_text())
    assert about["classes"] == list(CLASSES)
    assert about["model"]["encoder"] == "tu-test_efficientnet"


def test_cases_without_an_auc_choose_no_epoch() -> None:
    labels = torch.tensor([[1, 0, 0]] * 3)
    with pytest.raises(UserError, match="in all or in none of the 3 cases by which the epoch is chosen"):
        check_selection(labels)
    check_selection(torch.tensor([[1, 0, 0], [0, 1, 0]]))


def test_what_was_measured_on_weights_that_a_resumed_training_replaced_is_dropped(
    config: Configure, tmp_path: Path
) -> None:
    run = train(config("no_decoder", trainer={"max_epochs": 1}), tmp_path / "run")
    for name in ("metrics.json", "selective.json", "reliance.parquet", "report.html"):
        (run.path / name).write_text("of the first epoch")
    kept = (run.path / "model" / "model.safetensors").read_bytes()
    again = train(config("no_decoder", trainer={"max_epochs": 1}), run.path, resume=True)
    assert (again.path / "model" / "model.safetensors").read_bytes() == kept
    assert (run.path / "metrics.json").is_file()  # the weights are the same
    further = config("no_decoder", trainer={"max_epochs": 6})
    train(further, run.path, resume=True)
    changed = (run.path / "model" / "model.safetensors").read_bytes() != kept
    assert changed
    assert not any(
        (run.path / name).exists()
        for name in ("metrics.json", "selective.json", "reliance.parquet", "report.html")
    )


def test_a_resumed_training_that_is_stopped_leaves_no_predictions_of_other_weights(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(config("no_decoder", trainer={"max_epochs": 1}), tmp_path / "run")
    kept = run.weights.read_bytes()
    step = GazeGuided.training_step

    def interrupted(self: GazeGuided, batch: Batch, index: int) -> Tensor:
        if self.current_epoch == 6:
            raise KeyboardInterrupt
        return step(self, batch, index)

    monkeypatch.setattr(GazeGuided, "training_step", interrupted)
    with pytest.raises(Stopped):
        train(config("no_decoder", trainer={"max_epochs": 8}), run.path, resume=True)
    assert run.weights.read_bytes() != kept
    with pytest.raises(UserError, match="not finished"):
        Run.open(run.path).predictions()


def test_what_was_measured_is_dropped_before_the_weights_are_replaced(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(config("no_decoder", trainer={"max_epochs": 1}), tmp_path / "run")

    def killed(*_: object, **__: object) -> None:
        raise SystemExit("killed")

    monkeypatch.setattr(models, "save", killed)
    with pytest.raises(SystemExit):
        train(config("no_decoder", trainer={"max_epochs": 6}), run.path, resume=True)
    assert not (run.path / "predictions.parquet").exists()


def test_all_that_evaluating_writes_belongs_to_the_weights() -> None:
    written = {
        getattr(results, name)
        for name in ("AGREEMENT", "LOCALISATION", "CURVES", "CLASS_AGREEMENT", "RELIANCE")
    }
    assert written <= EVALUATED <= FILES


@pytest.mark.parametrize("generator", ["relevance", "cam"])
def test_a_generator_that_does_not_apply_is_told_in_a_line(
    generator: str, config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config("baseline", trainer={"max_epochs": 1}), tmp_path / "run")
    capsys.readouterr()
    assert main(["evaluate", str(run.path), "--generator", generator, "--resamples", "20"]) == 2
    told = capsys.readouterr().err
    assert f"the method {generator} does not apply" in told


def test_an_option_that_is_no_whole_number_is_refused() -> None:
    check("harmonization", {"levels": 5})
    for value in (5.0, True):
        with pytest.raises(FieldError, match="it is a whole number"):
            check("harmonization", {"levels": value})


def test_predictions_that_are_no_numbers_are_told_in_a_line(
    config: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(config("no_decoder", trainer={"max_epochs": 1}), tmp_path / "run")
    table = run.predictions().with_columns(pl.lit(float("nan")).alias(f"probability_{CLASSES[0]}"))
    table.write_parquet(run.path / "predictions.parquet")
    assert main(["evaluate", str(run.path), "--resamples", "20"]) == 2
    assert "cells that are no predictions" in " ".join(capsys.readouterr().err.split())
