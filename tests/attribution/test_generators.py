"""Using generators, as the documentation does, and what those that average promise of their copies."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution, models
from tests.attribution.generator_contract import approving, assert_alike, images_for
from tests.attribution.networks import Small, randomised

TARGETS = torch.tensor([2, 0, 1, 1])


def test_all_the_documented_generators_are_there() -> None:
    documented = """backprop input_x_gradient deconvnet guided_backprop cam grad_cam grad_cam_pp hires_cam
        layer_cam attention attention_rollout relevance guided_grad_cam smooth_grad integrated_gradients pylon
        deep_lift occlusion lime"""
    assert set(documented.split()) <= set(attribution.names())
    for name in attribution.names():
        assert attribution.create(name, Small(nn.ReLU)).name == name


def test_training_step_of_the_documentation() -> None:
    torch.manual_seed(0)
    model = models.create(models.ModelConfig(weights="none"), 3).train()
    images, gaze = torch.rand(2, 1, 64, 64), torch.rand(2, 1, 64, 64)
    generator = attribution.create("guided_backprop", model)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    before = copy.deepcopy(model.state_dict())
    with generator.capture(model) as read:
        output = model(images)
        heat = read(output.logits, torch.tensor([0, 2]))
        loss = F.cross_entropy(output.logits, torch.tensor([0, 2])) + F.mse_loss(heat, gaze)
    torch.autograd.backward(loss)
    optimiser.step()
    looked_at = generator(images, target=1)
    assert heat.shape == looked_at.shape == (2, 1, 64, 64)
    assert not looked_at.requires_grad
    moved = [key for key, value in model.state_dict().items() if not torch.equal(value, before[key])]
    assert "network.encoder.conv_stem.weight" in moved
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_unet_heatmap_works_under_bfloat16_autocast_and_no_grad() -> None:
    torch.manual_seed(0)
    model = models.create(models.ModelConfig(weights="none"), 3).eval()
    x = torch.rand(2, 1, 64, 64)
    generator = attribution.create("guided_backprop", model)
    full = generator(x, 1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = generator(x, 1)
    assert_alike(half, full)


@pytest.mark.parametrize(
    "name", ["backprop", "deconvnet", "guided_backprop", "guided_grad_cam", "smooth_grad"]
)
def test_activations_of_thousands_do_not_overflow_in_float16(name: str) -> None:
    """Though what a squeeze-and-excitation gate gets, a sum over all places, is thousands of scores."""
    model = approving(randomised(Small(nn.SiLU))).float().eval()
    model.norm.bias.data.fill_(1000)
    images, generator = images_for(model, 4), attribution.create(name, model)
    maps, gradients = [], []
    for half in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.float16, enabled=half), generator.capture() as read:
            heat = read(model(images), TARGETS)
            torch.autograd.backward(heat.square().mean())
        maps.append(heat.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert_alike(maps[1], maps[0])
    assert_alike(gradients[1], gradients[0])


# Copies


@pytest.mark.parametrize("name", ["smooth_grad", "integrated_gradients"])
def test_copies_run_in_evaluation_mode_also_while_the_model_trains(name: str) -> None:
    class Dropping(Small):
        def excited(self, x: Tensor) -> Tensor:
            return F.dropout(super().excited(x), 0.5, self.training)

    model = randomised(Dropping(nn.SiLU)).train()
    model.norm.momentum = model.norm2.momentum = 0.0
    few = {"samples": 3} if name == "smooth_grad" else {"steps": 3}
    images, generator = images_for(model, 4), attribution.create(name, model, **few)
    looked_at = generator(images, TARGETS)
    with generator.capture() as read:
        heat = read(model(images), TARGETS)
    torch.testing.assert_close(heat.detach(), looked_at)
    assert all(module.training for module in model.modules())


def test_copies_have_the_other_arguments_of_their_own_case() -> None:
    """A model may be told more than images: of each case, by place and by name, or of all."""

    class Told(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = Small(nn.SiLU)

        def forward(self, age: Tensor, images: Tensor, factor: float, *, sex: Tensor) -> Tensor:
            logits: Tensor = self.network(images * age.view(-1, 1, 1, 1) + sex.view(-1, 1, 1, 1)) * factor
            return logits

    model = randomised(Told()).eval()
    images, age, sex = images_for(model, 4), torch.arange(1.0, 5.0).double(), torch.tensor([0, 1, 0, 1])
    for name, few in (
        ("smooth_grad", {"samples": 2}),
        ("integrated_gradients", {"steps": 3}),
        ("backprop", {}),
    ):
        generator = attribution.create(name, model, normalise="none", **few)
        with generator.capture() as read:
            together = read(model(age, images, 0.5, sex=sex), TARGETS)
        for i in range(4):
            one = slice(i, i + 1)
            with generator.capture() as read:
                alone = read(model(age[one], images[one], 0.5, sex=sex[one]), TARGETS[one])
            torch.testing.assert_close(together[one], alone)


def test_noise_is_the_same_in_every_call_unless_its_seed_is_none() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    fixed, other, free = (
        attribution.create("smooth_grad", model, samples=2, seed=seed) for seed in (0, 1, None)
    )
    state = torch.get_rng_state()
    torch.testing.assert_close(fixed(images, 1), fixed(images, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.allclose(fixed(images, 1), other(images, 1))
    torch.manual_seed(3)
    first, second = free(images, 1), free(images, 1)
    torch.manual_seed(3)
    torch.testing.assert_close(free(images, 1), first)
    assert not torch.allclose(first, second)


def test_noise_does_not_depend_on_the_neighbours() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    generator = attribution.create("smooth_grad", model, samples=3)
    torch.testing.assert_close(generator(images, 1)[2:3], generator(images[2:3] * 1.0, 1))


def test_smooth_grad_without_noise_is_its_base() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    for base in ("backprop", "guided_backprop", "grad_cam", "integrated_gradients"):
        found = attribution.create("smooth_grad", model, base=base, samples=2, noise=0.0)(images, TARGETS)
        torch.testing.assert_close(found, attribution.create(base, model)(images, TARGETS))
