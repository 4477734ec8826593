"""Networks that compute activations again have the maps and gradients of those that keep them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from radgaze import attribution
from tests.attribution.generator_contract import images_for, left_as_found, nothing_alive_afterwards
from tests.attribution.networks import Checkpointed, Small, gradients, randomised

TARGETS = torch.tensor([2, 0, 1, 1])
Run = Callable[[nn.Sequential, Tensor], Tensor]


class Stages(nn.Module):
    """Three stages, run in one way or another; the first ends with a layer that is no step of ours."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(), nn.MaxPool2d(2)),
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.SiLU(inplace=True)),
            nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.PReLU(4), nn.AvgPool2d(2), nn.GELU()),
        )
        self.head, self.run = nn.Linear(4, 3), run

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.run(self.stages, images).mean((2, 3)))
        return logits


def kept(stages: nn.Sequential, x: Tensor) -> Tensor:
    maps: Tensor = stages(x)
    return maps


def each(stages: nn.Sequential, x: Tensor) -> Tensor:
    for stage in stages:
        x = checkpoint(stage, x, use_reentrant=False)
    return x


def all_at_once(stages: nn.Sequential, x: Tensor) -> Tensor:
    maps: Tensor = checkpoint(stages, x, use_reentrant=False)
    return maps


def nested(stages: nn.Sequential, x: Tensor) -> Tensor:
    return checkpoint(lambda x: each(stages, x), x, use_reentrant=False)


def some(stages: nn.Sequential, x: Tensor) -> Tensor:
    maps: Tensor = stages[2](checkpoint(stages[1], stages[0](x), use_reentrant=False))
    return maps


def sequential(stages: nn.Sequential, x: Tensor) -> Tensor:
    maps: Tensor = checkpoint_sequential(  # type: ignore[no-untyped-call]
        stages, 2, x, use_reentrant=False
    )
    return maps


RUNS = {run.__name__: run for run in (each, all_at_once, nested, some, sequential)}


def step(
    name: str, run: Run, *, inside: bool = True, training: bool = False, grad: bool = False
) -> list[Tensor]:
    """A map, and the gradients of a loss of it, whose backward runs in the context or after it."""
    model = randomised(Stages(run)).train(training)
    images = images_for(model, 4)
    with attribution.create(name, model, normalise="none").capture() as read:
        output = model(images)
        heat, other = read(output, TARGETS), read(output, 0)
        loss = F.cross_entropy(output, TARGETS) + heat.square().sum() + (other * heat).sum()
        if inside:
            found = _gradients(loss, model, grad)
    if not inside:
        found = _gradients(loss, model, grad)
    return [heat.detach(), *found]


def _gradients(loss: Tensor, model: nn.Module, grad: bool) -> list[Tensor]:
    if grad:
        return list(torch.autograd.grad(loss, list(model.parameters())))
    torch.autograd.backward(loss)
    return list(gradients(model).values())


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", ["backprop", "guided_backprop", "grad_cam", "smooth_grad"])
def test_maps_and_gradients_are_those_of_the_network_that_keeps(name: str, run: str, inside: bool) -> None:
    torch.testing.assert_close(step(name, RUNS[run], inside=inside), step(name, kept))


@pytest.mark.parametrize("run", RUNS)
def test_gradients_asked_for_are_those_accumulated(run: str) -> None:
    found = step("guided_backprop", RUNS[run], grad=True)
    torch.testing.assert_close(found, step("guided_backprop", kept))


@pytest.mark.parametrize("run", RUNS)
def test_training_mode_has_the_gradients_of_the_network_that_keeps(run: str) -> None:
    found = step("guided_backprop", RUNS[run], training=True)
    torch.testing.assert_close(found, step("guided_backprop", kept, training=True))


@pytest.mark.parametrize("run", RUNS)
def test_bare_model_is_recomputed_as_ever_afterwards(run: str) -> None:
    """Check that an intervention in the recomputation of one pass does not reach another pass."""
    step("guided_backprop", RUNS[run])
    model, other = randomised(Stages(RUNS[run])), randomised(Stages(kept))
    images = images_for(model, 4)
    for each_ in (model, other):
        torch.autograd.backward(F.cross_entropy(each_(images), TARGETS))
    torch.testing.assert_close(*([p.grad for p in m.parameters()] for m in (model, other)))


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
@pytest.mark.parametrize("layer", [None, "act2"])
def test_nothing_outlives_the_step(inside: bool, layer: str | None) -> None:
    model = randomised(Checkpointed(nn.SiLU)).train()
    images = images_for(model, 4)
    generator = attribution.create("grad_cam", model, layer=layer)

    def one() -> None:
        with generator.capture() as read:
            loss = read(model(images), TARGETS).mean()
            if inside:
                torch.autograd.backward(loss)
        if not inside:
            torch.autograd.backward(loss)

    one()
    with left_as_found(model, gradients=True), nothing_alive_afterwards():
        for _ in range(3):
            one()


@pytest.mark.parametrize("layer", ["act1", "act2", "act4"])
def test_layer_within_a_recomputed_part_is_read_twice_alike(layer: str) -> None:
    model = randomised(Checkpointed(nn.SiLU)).eval()
    images = images_for(model, 4)
    generator = attribution.create("grad_cam", model, layer=layer, normalise="none")
    with generator.capture() as read:
        output = model(images)
        first, second = read(output, TARGETS), read(output, TARGETS)
    torch.testing.assert_close(second, first)
    other = randomised(Small(nn.SiLU)).eval()
    expected = attribution.create("grad_cam", other, layer=layer, normalise="none")(images, TARGETS)
    torch.testing.assert_close(first.detach(), expected)
