"""Further heatmaps and terms in training: what a step computes, a stopped run, and mistakes in settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import lightning as L
import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from radgaze import models
from radgaze.cli import main
from radgaze.errors import Stopped, UserError
from radgaze.objectives.config import ObjectiveConfig
from radgaze.objectives.heatmaps import Heatmaps, Targets
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.store.batch import Batch
from radgaze.store.store import Store
from radgaze.training import factors
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.training.conftest import Configure

SECOND_PASS = (
    "gain",
    "gain_ext",
    "saliency_guided",
    "adversarial_erasing",
    "actdiff",
    "gat",
    "gaze_kept",
)
"""The experiments that run the model on perturbed images."""

BOTH_LAYERS: dict[str, object] = {
    "heatmaps": {
        "inner": {"generator": "grad_cam", "layer": "1/16", "match": "none"},
        "confused": {"generator": "grad_cam", "target": "runner_up"},
    },
    "terms": {
        "apart": {
            "weight": 0.25,
            "kind": "edge",
            "schedule": "linear(0 -> 1, until 0.5)",
            "options": {"first": "inner", "second": "confused", "distance": "one_minus_cc"},
        }
    },
}


def module_of(config: Config, store: Store) -> GazeGuided:
    torch.manual_seed(0)
    return GazeGuided(models.create(config.model, len(store.classes)), config, len(store.classes)).train()


def batch_of(config: Config, store: Store) -> Batch:
    batch: Batch = next(iter(StoreData(store, config).train_dataloader()))
    return batch


def buffers(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.named_buffers()}


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("protocol", ["honest", "faithful"])
@pytest.mark.parametrize("experiment", SECOND_PASS)
def test_an_experiment_that_runs_the_model_again_trains_and_moves_every_parameter(
    experiment: str, protocol: str, config: Configure, store: Store
) -> None:
    gaze = {"weight": "duration", "sigma": 0.05, "unit": "share"}  # narrower than these images
    wanted = config(experiment, protocol, objective={"classification": "softmax"}, gaze=gaze)
    module, batch = module_of(wanted, store), batch_of(wanted, store)
    values = module.terms(batch)
    assert values.keys() == {"classification", *wanted.objective.weights}
    for name, value in values.items():
        module.zero_grad()
        torch.autograd.backward(value, retain_graph=True)
        gradients = [p.grad for p in module.model.parameters() if p.grad is not None]
        assert value.isfinite()
        assert gradients, name
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients), name


@pytest.mark.parametrize("experiment", SECOND_PASS)
def test_running_statistics_after_a_step_are_those_of_a_plain_one(
    experiment: str, config: Configure, store: Store
) -> None:
    """Published code lets them move in the second pass, or in validation."""
    wanted = config(experiment, objective={"classification": "softmax"}, model={"dropout": 0.0})
    module, plain, batch = module_of(wanted, store), module_of(wanted, store), batch_of(wanted, store)
    before = buffers(plain)
    torch.autograd.backward(torch.stack(list(module.terms(batch).values())).sum())
    models.forward(plain.model, batch)
    assert same(buffers(module), buffers(plain))
    assert not same(buffers(plain), before)


def test_validation_moves_no_statistics(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, steps = GazeGuided.validation_step, [0]

    def watched(self: GazeGuided, batch: Batch, index: int) -> None:
        before = buffers(self.model)
        step(self, batch, index)
        assert not any(module.training for module in self.model.modules())
        assert same(buffers(self.model), before)
        steps[0] += 1

    monkeypatch.setattr(GazeGuided, "validation_step", watched)
    train(config("gain", trainer={"max_epochs": 1}), tmp_path / "run")
    assert steps[0] > 0


class Precisions(TorchFunctionMode):
    """Note the types that convolutions compute in."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.dtype] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if func in (torch.conv2d, F.conv2d):
            self.seen.append(result.dtype)
        return result


@pytest.mark.parametrize("autocast", [True, False])
def test_the_second_pass_has_the_precision_of_the_first(
    autocast: bool, config: Configure, store: Store
) -> None:
    wanted = config("actdiff", objective={"classification": "softmax"})
    module, batch = module_of(wanted, store), batch_of(wanted, store)
    with Precisions() as precisions, torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        values = module.terms(batch)
    convolutions = sum(isinstance(each, nn.Conv2d) for each in module.model.modules())
    assert len(precisions.seen) == 2 * convolutions
    assert set(precisions.seen) == {torch.bfloat16 if autocast else torch.float32}
    assert values["activation_difference"].dtype == torch.float32


