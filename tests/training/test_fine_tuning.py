"""Training of a part of an encoder: blocks, learning rates by depth, LoRA, and heatmaps of a frozen one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from radgaze import models
from radgaze.errors import UserError
from radgaze.models import factories, freezing, lora
from radgaze.models.blocks import depths
from radgaze.models.config import ModelConfig
from radgaze.runs import settings
from radgaze.runs.config import Config, OptimisationConfig
from radgaze.store.batch import Batch, collate
from radgaze.store.store import Store
from radgaze.training import fine_tuning, optimiser
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.train import train
from tests.training.conftest import Configure

COUNTS = {
    "tu-test_vit": 6,
    "tu-swin_tiny_patch4_window7_224": 4,
    "tu-test_convnext": 4,
    "tu-test_maxvit": 4,
    "tu-test_efficientnet": 5,
    "tu-densenet121": 4,
    "densenet121": 4,
    "resnet18": 4,
    "tu-resnet10t": 4,
    "timm-efficientnet-b0": 7,
    "efficientnet-b0": 16,
}
"""Blocks or stages of encoders, as their authors count them."""


def classifier(encoder: str = "tu-test_vit", size: int = 32) -> nn.Module:
    torch.manual_seed(0)
    return models.create(ModelConfig(architecture="classifier", encoder=encoder, weights="none"), 3, size)


@pytest.fixture
def batch(store: Store, config: Configure) -> Batch:
    """Eight cases of 32 px."""
    cases = StoreData(store, config("baseline")).train_cases
    return collate([cases[i] for i in range(8)])


def moved(model: nn.Module, wanted: Config, batch: Batch, steps: int = 2) -> set[str]:
    """The names of the parameters and buffers that some training steps change; all stay finite."""
    module = GazeGuided(model, wanted, 3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rule = torch.optim.AdamW(optimiser.groups(model, wanted.optimisation), lr=1e-2)
    for _ in range(steps):
        rule.zero_grad()
        torch.autograd.backward([sum(module.terms(batch).values(), torch.zeros(()))])
        rule.step()
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(("encoder", "count"), COUNTS.items())
def test_the_blocks_of_an_encoder_are_encoder_depths_in_their_order(encoder: str, count: int) -> None:
    model = classifier(encoder)
    encoder_depths = depths(model)
    assert encoder_depths is not None
    assert encoder_depths.count == count
    assert set(encoder_depths.by_name) == {
        name for name, _ in model.named_parameters() if name.startswith("encoder.")
    }
    assert set(range(count + 1)) <= set(encoder_depths.by_name.values()) <= set(range(count + 2))
    stem = [name for name, depth in encoder_depths.by_name.items() if depth == 0]
    assert any("stem" in name or "conv" in name or "patch_embed" in name for name in stem)
    assert not any(f"blocks.{k}." in name or f"layer{k + 1}" in name for name in stem for k in range(9))
    order = list(encoder_depths.by_name.values())
    assert order == sorted(order)


@pytest.mark.parametrize("encoder", ["tu-test_vit", "tu-test_efficientnet"])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_only_the_last_blocks_and_what_follows_are_changed_by_training(
    encoder: str, count: int, config: Configure, batch: Batch
) -> None:
    wanted = config("baseline", model={"encoder": encoder, "unfreeze": count})
    model = models.create(wanted.model, 3, 32)
    encoder_depths = depths(model)
    assert encoder_depths is not None
    fine_tuning.prepare(model, wanted)
    changed = moved(model, wanted, batch)
    encoders = {name for name, _ in model.named_parameters() if ".encoder." in name}
    trained = {
        name
        for name, depth in encoder_depths.by_name.items()
        if count and depth > encoder_depths.count - count
    }
    assert changed & encoders == trained
    assert {name for name, _ in model.named_parameters()} - encoders <= changed
    # Statistics of batch norms of frozen parts do not move either.
    statistics = {name for name in changed - encoders if ".encoder." in name}
    depth_of = {name.rpartition(".")[0]: depth for name, depth in encoder_depths.by_name.items()}
    assert all(depth_of[name.rpartition(".")[0]] > encoder_depths.count - count for name in statistics)
    assert bool(statistics) == (encoder == "tu-test_efficientnet" and count > 0)


def test_batch_norms_of_frozen_parts_stay_in_evaluation_mode() -> None:
    model = classifier("tu-test_efficientnet")
    freezing.freeze(model, 1)
    module = GazeGuided(model, settings.resolve("no_decoder"), 3).train()
    norms = {name: m for name, m in module.named_modules() if isinstance(m, nn.BatchNorm2d)}
    modes = {name: norm.training for name, norm in norms.items()}
    assert modes == {name: next(norm.parameters()).requires_grad for name, norm in norms.items()}
    assert set(modes.values()) == {True, False}
    module.eval()
    assert not any(norm.training for norm in norms.values())


def test_learning_rates_fall_from_the_head_to_the_stem_as_in_a_table() -> None:
    model = classifier("tu-test_vit")
    made = optimiser.groups(model, OptimisationConfig(learning_rate=0.001, layer_decay=0.5))
    rate = {id(p): group["lr"] for group in made for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in made for p in group["params"]}
    table = {
        "head.1.weight": 0.001,
        "encoder.model.norm.weight": 0.001,
        "encoder.model.blocks.5.mlp.fc2.weight": 0.0005,
        "encoder.model.blocks.4.attn.qkv.weight": 0.00025,
        "encoder.model.blocks.3.norm1.bias": 0.000125,
        "encoder.model.blocks.2.attn.qkv.bias": 0.0000625,
        "encoder.model.blocks.1.attn.proj.weight": 0.00003125,
        "encoder.model.blocks.0.mlp.fc1.weight": 0.000015625,
        "encoder.model.patch_embed.proj.weight": 0.0000078125,
        "encoder.model.cls_token": 0.0000078125,
        "encoder.model.pos_embed": 0.0000078125,
    }
    named = dict(model.named_parameters())
    assert {name: rate[id(named[name])] for name in table} == pytest.approx(table)
    assert sorted(rate) == sorted(id(p) for p in model.parameters())
    assert all((decay[id(p)] == 0) == (p.dim() <= 1) for p in model.parameters())
    assert made[0]["lr"] == 0.001  # the one that history.csv has


def test_without_layer_decay_the_optimiser_is_as_ever() -> None:
    model = classifier("tu-test_efficientnet")
    for kind, count in (("adamw", 2), ("adam", 1)):
        made = optimiser.groups(model, OptimisationConfig(optimiser=kind))  # type: ignore[arg-type]
        assert len(made) == count
        assert not any("lr" in group for group in made)
    layered = optimiser.groups(model, OptimisationConfig(optimiser="adam", layer_decay=0.8))
    assert [group["lr"] for group in layered] == sorted((group["lr"] for group in layered), reverse=True)
    assert not any("weight_decay" in group for group in layered)


@pytest.mark.parametrize(
    ("experiment", "changes", "words"),
    [
        ("set3_guided", {"model": {"unfreeze": 0}}, "the heatmap of a frozen encoder cannot be guided"),
        ("baseline", {"model": {"unfreeze": 9}}, "is more than the 5 blocks of the encoder: give at most 5"),
        (
            "baseline",
            {"model": {"unfreeze": 2, "encoder": "vgg11_bn"}},
            "structure of this one does not tell them",
        ),
        (
            "baseline",
            {"optimisation": {"layer_decay": 0.7}, "model": {"encoder": "vgg11_bn"}},
            "`optimisation.layer_decay=0.7` needs the blocks",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_training(
    experiment: str, changes: dict[str, Any], words: str, config: Configure, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        train(config(experiment, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unfreeze": -1}, "`model.unfreeze` must be a number of blocks or all, got -1"),
        ({"unfreeze": 2, "lora_rank": 4}, "has no effect with `model.lora_rank`"),
        ({"unfreeze": 2, "architecture": "unet_with_gaze"}, "must learn to read gaze"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        settings.resolve("baseline", model=changes)


def test_an_own_network_that_is_frozen_but_for_its_head_cannot_be_guided(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(factories.VARIABLE, factories.EVERY)
    network = {"factory": "tests.training.own_networks:of_tokens", "options": {"trained": False}}
    own = {"model": {**network, "encoder": "own"}}
    with pytest.raises(UserError, match="no weight in front of the network's last layer is trained"):
        train(config("set1_guided", **own), tmp_path / "run")
    with pytest.raises(UserError, match="put a head on its last_hidden_state"):
        train(
            config("no_decoder", model={"factory": "tests.training.own_networks:headless"}), tmp_path / "run"
        )


def test_blocks_of_an_own_network_are_encoder_depths_and_its_head_stays_trained(
    config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(factories.VARIABLE, factories.EVERY)
    own = ModelConfig(factory="tests.training.own_networks:of_tokens", channels=3)
    model = models.create(own, 3, 32)
    freezing.freeze(model, 1)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name.split(".layers.")[0] for name in trained if ".layers." not in name} == {
        "network.encoder.encoder.norm.weight",
        "network.encoder.encoder.norm.bias",
        "network.head.weight",
        "network.head.bias",
    }
    assert {name.split(".layers.")[1][0] for name in trained if ".layers." in name} == {"2"}


def test_a_run_of_the_last_blocks_with_layer_decay_is_trained_and_loaded(
    config: Configure, tmp_path: Path
) -> None:
    wanted = config(
        "set1_guided", model={"unfreeze": 2}, optimisation={"layer_decay": 0.8}, trainer={"max_epochs": 1}
    )
    run = train(wanted, tmp_path / "run")
    stored = settings.read(run.path / "config.yaml")
    assert (stored.model, stored.optimisation) == (wanted.model, wanted.optimisation)
    model, _ = models.load(run.path / "model")
    assert all(p.requires_grad for p in model.parameters())
    assert run.history()["learning_rate"][0] <= wanted.optimisation.learning_rate


def test_a_run_of_a_plain_transformer_is_trained_and_loaded(config: Configure, tmp_path: Path) -> None:
    wanted = config("set3_guided", model={"encoder": "tu-test_vit"}, trainer={"max_epochs": 1})
    run = train(wanted, tmp_path / "run")
    model, classes = models.load(run.path / "model")
    assert model(torch.rand(1, 1, 32, 32)).logits.shape == (1, len(classes))


def test_a_term_of_windows_of_other_sizes_than_the_encoder_takes_is_refused(
    config: Configure, tmp_path: Path
) -> None:
    wanted = config("gat", model={"encoder": "tu-test_maxvit"}, input={"size": 96})
    with pytest.raises(UserError, match=r"no images of other sizes than `input\.size=96`"):
        train(wanted, tmp_path / "run")


def test_lora_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"needs the library peft: install the extra, radgaze\[lora\]"):
        lora.add(classifier(), 4, 32)


@pytest.mark.parametrize("encoder", ["tu-test_vit", "tu-test_convnext", "tu-beit_base_patch16_224"])
def test_lora_trains_additions_alone_and_is_merged_into_the_weights(encoder: str) -> None:
    pytest.importorskip("peft")
    model, images = classifier(encoder).eval(), torch.rand(2, 1, 32, 32)
    plain, expected = set(model.state_dict()), model(images).logits
    lora.add(model, 2, 32)
    torch.testing.assert_close(model(images).logits, expected)  # B is 0
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name in trained if "lora_" not in name} == {
        name for name in plain if name.startswith("head.")
    }
    model(images).logits.square().sum().backward()
    additions = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in additions)  # also where a transformer bypasses its layers
    with torch.no_grad():
        for parameter in additions:
            parameter.add_(0.05 * torch.randn_like(parameter))
    changed: Tensor = model(images).logits
    assert not torch.allclose(changed, expected, atol=1e-3)
    lora.merge(model)
    assert set(model.state_dict()) == plain
    torch.testing.assert_close(model(images).logits, changed, rtol=1e-4, atol=1e-5)


def test_lora_needs_linear_layers() -> None:
    pytest.importorskip("peft")
    with pytest.raises(UserError, match="the blocks of this encoder have none"):
        lora.add(classifier("resnet18"), 4, 32)


def test_a_run_with_lora_is_stored_without_it(
    config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("peft")
    wanted = config(
        "set3_guided", model={"encoder": "tu-test_convnext", "lora_rank": 2}, trainer={"max_epochs": 1}
    )
    run = train(wanted, tmp_path / "run")
    monkeypatch.setitem(sys.modules, "peft", None)
    model, _ = models.load(run.path / "model")
    assert not any("lora" in name for name in model.state_dict())
