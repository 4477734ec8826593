"""Settings that cannot be trained are refused before the start, in a line that names field and range."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch

from radgaze import models
from radgaze.errors import UserError
from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.models.unet import UNet
from radgaze.runs.data import batches, dataset
from radgaze.store.store import Store
from radgaze.training import checks
from radgaze.training.checks import check, check_gaze, check_network
from radgaze.training.module import NonFiniteLossError
from radgaze.training.train import train
from tests.store.cohorts import make_cohort
from tests.stores import prepare
from tests.training.conftest import Configure


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seed", -1, "from 0 to 4,294,967,295"),
        ("seed", 2**32, "from 0 to 4,294,967,295"),
        ("model.dropout", 1.5, "at least 0 and below 1"),
        ("model.decoder_channels", [16, 8, 0, 4, 4], "from 1 to 8,192"),
        ("optimisation.learning_rate", -1.0, "above 0"),
        ("optimisation.learning_rate", 0.0, "above 0"),
        ("optimisation.weight_decay", -0.1, "at least 0"),
        ("optimisation.clip_at", -1.0, "above 0"),
        ("optimisation.warmup_epochs", -1.0, "at least 0"),
        ("optimisation.step_epochs", 0, "at least 1"),
        ("trainer.patience", -1, "at least 0"),
        ("objective.mask_gaze.weight", -1.0, "at least 0"),
        ("objective.heatmap.scales", [], "at least one value"),
        ("objective.heatmap.scales", [0], "at least 1"),
        ("input.size", 10**9, "from 32 to 8,192"),
        ("trainer.accelerator", "tpu", "must be one of auto, cpu"),
        ("trainer.precision", "16-true", "must be one of auto, 32-true"),
        ("gaze.sigma", 1e9, "10 times as wide as every image"),
        ("objective.heatmap.scales", [1000], "cannot be made coarser"),
    ],
)
def test_a_value_out_of_range_is_named_with_the_range(
    field: str, value: object, words: str, config: Configure, store: Store
) -> None:
    *groups, name = field.split(".")
    nested = {name: value}
    for group in reversed(groups):
        nested = {group: nested}
    with pytest.raises(UserError, match=rf"`{field}\b.*{words}"):
        check(config(**nested), store)


def test_every_default_and_every_experiment_lies_in_its_ranges(config: Configure, store: Store) -> None:
    from radgaze import experiments

    for name in experiments.names():
        for protocol in ("honest", "faithful"):
            model = {"model": {"encoder": "resnet18"}}
            if name == "rrr_another":  # it needs a store with masks of an earlier run, see tests/pseudo
                with pytest.raises(UserError, match="no masks of what an earlier run used"):
                    check(config(name, protocol, **model), store)
                continue
            check(config(name, protocol, **model), store)


@pytest.mark.parametrize("change", ["duration", "off_image"])
def test_an_experiment_guided_by_gaze_is_refused_where_no_gaze_makes_a_map(
    change: str, config: Configure, tmp_path: Path
) -> None:
    cohort = make_cohort(tmp_path / "images", cases=12, shape=(64, 64))
    changed = pl.col("duration") * 0 if change == "duration" else pl.col("x") - 1000
    column = "duration" if change == "duration" else "x"
    fixations = cohort.fixations.with_columns(changed.alias(column))
    if change == "off_image":  # as every source leaves them: a reading without a fixation
        fixations = fixations.filter(pl.col("x") > 0)
    lost = prepare(replace(cohort, fixations=fixations), tmp_path / "store", size=64, workers=1)
    for experiment in ("set3_guided", "baseline", "temporal"):
        own = {"model": {"architecture": "temporal"}} if experiment == "temporal" else {}
        with pytest.raises(UserError, match=r"none of the 8 training cases has gaze that makes a map"):
            train(replace(config(experiment, **own), data=str(lost.path)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(replace(config("no_decoder"), data=str(lost.path)), tmp_path / "unguided")


def test_fixations_of_no_duration_count_where_the_map_counts_fixations(
    tmp_path: Path, config: Configure
) -> None:
    cohort = make_cohort(tmp_path / "images", cases=12, shape=(64, 64))
    none = cohort.fixations.with_columns(duration=pl.col("duration") * 0)
    store = prepare(replace(cohort, fixations=none), tmp_path / "store", size=64, workers=1)
    weights = {}
    for weight in ("duration", "count", "reference"):
        wanted = config(gaze={"weight": weight})
        cases = dataset(store, wanted, "train")
        maps = torch.cat([batch.gaze_maps() for batch in batches(cases, 8)]).flatten(1)
        has = torch.cat([batch.has_gaze for batch in batches(cases, 8)])
        assert cases.gazed.tolist() == has.tolist()  # the data set and its batches agree
        weights[weight] = cases.with_gaze
        assert int((maps.amax(1) > maps.amin(1)).sum()) == cases.with_gaze
    assert weights["duration"] == 0 < weights["count"] == weights["reference"]


def test_little_gaze_is_told_with_its_number(
    config: Configure, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = dataset(store, config(), "train")
    monkeypatch.setattr(checks, "FEW_CASES", 1)
    assert check_gaze(config(), cases) is None
    few = cases.gazed & (cases.gazed.cumsum() <= 3)
    cases.__dict__["attended"] = few  # a cached property
    monkeypatch.setattr(checks, "FEW_CASES", 4)
    assert f"only 3 of {len(cases)} training cases have gaze" in str(check_gaze(config(), cases))
    assert check_gaze(config("no_decoder"), cases) is None


def test_a_network_that_does_not_fit_the_size_is_refused_before_training(
    config: Configure, store: Store, tmp_path: Path
) -> None:
    for encoder, size, words in (
        ("tu-test_vit", 72, "whose patches have 16 px: give a multiple of 16, such as 64 or 80"),
        ("tu-test_convnext", 48, "at 1/32 of the side: give a multiple of 32, such as 32 or 64"),
        ("tu-xcit_nano_12_p16_224", 32, "`model.encoder=tu-xcit_nano_12_p16_224` .* cannot be used"),
    ):
        wanted = config("no_decoder", model={"encoder": encoder}, input={"size": size})
        with pytest.raises(UserError, match=words):
            train(wanted, tmp_path / "run")
        assert not (tmp_path / "run" / "model").exists()


def test_a_network_whose_last_feature_map_is_one_pixel_is_evaluated_as_well(
    config: Configure, tmp_path: Path
) -> None:
    wanted = config("no_decoder", model={"encoder": "resnet18"}, trainer={"max_epochs": 1})
    run = train(wanted, tmp_path / "run")
    assert {"heatmap", "grad_cam"} <= evaluate(run, EvaluationOptions(resamples=20)).test.agreement.keys()


def test_trying_a_network_leaves_its_weights_modes_and_the_random_numbers_as_they_were(
    config: Configure, store: Store
) -> None:
    wanted = config(model={"dropout": 0.5}, input={"size": 64})
    model = models.create(wanted.model, 3, 64).train()
    assert isinstance(model, UNet)
    model.network.encoder.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, random = [m.training for m in model.modules()], torch.get_rng_state()
    check_network(model, wanted, dataset(store, wanted, "validate"))
    assert torch.equal(random, torch.get_rng_state())
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_cam_trains_through_a_head_with_drop_out(config: Configure, tmp_path: Path) -> None:
    heatmap = {"heatmap": {"generator": "cam"}}
    wanted = config(model={"dropout": 0.5}, input={"size": 64}, objective=heatmap, trainer={"max_epochs": 1})
    run = train(wanted, tmp_path / "run")
    assert run.history()["train/heatmap_gaze"].is_finite().all()


def test_a_target_that_a_generator_does_not_take_is_told_before_training(
    config: Configure, store: Store
) -> None:
    wanted = config("rrr", input={"size": 64}, objective={"heatmap": {"generator": "cam"}})
    model, cases = models.create(wanted.model, 3, 64), dataset(store, wanted, "validate")
    said = r"`objective\.heatmap\.target=all` does not work with `generator=cam`: "
    with pytest.raises(UserError, match=said):
        check_network(model, wanted, cases)


def test_windows_are_not_cut_out_for_a_network_that_reads_gaze(config: Configure, store: Store) -> None:
    with pytest.raises(UserError, match=r"perturbation` cannot be zoom: .* gaze that the model reads"):
        check(config("gat", model={"architecture": "unet_with_gaze"}), store)
    without = {"architecture": "unet_with_gaze", "without_gaze": True}
    check(config("gat", model=without), store)


@pytest.mark.parametrize("experiment", ["baseline", "set2_guided"])
def test_a_run_that_diverges_tells_so_whatever_its_edges(
    experiment: str, config: Configure, tmp_path: Path
) -> None:
    wanted = config(experiment, optimisation={"learning_rate": 1e9, "clip": "none"})
    with pytest.raises(NonFiniteLossError, match=r"not finite at step .* lower `optimisation.learning_rate`"):
        train(wanted, tmp_path / "run")


def test_a_batch_of_one_value_per_channel_is_told(config: Configure, tmp_path: Path) -> None:
    wanted = config("no_decoder", optimisation={"batch_size": 1})
    with pytest.raises(UserError, match=r"`optimisation\.batch_size` must be at least 2"):
        train(wanted, tmp_path / "run")


def test_a_run_goes_on_as_what_it_began_as(config: Configure, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(config("baseline"), out)
    for other in (
        config("set3_guided"),
        config("baseline", seed=43),
        config("baseline", objective={"gamma": 0.9}),
    ):
        with pytest.raises(UserError, match=r"began with `.*` and cannot go on with"):
            train(other, out, resume=True)
    assert train(config("baseline", trainer={"max_epochs": 3}), out, resume=True).history().height == 3


@pytest.mark.parametrize("experiment", ["icasc", "gradmask"])
def test_a_method_that_tells_two_classes_apart_refuses_a_store_of_one(
    experiment: str, config: Configure, store: Store
) -> None:
    one = replace(store, manifest={**store.manifest, "classes": list(store.classes[:1]), "exclusive": False})
    assert len(one.classes) == 1
    with pytest.raises(UserError, match="tells a class from another one"):
        check(config(experiment), one)
    check(config(experiment), store)
