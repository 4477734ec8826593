"""The generator of models that make class maps themselves: what it shows, and training through it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact, still
from tests.attribution.generator_contract import (
    images_for,
    left_as_found,
    nothing_alive_afterwards,
)
from tests.attribution.networks import Small, randomised

TARGETS = torch.tensor([2, 0, 1, 1])


@pytest.fixture(autouse=True)
def _same_numbers() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Mapped(NamedTuple):
    logits: Tensor
    mask: Tensor
    class_maps: Tensor


class Mapping(nn.Module):
    """Two convolutions and a norm to a map of each class, whose largest values are the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 5, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.act = nn.SiLU()
        self.head = nn.Conv2d(5, 3, 1)

    def forward(self, images: Tensor) -> Mapped:
        maps = self.head(self.act(self.norm(self.conv(images))))
        return Mapped(maps.amax((2, 3)), maps.mean(1, keepdim=True), maps)


def test_it_is_the_classs_own_map_through_a_sigmoid() -> None:
    model = randomised(Mapping()).eval()
    images = images_for(model, 4)
    maps = F.interpolate(model(images).class_maps, size=images.shape[-2:], mode="bilinear")
    expected = torch.stack([maps[b, k : k + 1] for b, k in enumerate(TARGETS.tolist())]).sigmoid()
    raw = attribution.create("pylon", model, normalise="none")
    torch.testing.assert_close(raw(images, TARGETS), expected)
    torch.testing.assert_close(raw(images, "true", labels=F.one_hot(TARGETS, 3)), expected)
    apart = torch.cat([raw(images[b : b + 1], int(TARGETS[b])) for b in range(4)])
    torch.testing.assert_close(apart, expected)
    predicted = model(images).logits.argmax(1)
    torch.testing.assert_close(raw(images), raw(images, predicted))
    scaled = attribution.create("pylon", model)(images, TARGETS)
    torch.testing.assert_close(scaled, expected / expected.amax((1, 2, 3), keepdim=True))


@pytest.mark.parametrize("name", ["pylon", "grad_cam", "guided_backprop"])
@pytest.mark.parametrize("training", [False, True])
def test_heatmap_loss_gradient_matches_finite_differences(name: str, training: bool) -> None:
    model = still(randomised(Mapping())).train(training)
    with torch.no_grad():
        assert model.head.bias is not None
        model.head.bias.fill_(1)  # else a class's map may be negative everywhere, and Grad-CAM's empty
    generator = attribution.create(name, model, normalise="none")
    assert_heatmap_loss_is_exact(generator, images_for(model, 3), held=training)


def test_grad_cam_where_the_scores_are_pooled_is_the_class_map_without_its_negative_part() -> None:
    model = randomised(Mapping()).eval()
    images = images_for(model, 4)
    maps = model(images).class_maps.gather(1, TARGETS.view(-1, 1, 1, 1).expand(-1, 1, 10, 9))
    expected = F.interpolate(maps.clamp(min=0) / 90, size=images.shape[-2:], mode="bilinear")
    assert expected.max() > 0
    found = attribution.create("grad_cam", model, normalise="none")(images, TARGETS)
    torch.testing.assert_close(found, expected)


def test_loss_without_the_heatmap_has_the_gradients_of_the_bare_model() -> None:
    model = randomised(Mapping()).train()
    bare, images = copy.deepcopy(model), images_for(model, 4)
    torch.autograd.backward(F.cross_entropy(bare(images).logits, TARGETS))
    with attribution.create("pylon", model).capture() as read:
        output = model(images)
        read(output, TARGETS)
    torch.autograd.backward(F.cross_entropy(output.logits, TARGETS))
    for ours, theirs in zip(model.parameters(), bare.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_maps_of_half_precision_are_float32(dtype: torch.dtype) -> None:
    model = randomised(Mapping()).float().eval()
    images, generator = images_for(model, 4), attribution.create("pylon", model)
    expected = generator(images, TARGETS)
    with torch.autocast("cpu", dtype):
        found = generator(images, TARGETS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.02)


def test_no_call_leaves_anything_behind() -> None:
    model = randomised(Mapping())
    images, generator = images_for(model, 4), attribution.create("pylon", model)

    def step() -> None:
        generator(images, TARGETS)
        with generator.capture() as read:
            output = model(images)
            heat = read(output, TARGETS)
        (output.logits.square().mean() + heat.mean()).backward()
        with suppress(ValueError):
            generator(images, lambda output: output.logits[:, 0])

    step()
    with left_as_found(model, gradients=True), nothing_alive_afterwards():
        for _ in range(5):
            step()


def test_what_has_no_map_of_a_class_is_told() -> None:
    model = randomised(Small(nn.SiLU))
    with left_as_found(model), pytest.raises(ValueError, match=r"class_maps.*this model makes none"):
        attribution.create("pylon", model)(images_for(model, 2), 1)
    with pytest.raises(ValueError, match="has no layer"):
        attribution.create("pylon", Mapping(), layer="act")
    mapping = randomised(Mapping())
    with pytest.raises(ValueError, match="its target cannot be a function"):
        attribution.create("pylon", mapping)(images_for(mapping, 2), lambda output: output.logits[:, 0])