def test_several_heatmaps_of_one_pass_are_those_of_a_pass_each(config: Configure, store: Store) -> None:
    goal = {**BOTH_LAYERS, "classification": "softmax", "heatmap_gaze": {"weight": 1.0}}
    wanted = config("set3_grad_cam", objective=goal, model={"dropout": 0.0})
    batch, together = batch_of(wanted, store), {}
    for names in (("heatmap", "inner", "confused"), ("heatmap",), ("inner",), ("confused",)):
        module = module_of(wanted, store)
        objective = module.config.objective
        if len(names) == 1:  # the same settings, as the only heatmap
            own = objective.heatmap_config(names[0])
            term = settings.resolve("baseline", objective=goal).objective.heatmap_gaze
            objective = ObjectiveConfig(classification="softmax", heatmap=own, heatmap_gaze=term)
        heatmaps = Heatmaps(module.model, objective)
        with heatmaps.capture(module.model) as read:
            output = models.forward(module.model, batch)
            made = read(output, Targets(output, batch.label, "softmax"))
        if len(names) > 1:
            together = made
            assert set(made) == set(names)
        else:
            torch.testing.assert_close(made["heatmap"], together[names[0]], rtol=1e-5, atol=1e-7)
    maps = [each.flatten(1) for each in together.values()]
    assert not any(torch.allclose(maps[i], maps[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_one_class_is_drawn_for_all_heatmaps_of_a_step(config: Configure, store: Store) -> None:
    twice: dict[str, object] = {
        "classification": "sigmoid",
        "heatmaps": {"second": {"generator": "grad_cam"}},
        "heatmap_gaze": {"weight": 1.0},
        "terms": {"same": {"kind": "edge", "options": {"first": "second", "second": "heatmap"}}},
    }
    wanted = config("set3_grad_cam", objective=twice)
    batch = batch_of(wanted, store)
    batch.label[:] = 1.0  # each case has all classes
    module = module_of(wanted, store)
    seen = set()
    for _ in range(5):
        with module.heatmaps.capture(module.model) as read:
            output = models.forward(module.model, batch)
            targets = Targets(output, batch.label, "sigmoid")
            made = read(output, targets)
        assert torch.equal(made["heatmap"], made["second"])
        assert torch.equal(targets.classes("true"), targets.classes("true"))
        seen.add(tuple(targets.classes("true").tolist()))
    assert len(seen) > 1  # but drawn again in each step


@pytest.mark.parametrize("classification", ["softmax", "sigmoid"])
def test_the_target_of_all_classes_is_the_sum_of_their_log_probabilities(classification: str) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    output = models.Output(logits, None)
    found = Targets(output, torch.eye(3)[[0, 1, 2, 0]], classification).all_classes(output)
    p = logits.double().softmax(1) if classification == "softmax" else logits.double().sigmoid()
    expected = p.log().sum(1) if classification == "softmax" else (p.log() + (1 - p).log()).sum(1)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_stopped_run_with_balanced_terms_and_schedules_resumes_to_the_same_bytes(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factors, "STEPS", 5)  # two epochs and a half, of two steps each
    goal: dict[str, object] = {
        "gamma_schedule": "linear(1 -> 0.5)",
        "heatmap_gaze": {"balance": "start"},
        "terms": {"attention_mining": {"balance": "start", "schedule": "warmup(0.4)"}},
    }
    wanted = config("gain_ext", objective=goal, trainer={"max_epochs": 5})
    whole = train(wanted, tmp_path / "whole")
    step, calls = GazeGuided.training_step, [0]

    def interrupted(self: GazeGuided, batch: Batch, index: int) -> Tensor:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return step(self, batch, index)

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(GazeGuided, "training_step", interrupted)
        with pytest.raises(Stopped):
            train(wanted, out)
    kept = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["factors"]
    assert kept["steps of heatmap_gaze"] == kept["steps of attention_mining"] == 2
    resumed = train(wanted, out, resume=True)
    assert resumed.history().drop("seconds").equals(whole.history().drop("seconds"))
    files = [(run.path / "predictions.parquet").read_bytes() for run in (resumed, whole)]
    assert files[0] == files[1]


def test_a_step_counts_for_the_balance_of_the_terms_that_have_cases_in_it(
    config: Configure, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`terms` gives 0 for a term without a case, which is no value of it."""
    goal: dict[str, object] = {
        "heatmap_gaze": {"balance": "start"},
        "terms": {
            "attention_mining": {"balance": "start"},
            "boxes": {
                "kind": "edge",
                "balance": "start",
                "options": {"first": "heatmap", "second": "boxes"},
            },
        },
    }
    wanted = config("gain_ext", objective=goal)
    module, batch = module_of(wanted, store), batch_of(wanted, store)
    monkeypatch.setattr(GazeGuided, "_progress", lambda self: 0.0)
    monkeypatch.setattr(GazeGuided, "log", lambda self, *args, **options: None)
    module.trainer = cast(L.Trainer, SimpleNamespace(world_size=1))
    assert batch.has_gaze.any()
    batch.boxes[:] = 0  # no box has an area
    for has_gaze in (True, False, True, False, False):
        batch.has_gaze[:] = has_gaze
        module.training_step(batch, 0)
    state = module.factors.state()
    steps = {name.removeprefix("steps of "): n for name, n in state.items() if name.startswith("steps of ")}
    assert steps == {"heatmap_gaze": 2, "attention_mining": 5, "boxes": 0}


def test_a_checkpoint_whose_balance_is_no_number_is_refused(config: Configure, tmp_path: Path) -> None:
    wanted = config(
        "gain", objective={"terms": {"attention_mining": {"balance": "start"}}}, trainer={"max_epochs": 1}
    )
    run = train(wanted, tmp_path / "run")
    for name in ("last", "before-last"):
        path = run.path / "checkpoints" / f"{name}.ckpt"
        if path.is_file():
            content = torch.load(path, weights_only=True)
            content["factors"]["steps of attention_mining"] = "many"
            torch.save(content, path)
    with pytest.raises(UserError, match=r"last\.ckpt"):
        train(wanted, run.path, resume=True)


def test_a_configuration_with_heatmaps_and_terms_survives_its_file(tmp_path: Path) -> None:
    config = settings.resolve("gat", objective={**BOTH_LAYERS, "gamma_schedule": "linear(1 -> 0.5)"})
    settings.write(config, tmp_path / "config.yaml")
    again = settings.read(tmp_path / "config.yaml")
    assert again == config
    assert again.objective.terms["windows"].options["sides"] == [0.82, 0.57, 0.41]
    settings.write(again, tmp_path / "again.yaml")
    assert (tmp_path / "again.yaml").read_bytes() == (tmp_path / "config.yaml").read_bytes()


@pytest.mark.parametrize("name", ["baseline", "no_decoder", "set3_guided", "pylon", "temporal"])
def test_fields_of_further_terms_are_left_out_of_the_files_of_runs_without(name: str, tmp_path: Path) -> None:
    settings.write(settings.resolve(name), tmp_path / "config.yaml")
    goal = yaml.safe_load((tmp_path / "config.yaml").read_text())["objective"]
    edge = {"weight", "distance"}
    heatmap = {
        *("generator", "readout", "target", "match", "cells", "normalise", "margin", "compiled", "scales")
    }
    assert set(goal) == {"gamma", "classification", "mask_gaze", "heatmap_gaze", "mask_heatmap", "heatmap"}
    assert (set(goal["mask_gaze"]), set(goal["heatmap"])) == (edge, heatmap)


def test_resolving_changes_nothing_that_was_given() -> None:
    given: dict[str, object] = {"terms": {"attention_mining": {"weight": 0.5}}}
    first, second = (settings.resolve("gain", objective=given) for _ in range(2))
    assert given == {"terms": {"attention_mining": {"weight": 0.5}}}
    assert first == second
    assert first.objective.terms["attention_mining"].kind == "perturbed"
    assert first.objective.terms["attention_mining"].options["compare"] == "probability"


TERM, MAP = "objective.terms.x", "objective.heatmaps.h"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({f"{TERM}.kind": "mixture"}, f"--{TERM}.kind must be one of edge, auxiliary, perturbed"),
        (
            {f"{TERM}.weight": "2"},
            f"--{TERM} has no kind, and the experiment gain has the terms attention_mining",
        ),
        ({f"{TERM}.weight": "many", f"{TERM}.kind": "edge"}, f"--{TERM}.weight must be a number, got many"),
        ({"objective.terms.attention_mining.weight": "-1"}, "weight must be at least 0, got -1.0"),
        (
            {"objective.terms.attention_mining.weigth": "1"},
            "no field 'objective.terms.attention_mining.weigth'",
        ),
        (
            {"objective.terms.attention_mining.schedule": "ramp(1)"},
            "schedule is no schedule: must be constant",
        ),
        (
            {"objective.terms.attention_mining.balance": "always"},
            "balance must be one of given, start, got always",
        ),
        (
            {"objective.terms.attention_mining.options.by": "liver"},
            "names the map 'liver'; there are mask, gaze",
        ),
        (
            {"objective.terms.attention_mining.options.fil": "mean"},
            "has no 'fil'; perturbed has by, perturbation",
        ),
        ({"objective.terms.attention_mining.options.fill": "grey"}, "Input should be 'black'"),
        (
            {"objective.terms.attention_mining.options.share": "1"},
            "options.share must be above 0 and below 1, got 1",
        ),
        (
            {"objective.terms.attention_mining.options.sides": "[]"},
            "options.sides must have at least one value",
        ),
        ({"objective.terms.attention_mining.options.compare": "features"}, None),
        ({"objective.terms.gamma.kind": "edge"}, "--objective.terms.gamma is the name of a term that exists"),
        ({"objective.terms.loss.kind": "edge"}, "--objective.terms.loss is the name of a term that exists"),
        ({f"{TERM}.kind": "auxiliary"}, "the term x: the model has no auxiliary classifier"),
        ({f"{TERM}.kind": "edge", f"{TERM}.options.first": "mask"}, "has no mask for the edge x"),
        (
            {f"{TERM}.kind": "edge", f"{TERM}.options.first": "gaze"},
            "options.first must be a map that learns",
        ),
        ({f"{TERM}.kind": "edge", f"{TERM}.options.distance": "far"}, "options.distance must be one of "),
        ({f"{TERM}.kind": "edge", f"{TERM}.options.within": "gaze"}, "the distance kl weights no places"),
        (
            {f"{TERM}.kind": "edge", f"{TERM}.options.parameters": "{power: 2}"},
            "parameters has no 'power'; the options of kl are none",
        ),
        (
            {f"{MAP}.generator": "oracle", f"{TERM}.kind": "edge", f"{TERM}.options.first": "h"},
            "guided_backprop",
        ),
        ({f"{MAP}.generator": "grad_cam"}, f"--{MAP} is used by no term; name it in the options of one"),
        ({f"{MAP}.margin": "0.7"}, f"--{MAP}.margin must be at least 0 and below 0.5, got 0.7"),
        (
            {f"{MAP}.target": "none"},
            f"--{MAP}.target must be one of true, predicted, ",
        ),
        ({f"{MAP}.match": "pool", f"{MAP}.cells": "400"}, f"--{MAP}.cells must be at most the 32 px"),
        (
            {"objective.heatmaps.mask.margin": "0"},
            "--objective.heatmaps.mask is the name of a heatmap that exists",
        ),
        (
            {f"{MAP}.layer": "1/3", f"{MAP}.generator": "grad_cam", f"{TERM}.kind": "edge"}
            | {f"{TERM}.options.first": "h"},
            f"--{MAP}.layer 1/3 does not work with this network: ",
        ),
        (
            {f"{MAP}.channel_weights": "held", f"{TERM}.kind": "edge", f"{TERM}.options.first": "h"},
            f"--{MAP}.channel_weights cannot be held: guided_backprop has no such weights",
        ),
        ({"objective.gamma_schedule": "linear(1 -> 3)"}, "--objective.gamma_schedule must leave γ at most 1"),
        ({"objective.terms": "3"}, "--objective.terms is not made of names and values"),
        ({"objective.mask_gaze.weight": "1"}, "no mask for the edge mask_gaze"),
        (
            {"objective.mask_heatmap.weight": "1", "objective.heatmap_gaze.weight": "1"},
            "has no mask for the edge mask_heatmap",
        ),
        (
            {"objective.heatmap.layer": "encoder.nowhere", "objective.heatmap_gaze.weight": "1"},
            "--objective.heatmap.layer encoder.nowhere does not work with this network: ",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_mistake_in_a_heatmap_or_term_is_told_in_one_line_before_anything_is_written(
    arguments: Mapping[str, str],
    said: str | None,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tiny = ["--model.encoder=tu-test_efficientnet", "--model.weights=none", "--input.size=32"]
    trainer = ["--trainer.accelerator=cpu", "--trainer.logger=none", "--trainer.max_epochs=1"]
    out = ["--experiment=gain", "--data", str(store.path), "--out", str(tmp_path / "run"), "--evaluate=false"]
    given = [f"--{name}={value}" for name, value in arguments.items()]
    code = main(["train", *out, *tiny, *trainer, "--optimisation.batch_size=8", *given])
    told = capsys.readouterr().err.strip()
    if said is None:
        assert code == 0
        return
    assert code == 2
    assert said in told.splitlines()[-1]
    assert not (tmp_path / "run").exists()
    assert "Traceback" not in told
