"""What heatmaps are, against independent implementations, and what they leave behind: nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable

import captum.attr
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution, models
from radgaze.attribution.steps import Pass
from tests.attribution.networks import Functional, Small, randomised


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 1, 24, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("guided_backprop", captum.attr.GuidedBackprop),
        ("deconvnet", captum.attr.Deconvolution),
        ("backprop", captum.attr.Saliency),
    ],
)
def test_equals_captum_on_relu_networks(name: str, oracle: Callable[..., object], images: Tensor) -> None:
    model = randomised(Small(nn.ReLU)).eval()
    target = torch.tensor([0, 2, 1, 1])
    ours = attribution.create(name, model, normalise="none")(images, target)
    theirs = oracle(model).attribute(images.clone().requires_grad_(), target=target).abs()
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    assert ours.abs().sum() > 0


def test_grad_cam_equals_captum_on_relu_networks(images: Tensor) -> None:
    model = randomised(Small(nn.ReLU)).eval()
    ours = attribution.create("grad_cam", model, normalise="none")(images, 1)
    oracle = captum.attr.LayerGradCam(model, model.act4)
    theirs = oracle.attribute(images.clone().requires_grad_(), target=1, relu_attributions=True)
    theirs = F.interpolate(theirs, size=images.shape[-2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_rules_differ_on_silu_networks_where_captum_gives_the_plain_gradient(images: Tensor) -> None:
    model = randomised(Small(nn.SiLU)).eval()
    plain = attribution.create("backprop", model, normalise="none")(images, 1)
    for name, oracle in (
        ("guided_backprop", captum.attr.GuidedBackprop),
        ("deconvnet", captum.attr.Deconvolution),
    ):
        ours = attribution.create(name, model, normalise="none")(images, 1)
        literal = attribution.create(name, model, normalise="none", rule_for="relu")(images, 1)
        theirs = oracle(model).attribute(images.clone().requires_grad_(), target=1).abs()
        assert (ours - plain).abs().max() > 0.01 * plain.max()
        torch.testing.assert_close(literal, plain)
        torch.testing.assert_close(theirs, plain)


def test_guided_rule_on_silu_equals_the_rule_written_out_by_hand() -> None:
    torch.manual_seed(0)
    conv, head = nn.Conv2d(1, 3, 3, padding=1).double(), nn.Linear(3, 2).double()

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = conv, head

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.silu(self.conv(x)).mean((2, 3)))

    x = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    z = conv(x).detach()
    g = (head.weight[1] / 25).view(1, 3, 1, 1).expand_as(z)
    s = torch.sigmoid(z)
    passed = g.clamp(min=0) * (z > 0) * (s * (1 + z * (1 - s)))
    expected = F.conv_transpose2d(passed, conv.weight, padding=1).abs()
    ours = attribution.create("guided_backprop", One(), normalise="none")(x, 1)
    torch.testing.assert_close(ours, expected.detach())


def test_inplace_and_written_out_activations_obey_the_rule_like_their_modules() -> None:
    torch.manual_seed(0)
    model = Functional().double()
    layers = [
        model.a,
        nn.SiLU(),
        model.b,
        nn.SiLU(),
        model.c,
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        model.head,
    ]
    x = torch.rand(2, 1, 9, 9, dtype=torch.float64)
    for name in ("guided_backprop", "deconvnet"):
        functional = attribution.create(name, model, normalise="none")(x, 0)
        modules = attribution.create(name, nn.Sequential(*layers), normalise="none")(x, 0)
        torch.testing.assert_close(functional, modules)


@pytest.mark.parametrize("training", [False, True])
def test_rule_is_off_in_the_losss_own_backward(training: bool, images: Tensor) -> None:
    """A loss without the heatmap has, inside `reading`, the gradients of the bare model but for rounding."""
    model = randomised(Small(nn.SiLU)).train(training)
    labels = torch.tensor([0, 1, 2, 0])
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    F.cross_entropy(model(images), labels).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters()}
    after = {name: b.clone() for name, b in model.named_buffers()}
    model.zero_grad()
    model.load_state_dict(buffers, strict=False)
    generator = attribution.create("guided_backprop", model)
    with generator.reading(model) as read:
        logits = model(images)
        read(logits, labels)
    F.cross_entropy(logits, labels).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-9, atol=1e-12)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, after[name])


@pytest.mark.parametrize("name", attribution.names())
def test_one_batch_equals_batches_of_one(name: str, images: Tensor) -> None:
    model = randomised(Small(nn.GELU)).eval()
    generator = attribution.create(name, model)
    target = torch.tensor([2, 0, 1, 1])
    together = generator(images, target)
    apart = torch.cat([generator(images[i : i + 1], int(target[i])) for i in range(4)])
    torch.testing.assert_close(together, apart)
    assert together.min() >= 0
    tops = together.amax((1, 2, 3))
    assert torch.all((tops == 1) | ((tops == 0) & (name == "grad_cam")))


@pytest.mark.parametrize("name", attribution.names())
def test_model_is_left_as_it_was_found_also_after_an_exception(name: str, images: Tensor) -> None:
    model = randomised(Small(lambda: nn.SiLU(inplace=True)))
    model.norm.eval()
    model.stem.weight.requires_grad_(False)
    generator = attribution.create(name, model)
    before = _state(model)
    generator(images)
    with pytest.raises(ValueError, match="targets have the shape"):
        generator(images, torch.zeros(3, dtype=torch.long))
    with pytest.raises(ZeroDivisionError):
        _break_off(generator, model, images)
    assert _state(model) == before
    assert all(p.grad is None for p in model.parameters())
    torch.testing.assert_close(model(images).detach(), randomised_copy(model)(images).detach())


@pytest.mark.parametrize("name", attribution.names())
def test_a_steps_graph_ends_with_it_and_not_with_the_garbage_collector(
    name: str, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[weakref.ref[Pass]] = []  # every node of the graph holds the pass

    def watched() -> Pass:
        made = Pass()
        passes.append(weakref.ref(made))
        return made

    def step() -> None:
        generator = attribution.create(name, model)
        with generator.reading(model) as read:
            logits = model(images)
            heat = read(logits, 1)
        (logits.square().mean() + heat.mean()).backward()

    monkeypatch.setattr("radgaze.attribution.generators.Pass", watched)
    model = randomised(Small(nn.SiLU))
    gc.disable()
    try:
        step()
        assert len(passes) == 1
        assert passes[0]() is None
    finally:
        gc.enable()


def test_a_rule_that_meets_no_activation_is_an_error() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)
    )
    with pytest.raises(RuntimeError, match="met no activation"):
        attribution.create("guided_backprop", model)(torch.rand(1, 1, 8, 8))


def test_unet_heatmap_works_under_bfloat16_autocast_and_no_grad() -> None:
    torch.manual_seed(0)
    model = models.create(models.ModelConfig(weights="none"), 3).eval()
    x = torch.rand(2, 1, 64, 64)
    generator = attribution.create("guided_backprop", model)
    full = generator(x, 1)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = generator(x, 1)
    assert torch.isfinite(half).all()
    assert torch.corrcoef(torch.stack([full.flatten(), half.flatten().float()]))[0, 1] > 0.9


def test_unknown_generator_and_target_are_named() -> None:
    model = Small(nn.ReLU)
    with pytest.raises(ValueError, match="there are backprop"):
        attribution.create("guided", model)
    with pytest.raises(ValueError, match="'predicted'"):
        attribution.create("backprop", model)(torch.rand(1, 1, 8, 8), "truth")


def _break_off(generator: attribution.Generator, model: nn.Module, images: Tensor) -> None:
    with generator.reading(model):
        model(images)
        raise ZeroDivisionError


def _state(model: nn.Module) -> list[object]:
    hooks = [
        (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in model.modules()
    ]
    flags = [(m.training, getattr(m, "inplace", None), "forward" in vars(m)) for m in model.modules()]
    return [hooks, flags, [p.requires_grad for p in model.parameters()]]


def randomised_copy(model: nn.Module) -> nn.Module:
    copy = Small(lambda: nn.SiLU(inplace=True)).double()
    copy.load_state_dict(model.state_dict())
    copy.norm.eval()
    return copy
