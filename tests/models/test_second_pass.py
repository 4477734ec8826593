"""A second pass leaves no trace in the running statistics of a network; layers are found by their size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from radgaze import models
from radgaze.errors import UserError
from radgaze.gaze.spec import GazeMaps
from radgaze.models import freezing
from radgaze.models.layers import kept_features, layer_at
from radgaze.models.output import Output
from radgaze.models.second_pass import held_statistics, run_again
from radgaze.store.batch import Batch

TINY = models.ModelConfig(
    encoder="tu-test_efficientnet", weights="none", decoder_channels=(16, 8, 8, 4, 4), dropout=0.0
)


def batch(images: Tensor) -> Batch:
    count = len(images)
    return Batch(
        image=images,
        label=torch.eye(3)[torch.arange(count) % 3],
        points=torch.zeros(count, 0, 2),
        weights=torch.zeros(count, 0),
        sigma=torch.ones(count, 2),
        times=torch.zeros(count, 0, 2),
        order=torch.zeros(count, 0, dtype=torch.long),
        recorded=torch.zeros(count, dtype=torch.long),
        boxes=torch.zeros(count, 0, 4),
        box_class=torch.zeros(count, 0, dtype=torch.long),
        regions=torch.zeros(count, 0, 64, 64, dtype=torch.uint8),
        region_class=torch.zeros(count, 0, dtype=torch.long),
        has_gaze=torch.zeros(count, dtype=torch.bool),
        case_id=[f"case-{k}" for k in range(count)],
        patient=list(range(count)),
    )


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def normed(norm: Callable[[], nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm(), nn.SiLU(), nn.Conv2d(4, 4, 3), norm())


NORMS: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.BatchNorm2d(4),
    "of a cumulative mean": lambda: nn.BatchNorm2d(4, momentum=None),
    "without statistics": lambda: nn.BatchNorm2d(4, track_running_stats=False),
    "instance norm": lambda: nn.InstanceNorm2d(4, track_running_stats=True),
}


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_running_statistics_do_not_move_and_the_outputs_are_those_of_the_mode(
    kind: str, training: bool
) -> None:
    torch.manual_seed(0)
    model = normed(NORMS[kind])
    model.train(training)
    model(torch.rand(4, 1, 8, 8))
    before, images = state(model), torch.rand(4, 1, 8, 8) * 3
    momenta = [getattr(module, "momentum", 0) for module in model]
    with held_statistics(model):
        found = model(images)
    assert same(before, state(model))
    assert [getattr(module, "momentum", 0) for module in model] == momenta
    assert [module.training for module in model] == [training] * 5
    torch.testing.assert_close(found, model(images))
    moves = training and kind != "without statistics"
    assert same(before, state(model)) != moves  # as an ordinary pass does


def test_statistics_go_on_moving_after_an_exception() -> None:
    model = normed(NORMS["of a cumulative mean"]).train()
    model(torch.rand(4, 1, 8, 8))
    with pytest.raises(RuntimeError, match="stop"), held_statistics(model):
        raise RuntimeError("stop")
    before = state(model)
    model(torch.rand(4, 1, 8, 8))
    assert int(model.state_dict()["1.num_batches_tracked"]) == 2
    assert not same(before, state(model))


@pytest.mark.parametrize("architecture", ["unet", "classifier", "pylon"])
def test_a_second_pass_gives_the_scores_of_a_first_one_and_leaves_the_network_as_it_was(
    architecture: str,
) -> None:
    torch.manual_seed(0)
    model = models.create(models.ModelConfig(**{**vars(TINY), "architecture": architecture}), 3).train()
    images, others = torch.rand(4, 1, 64, 64), torch.rand(4, 1, 64, 64)
    first = models.forward(model, batch(images)).logits
    before = state(model)
    again = run_again(model, batch(images), others)
    assert same(before, state(model))
    torch.testing.assert_close(again.logits, models.forward(model, batch(others)).logits)
    assert not torch.equal(first, again.logits)


def test_the_features_of_each_pass_are_kept_apart_and_the_hook_is_gone_afterwards() -> None:
    model = models.create(TINY, 3).eval()
    images, others = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    with kept_features(model) as first:
        models.forward(model, batch(images))
    with kept_features(model) as second:
        run_again(model, batch(images), others)
    models.forward(model, batch(others))
    assert (len(first), len(second)) == (1, 1)
    assert isinstance(model, nn.Module)
    grey = model.get_submodule("grey")
    encoder = model.get_submodule("network.encoder")
    torch.testing.assert_close(first[0], encoder(grey(images))[-1])
    torch.testing.assert_close(second[0], encoder(grey(others))[-1])


@pytest.mark.parametrize(
    "encoder", ["tu-test_efficientnet", "timm-efficientnet-b0", "resnet18", "densenet121"]
)
@pytest.mark.parametrize("stage", [1, 2, 3, 4, 5])
def test_a_layer_named_by_its_size_makes_the_encoders_features_of_that_size(encoder: str, stage: int) -> None:
    torch.manual_seed(0)
    model = models.create(
        models.ModelConfig(architecture="classifier", encoder=encoder, weights="none"), 3
    ).eval()
    name = layer_at(model, f"1/{2**stage}")
    assert name is not None
    made: list[Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda module, args, output: made.append(output))
    images = torch.rand(1, 1, 96, 96)
    features = model.get_submodule("encoder")(model.get_submodule("grey")(images))
    torch.testing.assert_close(made[0], features[stage])
    assert made[0].shape[-1] == 96 // 2**stage


def test_a_dotted_name_stays_and_a_network_without_stages_has_no_sizes() -> None:
    class Plain(nn.Module):
        def forward(self, images: Tensor) -> Output:
            return Output(images.mean((2, 3)), None)

    assert layer_at(Plain(), "first.second") == "first.second"
    assert layer_at(Plain(), None) is None
    with pytest.raises(UserError, match="no encoder with stages"):
        layer_at(Plain(), "1/16")


@pytest.mark.parametrize("architecture", ["unet", "unet_with_gaze", "classifier"])
def test_a_second_pass_leaves_the_mode_of_each_part_as_it_is(architecture: str) -> None:
    """Norms of a frozen part are in evaluation mode while the rest is trained."""
    config = replace(TINY, architecture=architecture)
    model = models.create(config, 3).train()
    freezing.freeze(model, 1)
    freezing.hold_norms(model)
    modes = [module.training for module in model.modules()]
    assert len(set(modes)) == 2
    before, images = state(model), torch.rand(4, 1, 64, 64)
    run_again(model, replace(batch(images), spec=GazeMaps()), images)
    assert [module.training for module in model.modules()] == modes
    assert same(before, state(model))
