"""Training with a control of gaze: what it replaces, where it is refused, and evaluation without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from radgaze import models
from radgaze.errors import Stopped, UserError
from radgaze.evaluation import EvaluationOptions, compare, evaluate
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.runs import settings
from radgaze.runs.data import dataset
from radgaze.runs.run import Run
from radgaze.store.batch import Batch, collate
from radgaze.store.store import Store
from radgaze.training.checks import check
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.training.conftest import Configure

SHUFFLED = {"control": "shuffled"}


@pytest.mark.parametrize(
    ("experiment", "control", "words"),
    [
        (
            "no_decoder",
            "shuffled",
            "has no effect: neither the objective nor the model uses gaze; leave it out",
        ),
        ("temporal", "mean", "cannot be mean, a map: the model temporal reads fixations in their order"),
        ("gaze_input", "box", "cannot be box: the label selects the boxes"),
        ("set3_guided", "shuffled_in_clas", "must be one of none, shuffled, shuffled_in_class, mean"),
    ],
)
def test_a_control_that_does_not_apply_is_refused(
    experiment: str, control: str, words: str, config: Configure, store: Store
) -> None:
    with pytest.raises(UserError, match=rf"`gaze.control` .*{words}"):
        check(config(experiment, gaze={"control": control}), store)


def test_the_control_is_in_the_file_of_the_run_and_left_out_without_one(config: Configure) -> None:
    assert "control" not in settings.to_dict(config())["gaze"]  # type: ignore[operator]
    assert settings.to_dict(config(gaze=SHUFFLED))["gaze"]["control"] == "shuffled"  # type: ignore[index,call-overload]


def test_training_cases_have_the_control_and_the_data_set_of_a_run_has_the_truth(
    config: Configure, store: Store
) -> None:
    wanted = config(gaze=SHUFFLED)
    own = collate(list(dataset(store, wanted, "train")))
    learned = collate(list(StoreData(store, wanted).train_cases))
    assert torch.equal(own.gaze_maps(), collate(list(dataset(store, config(), "train"))).gaze_maps())
    assert torch.equal(own.has_gaze, learned.has_gaze)
    assert not torch.equal(own.gaze_maps(), learned.gaze_maps())
    # A model that reads gaze is chosen by cases with the control; for others they are plain.
    reads = StoreData(store, config("gaze_input", gaze={"control": "mean"}))
    train_maps, maps = (
        collate(list(each)).gaze_maps() for each in (reads.train_cases, reads.validation_cases)
    )
    assert torch.equal(maps.amax(0), train_maps.amax(0))


def test_the_map_that_a_model_reads_is_that_of_the_control(config: Configure, store: Store) -> None:
    wanted = config("gaze_input", gaze={"control": "lungs"})
    batch = collate(list(StoreData(store, wanted).train_cases))
    _, gaze = models.inputs(models.create(wanted.model, 3).eval(), batch)
    assert torch.equal(gaze, batch.gaze_maps())
    assert gaze.flatten(1).any(1).tolist() == batch.has_gaze.tolist()
    sequences = StoreData(store, config("temporal", gaze=SHUFFLED)).train_cases
    frames, present = collate(list(sequences)).frames(models.create(config("temporal").model, 3).frames)  # type: ignore[arg-type]
    own = collate(list(dataset(store, config("temporal"), "train")))
    truth, length = own.frames(models.create(config("temporal").model, 3).frames)  # type: ignore[arg-type]
    assert sorted(present.sum(1).tolist()) == sorted(length.sum(1).tolist())
    assert not torch.equal(frames, truth)


@pytest.mark.slow
def test_a_stopped_run_with_a_control_resumes_to_the_same_bytes(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = config(gaze=SHUFFLED, input={"augment": True})
    whole = train(wanted, tmp_path / "whole")
    assert "the gaze on a case of another patient stands in for their own gaze" in capsys.readouterr().err
    own = train(config(input={"augment": True}), tmp_path / "own")
    step, calls = GazeGuided.training_step, [0]

    def interrupted(self: GazeGuided, batch: Batch, index: int) -> Tensor:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(GazeGuided, "training_step", interrupted)
        with pytest.raises(Stopped):
            train(wanted, tmp_path / "stopped")
    with pytest.raises(UserError, match=r"began with `gaze.control=shuffled` and cannot go on with none"):
        train(config(input={"augment": True}), tmp_path / "stopped", resume=True)
    resumed = train(wanted, tmp_path / "stopped", resume=True)
    bytes_of = [(run.path / "predictions.parquet").read_bytes() for run in (whole, resumed, own)]
    assert bytes_of[0] == bytes_of[1] != bytes_of[2]


def test_a_run_with_a_control_is_evaluated_with_the_true_gaze(config: Configure, tmp_path: Path) -> None:
    """Its figures are those of the same weights in a run whose configuration has no control."""
    run = train(config(gaze={"control": "lungs"}), tmp_path / "run")
    other = train(config(), tmp_path / "plain")
    for name in ("model/model.safetensors", "predictions.parquet"):
        (other.path / name).write_bytes((run.path / name).read_bytes())
    assert replace(run.config, gaze=replace(run.config.gaze, control="none")) == other.config
    found = []
    for each in (run, Run.open(other.path)):
        evaluate(each, EvaluationOptions(resamples=20, device="cpu"))
        found.append(json.loads((each.path / "metrics.json").read_text(encoding="utf-8"))["test"])
    assert found[0] == found[1]
    assert np.isfinite(found[0]["agreement"]["heatmap"]["nss"]["value"])
    both = compare([Run.open(other.path), run], CompareOptions(resamples=20))
    assert not any("Agreement" in said for said in both.notes)
    heatmaps = both.paired.filter(map="heatmap", metric="nss")
    assert heatmaps["difference"].to_list() == [0.0]
    assert [(pair.run, pair.kind) for pair in both.controls.pairs] == [("plain", "lungs")]
