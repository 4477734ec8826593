"""Runs of a user's own network, from an object and from a factory: trained, resumed, opened, used."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

import radgaze as rg
from radgaze import models
from radgaze.cli import main
from radgaze.explaining.making import explain
from radgaze.models import factories
from radgaze.models.own import OwnNetwork
from radgaze.runs import settings
from radgaze.runs.vote import VoteOptions
from radgaze.runs.voting import make_vote
from radgaze.store.batch import collate
from radgaze.store.store import Store
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.own_network import with_found_parts
from tests.training.conftest import TINY
from tests.training.own_networks import SmallUNet, dense

SHORT: dict[str, Any] = {**{key: TINY[key] for key in ("input", "optimisation")}, "seed": 1}
ONE_EPOCH = {**SHORT, "trainer": {**TINY["trainer"], "max_epochs": 1}}
FACTORY = "tests.training.own_networks:unet"


@pytest.fixture(autouse=True)
def nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test trusts what another one has."""
    monkeypatch.setenv(factories.VARIABLE, "")


def network(form: str = "tuple") -> SmallUNet:
    """Make the same network each time."""
    torch.manual_seed(3)
    return SmallUNet(3, form=form)


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> rg.Run:
    """A run of a module that was given as an object."""
    config = rg.config("set3_guided", data=store, model=network(), **ONE_EPOCH)
    return rg.train(config, tmp_path_factory.mktemp("own") / "run")


@pytest.fixture(scope="module")
def of_factory(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a factory that was named on the command line."""
    out = tmp_path_factory.mktemp("own") / "run"
    before = factories._allowed()
    options = ["--input.size=32", "--optimisation.batch_size=8", "--trainer.max_epochs=1", "--seed=1"]
    options += ["--trainer.accelerator=cpu", "--trainer.logger=none", "--evaluate=false"]
    chosen = ["--experiment=set3_guided", f"--data={store.path}", f"--out={out}"]
    named = [f"--model.factory={FACTORY}", "--model.options", '{"width": 6}']
    assert main(["train", *chosen, *named, *options]) == 0
    assert FACTORY in factories._allowed()
    assert not before
    return out


def test_a_module_is_trained_on_a_copy_and_its_parts_are_recorded(run: rg.Run) -> None:
    untouched = network()
    trained = run.model()
    assert isinstance(trained, OwnNetwork)
    before, after = untouched.state_dict(), trained.network.state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(before["score.weight"], after["score.weight"])
    recorded = settings.read(run.path / "config.yaml").model
    assert (recorded.factory, recorded.channels, recorded.provides, recorded.lacks) == (
        "given",
        1,
        ("mask",),
        (),
    )


def test_a_run_of_a_module_is_opened_with_the_module_again(run: rg.Run) -> None:
    opened = rg.Run.open(run.path, model=network())
    ids = run.predictions().filter(split="test")["case_id"].to_list()
    stored = run.predictions().filter(split="test").select("^probability_.*$").to_numpy()
    predicted = opened.predict(ids)
    assert_allclose(predicted.probabilities, stored, atol=1e-6)
    assert predicted.mask is not None
    # Only the weights of the run count, not those of the module.
    other = rg.Run.open(run.path, model=lambda: SmallUNet(3)).predict(ids)
    assert_array_equal(other.probabilities, predicted.probabilities)


def test_a_run_of_a_module_says_what_to_do_where_the_module_is_missing(
    run: rg.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = rg.Run.open(run.path)
    assert opened.classes == run.classes
    with pytest.raises(rg.UserError, match="was given as an object in Python"):
        opened.model()
    for arguments in (["evaluate", str(run.path)], ["evaluate", str(run.path), "--trust"]):
        assert main(arguments) == 2
        assert "radgaze.Run.open(RUN, model=NETWORK)" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_run_of_a_module_is_evaluated_audited_and_reported(run: rg.Run, tmp_path: Path) -> None:
    results = rg.evaluate(run, resamples=20)
    assert {"heatmap", "grad_cam", "mask"} <= set(results.test.agreement)
    page = rg.report(run).read_text(encoding="utf-8")
    assert "network of its user (SmallUNet)" in page
    explained = explain(
        run, run.predictions().filter(split="test")["case_id"].to_list()[:1], tmp_path / "maps"
    )
    assert len(explained.written) == 1
    audited = rg.audit(run, methods=("guided_backprop", "grad_cam"), cases=3, probed=2, resamples=20)
    sanity = audited.table.filter(pl.col("aspect") == "sanity", pl.col("method") == "guided_backprop")
    assert sanity["value"].is_not_null().all()
    assert sanity.height


def test_a_module_is_resumed_as_if_it_had_not_stopped(store: Store, tmp_path: Path) -> None:
    def config(epochs: int) -> rg.Config:
        trainer = {**TINY["trainer"], "max_epochs": epochs}
        optimisation = {**TINY["optimisation"], "schedule": "triangular2"}  # does not depend on the epochs
        fields = {**SHORT, "trainer": trainer, "optimisation": optimisation}
        return rg.config("set3_guided", data=store, model=network(), **fields)

    whole = rg.train(config(2), tmp_path / "whole")
    rg.train(config(1), tmp_path / "parts")
    resumed = rg.train(config(2), tmp_path / "parts", resume=True)
    expected, made = (each.predictions().select("^probability_.*$").to_numpy() for each in (whole, resumed))
    assert_array_equal(made, expected)


def test_a_vote_of_runs_of_a_module_uses_it_for_each(run: rg.Run, store: Store, tmp_path: Path) -> None:
    config = rg.config("set3_guided", data=store, model=network(), **{**ONE_EPOCH, "seed": 2})
    other = rg.train(config, tmp_path / "other")
    vote = make_vote([run, other], VoteOptions(tmp_path / "vote"))
    opened = rg.Run.open(vote.path, model=network())
    ids = vote.predictions().filter(split="test")["case_id"].to_list()
    stored = vote.predictions().filter(split="test").select("^probability_.*$").to_numpy()
    assert_allclose(opened.predict(ids).probabilities, stored, atol=1e-6)
    assert_allclose(vote.voters[0].model()(torch.zeros(1, 1, 32, 32)).logits.shape, (1, 3))


def test_a_factory_makes_the_network_again_from_the_run_alone(of_factory: Path) -> None:
    recorded = settings.read(of_factory / "config.yaml").model
    assert (recorded.factory, recorded.options, recorded.architecture) == (FACTORY, {"width": 6}, "own")
    opened = rg.Run.open(of_factory, trust=True)
    ids = opened.predictions().filter(split="test")["case_id"].to_list()
    stored = opened.predictions().filter(split="test").select("^probability_.*$").to_numpy()
    assert_allclose(opened.predict(ids).probabilities, stored, atol=1e-6)


def test_each_verb_asks_for_trust_before_it_imports_the_factory(
    of_factory: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = rg.Run.open(of_factory).predictions().filter(split="test")["case_id"][0]
    verbs = {
        "evaluate": ["evaluate", str(of_factory), "--resamples=20", "--device=cpu"],
        "predict": ["predict", str(of_factory), case, f"--out={tmp_path / 'p.csv'}", "--device=cpu"],
        "explain": [
            *("explain", str(of_factory), case, f"--out={tmp_path / 'maps'}", "--device=cpu"),
            "--methods=guided_backprop,grad_cam",
        ],
        "audit": [
            *("audit", str(of_factory), f"--out={tmp_path / 'audit'}", "--methods=grad_cam"),
            *("--cases=2", "--probed=1", "--resamples=20", "--device=cpu"),
        ],
        "train": [
            *("train", f"--config={of_factory / 'config.yaml'}", f"--out={tmp_path / 'again'}"),
            "--evaluate=false",
        ],
        "resume": ["train", f"--resume={of_factory}", "--trainer.max_epochs=1", "--evaluate=false"],
    }
    for name, arguments in verbs.items():
        assert main(arguments) == 2, name
        told = " ".join(capsys.readouterr().err.split())
        assert f"made by {FACTORY}, code that is not imported" in told, name
        assert "give --trust" in told, name
    for name, arguments in verbs.items():
        assert main([*arguments, "--trust"]) == 0, name
        assert not factories.is_allowed(FACTORY), name
    assert (tmp_path / "maps").is_dir()
    first, again = (rg.Run.open(each).predictions() for each in (of_factory, tmp_path / "again"))
    assert first.equals(again)


def test_a_factory_of_a_run_is_imported_by_no_verb_that_needs_no_network(
    of_factory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = tmp_path / "foreign_network.py"
    foreign.write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    copy = tmp_path / "run"
    copy.mkdir()
    for path in ("config.yaml", "model/config.json"):
        (copy / path).parent.mkdir(exist_ok=True)
        text = (of_factory / path).read_text(encoding="utf-8").replace(FACTORY, "foreign_network:make")
        (copy / path).write_text(text, encoding="utf-8")
    for path in ("model/model.safetensors", "predictions.parquet", "store.json", "history.csv"):
        (copy / path).write_bytes((of_factory / path).read_bytes())
    opened = rg.Run.open(copy)
    assert opened.classes
    assert opened.predictions().height
    for verb in ("evaluate", "report", "predict"):
        rest = ["case", f"--out={tmp_path / 'p.csv'}"] if verb == "predict" else []
        assert main([verb, str(copy), *rest]) == 2
    assert "foreign_network" not in sys.modules


def test_a_given_module_stands_in_for_the_factory_of_a_run_which_is_not_imported(of_factory: Path) -> None:
    opened = rg.Run.open(of_factory, model=SmallUNet(3, width=6))
    assert not factories.is_allowed(FACTORY)
    assert isinstance(opened.model(), OwnNetwork)


def test_a_run_of_a_network_of_radgaze_takes_no_module(store: Store, tmp_path: Path) -> None:
    settings.write(settings.resolve("baseline", data=str(store.path)), tmp_path / "config.yaml")
    with pytest.raises(rg.UserError, match="radgaze's own unet: leave `model` out"):
        rg.Run.open(tmp_path, model=network())


def test_a_network_without_a_mask_is_told_which_experiment_it_can_have(store: Store, tmp_path: Path) -> None:
    without = {"data": store, "model": network("logits"), **ONE_EPOCH}
    with pytest.raises(rg.UserError, match=r"returns no mask, which mask_gaze.*such as set1_guided"):
        rg.train(rg.config("set3_guided", **without), tmp_path / "set3")
    assert not (tmp_path / "set3").exists()
    trained = rg.train(rg.config("set1_guided", **without), tmp_path / "set1")
    assert trained.config.model.provides == ()
    assert "mask" not in {
        name for name, each in rg.evaluate(trained, resamples=20).test.agreement.items() if each
    }


def test_a_network_without_feature_maps_has_no_grad_cam_and_each_verb_says_so(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"data": store, "model": dense, **ONE_EPOCH}
    with pytest.raises(rg.UserError, match="grad_cam makes no map of your own network"):
        rg.train(rg.config("set3_grad_cam", **fields), tmp_path / "cam")
    trained = rg.train(rg.config("set1_guided", **fields), tmp_path / "run")
    told = " ".join(capsys.readouterr().err.split())
    assert "no heatmap of it can be made by" in told
    assert {"grad_cam", "hires_cam"} <= set(trained.config.model.lacks)
    assert "guided_backprop" not in trained.config.model.lacks
    assert trained.config.model.factory == "tests.training.own_networks:dense"
    results = rg.evaluate(trained, resamples=20)
    assert results.test.agreement["heatmap"]
    assert not results.test.agreement.get("grad_cam")
    with pytest.raises(rg.UserError, match="the method grad_cam does not apply"):
        rg.audit(trained, methods=("grad_cam",), cases=2, probed=1)
    rg.report(trained)


def test_the_parameters_of_an_own_network_move_through_the_heatmap_alone(store: Store) -> None:
    # Without the margin: it is added to a map whose scale is constant in the backward pass.
    objective = {"heatmap": {"margin": 0.0}, "classification": "softmax"}
    config = rg.config("set1_guided", data=store, model=network(), objective=objective, **ONE_EPOCH)
    config = with_found_parts(config, store)
    model = models.create(config.model, 3)
    assert isinstance(model, OwnNetwork)
    cases = StoreData(store, config)
    batch = collate([cases.train_cases[i] for i in range(4)])
    batch = replace(batch, image=batch.image.double())
    model.double()
    module = GazeGuided(model, config, 3).eval()

    def loss() -> torch.Tensor:
        torch.manual_seed(0)
        return module.terms(batch)["heatmap_gaze"]

    torch.autograd.backward(loss())
    net = model.network
    assert isinstance(net, SmallUNet)
    moved = {name for name, value in net.named_parameters() if value.grad is not None and value.grad.any()}
    assert {"features.0.weight", "features.3.weight", "score.weight"} <= moved
    assert not {"mask.weight", "mask.bias"} & moved
    # Against a central difference along the gradient itself.
    conv = net.features[0].weight
    assert isinstance(conv, nn.Parameter)
    gradient = conv.grad
    assert gradient is not None
    step = 1e-7 * gradient / gradient.norm()  # so small that no activation changes its sign
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            conv.add_(sign * step)
        values.append(float(loss().detach()))
        with torch.no_grad():
            conv.sub_(sign * step)
    assert_allclose((values[0] - values[1]) / 2, float((gradient * step).sum()), rtol=0.02)


def test_a_resolved_configuration_takes_only_a_network(store: Store) -> None:
    with pytest.raises(rg.UserError, match=r"must be settings, a torch.nn.Module or a function"):
        rg.config("set3_guided", data=store, model=3)
    with pytest.raises(rg.UserError, match="reads gaze"):
        rg.config("temporal", data=store, model=network())
    with_options = rg.config("set3_guided", data=store, model={"factory": network(), "channels": 1})
    assert with_options.model.channels == 1
    assert replace(with_options.model, weights="none") == with_options.model


class Ended(nn.Module):
    """A network whose scores and mask go through functions at the end."""

    def __init__(self, scores: nn.Module, mask: nn.Module) -> None:
        super().__init__()
        self.inner, self.scores, self.mask = network(), scores, mask

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        logits, mask = self.inner(images)
        return {"logits": self.scores(logits), "mask": self.mask(mask)}


SAME, ENLARGED = nn.Identity(), nn.Upsample(scale_factor=4, mode="bilinear")


@pytest.mark.parametrize(
    ("scores", "mask", "told"),
    [
        (SAME, SAME, []),
        (nn.LogSoftmax(1), SAME, []),
        (nn.Softmax(1), SAME, ["scores that went through a softmax"]),
        (
            nn.Sigmoid(),
            nn.Sigmoid(),
            ["scores that went through a sigmoid", "a mask that went"],
        ),
        (SAME, nn.Sequential(nn.Sigmoid(), ENLARGED), ["a mask that went through a sigmoid"]),
        (SAME, nn.Sequential(nn.Sigmoid(), nn.Conv2d(1, 1, 1)), []),
    ],
)
def test_probabilities_in_place_of_logits_are_warned_of(
    store: Store, scores: nn.Module, mask: nn.Module, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    config = rg.config("set3_guided", data=store, model=Ended(scores, mask), **ONE_EPOCH)
    with_found_parts(config, store)
    notices = [each.getMessage() for each in caplog.records if "logits are expected" in each.getMessage()]
    assert len(notices) == len(told)
    assert all("(Ended)" in notice and words in notice for notice, words in zip(notices, told, strict=True))


def test_small_values_of_a_mask_are_no_probabilities(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    small = network()
    nn.init.zeros_(small.mask.weight)
    small.mask.bias = nn.Parameter(torch.full((1,), 0.5))
    with_found_parts(rg.config("set3_guided", data=store, model=small, **ONE_EPOCH), store)
    assert not any("logits are expected" in each.getMessage() for each in caplog.records)


def test_a_message_names_the_class_of_a_network_that_was_given(store: Store) -> None:
    config = rg.config("set3_guided", data=store, model=SmallUNet(7), **ONE_EPOCH)
    with pytest.raises(rg.UserError, match=r"^your network \(SmallUNet\): .*7\) for 3 classes"):
        with_found_parts(config, store)
    failing = rg.config("set3_guided", data=store, model=lambda: 1 / 0, **ONE_EPOCH)
    with pytest.raises(rg.UserError, match=r"^your network \(<lambda>\), called with \(\), failed"):
        with_found_parts(failing, store)
