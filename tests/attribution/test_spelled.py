"""An activation is known in whatever words a model writes it; what no rule reaches is named."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution

Activation = Callable[[Tensor], Tensor]

ROOT = math.sqrt(2)
SPELT: dict[str, list[Activation]] = {
    "relu": [
        lambda x: torch.maximum(x, torch.zeros_like(x)),
        lambda x: torch.maximum(x, torch.tensor(0.0)),
        lambda x: x.clamp(min=0),
        lambda x: torch.clamp_min(x, 0),
        lambda x: torch.where(x > 0, x, torch.zeros_like(x)),
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x * (x > 0),
        lambda x: x * (x > 0).float(),
        lambda x: (x + x.abs()) / 2,
    ],
    "silu": [
        lambda x: x * torch.special.expit(x),
        lambda x: torch.multiply(x, torch.sigmoid(x)),
        lambda x: x / (1 + torch.exp(-x)),
    ],
    "gelu": [
        lambda x: x * 0.5 * (1 + torch.erf(x / ROOT)),
        lambda x: 0.5 * x * (1.0 + torch.erf(x * 0.70710678)),
    ],
    "tanh gelu": [
        lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3)))),
        lambda x: 0.5 * x * (1 + torch.tanh(0.7978845608 * x * (1 + 0.044715 * x * x))),
    ],
    "hardswish": [
        lambda x: x * F.relu6(x + 3) / 6,
        lambda x: x * (F.relu6(x + 3.0) / 6.0),
        lambda x: x * F.hardtanh(x + 3, 0.0, 6.0) / 6,
        lambda x: x * torch.clamp(x + 3, 0, 6) / 6,
    ],
    "leaky": [lambda x: torch.where(x > 0, x, 0.1 * x), lambda x: torch.maximum(x, 0.1 * x)],
}
NAMED: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "tanh gelu": nn.GELU("tanh"),
    "hardswish": nn.Hardswish(),
    "leaky": nn.LeakyReLU(0.1),
}


class Net(nn.Module):
    """Two convolutions and a head, in double precision."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3)
        self.head, self.activation = nn.Linear(6, 3), activation
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        for layer in (self.first, self.second):
            images = self.activation(layer(images))
        logits: Tensor = self.head(images.mean((2, 3)))
        return logits


@pytest.fixture
def images() -> Tensor:
    return 4 * torch.rand(2, 1, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 2


def heat(activation: Activation, images: Tensor, name: str, **options: str) -> tuple[Tensor, list[str]]:
    """The map, and what is warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = attribution.create(name, Net(activation), normalise="none", **options)(images, target=1)
    return made, [str(warning.message) for warning in told]


@pytest.mark.parametrize("rule", ["guided_backprop", "deconvnet"])
@pytest.mark.parametrize("kind", SPELT)
def test_an_activation_in_other_words_gets_the_rule_of_its_name(kind: str, rule: str, images: Tensor) -> None:
    expected, _ = heat(NAMED[kind], images, rule)
    plain, _ = heat(NAMED[kind], images, "backprop")
    assert not torch.allclose(expected, plain)  # the rule makes a difference here
    for place, written in enumerate(SPELT[kind]):
        made, told = heat(written, images, rule)
        torch.testing.assert_close(made, expected, rtol=1e-6, atol=1e-12, msg=f"{kind} {place}")
        assert told == []


def test_parameter_gradients_through_a_spelled_activation_are_those_of_its_name(images: Tensor) -> None:
    found = []
    activations: tuple[Activation, ...] = (NAMED["gelu"], SPELT["gelu"][0])
    for activation in activations:
        net = Net(activation)
        generator = attribution.create("guided_backprop", net, normalise="none")
        with generator.capture(net) as read:
            output = net(images)
            (read(output, 1).square().sum() + output.sum()).backward()
        found.append([parameter.grad for parameter in net.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)


def test_quick_gelu_is_differentiated_as_it_is_written(images: Tensor) -> None:
    """Its rule is checked by its definition: guided passes max(g, 0)·[x > 0]·a'(x)."""

    def quick(x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return quick(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            with torch.enable_grad():
                leaf = x.detach().requires_grad_()
                (slope,) = torch.autograd.grad(quick(leaf).sum(), leaf)
            passed: Tensor = g.clamp(min=0) * (x > 0) * slope
            return passed

    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(Net(Guided.apply)(leaf)[:, 1].sum(), leaf)
    made, told = heat(quick, images, "guided_backprop", readout="absolute")
    torch.testing.assert_close(made, expected.abs(), rtol=1e-9, atol=1e-12)
    assert told == []


def test_a_tensor_overwritten_between_the_steps_is_no_activation(images: Tensor) -> None:
    def shifted(x: Tensor) -> Tensor:
        gate = torch.special.expit(1.0 * x)
        return F.relu(x.clone().add_(1) * gate)

    leaf = images.clone().requires_grad_()
    net = Net(shifted)
    (expected,) = torch.autograd.grad(net(leaf)[:, 1].sum(), leaf)
    made, _ = heat(shifted, images, "backprop", readout="absolute")
    torch.testing.assert_close(made, expected.abs())


@pytest.mark.parametrize(
    ("activation", "name"),
    [
        (lambda x: F.relu(x) * torch.sin(x), "sin"),
        (lambda x: F.relu(x) + torch.tanh(x), "tanh"),
        (lambda x: F.relu(torch.where(x > 0.3, x, x * x)), "where"),
        (lambda x: F.relu(x).clamp(max=2.5), "clamp"),
        (lambda x: F.relu(F.logsigmoid(x)), "logsigmoid"),
    ],
)
def test_a_nonlinearity_that_no_rule_covers_is_named_once(
    activation: Activation, name: str, images: Tensor
) -> None:
    net = Net(activation)
    generator = attribution.create("guided_backprop", net)
    with pytest.warns(UserWarning, match=rf"no rule covers .*\b{name}\b.*plain derivative") as told:
        generator(images, target=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator(images, target=1)
    assert len(told) == 1
    assert told[0].filename == __file__  # the caller's line, not one of ours


def test_a_function_of_somebody_s_own_and_a_scripted_part_are_named(images: Tensor) -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return F.relu(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g

    _, told = heat(lambda x: F.relu(Own.apply(x)), images, "guided_backprop")
    assert "Own" in told[0]


def test_what_is_beside_the_way_from_images_to_score_is_not_counted(images: Tensor) -> None:
    class Standardised(Net):
        def forward(self, images: Tensor) -> Tensor:
            scale = torch.sin(self.first.weight).abs().mean()  # of weights alone
            with torch.no_grad():
                _ = torch.sin(images)
            return super().forward(images) * scale

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attribution.create("guided_backprop", Standardised(nn.ReLU()))(images, target=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "spelt",
    [
        lambda x: F.relu(x).float(),
        lambda x: x.clamp(min=0).float(),
        lambda x: torch.relu(x.float()),
        lambda x: x.float() * torch.special.expit(x.float()),
        lambda x: x * (x > 0).float(),
    ],
)
@pytest.mark.parametrize("name", ["backprop", "guided_backprop"])
def test_precision_that_a_model_changes_at_an_activation_is_kept(
    name: str, spelt: Activation, dtype: torch.dtype
) -> None:
    """As the linear attention of EfficientViT does: relu(q).float() @ k.float()."""
    made: list[torch.dtype] = []

    class Changing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

        def forward(self, images: Tensor) -> Tensor:
            x = spelt(F.silu(self.stem(images)))
            made.append(x.dtype)
            logits: Tensor = self.head(x.to(images.dtype).mean((2, 3)))
            return logits

    torch.manual_seed(0)
    model, images = Changing().to(dtype), torch.rand(2, 1, 8, 8).to(dtype)
    model(images)
    with attribution.create(name, model, normalise="none").capture() as read:
        heat = read(model(images), 1)
    assert made[0] == made[1]
    assert heat.max() > 0
    if name == "backprop" and dtype == torch.float64:
        leaf = images.clone().requires_grad_()
        (g,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
        torch.testing.assert_close(heat.detach(), g.abs(), rtol=1e-6, atol=1e-9)


OTHER_FUNCTIONS: dict[str, Activation] = {
    "a clamp on both sides": lambda x: x.clamp(0, 10),
    "a high bound": lambda x: F.relu(x).clamp(max=1e3),
    "a minimum": lambda x: torch.minimum(F.relu(x), torch.tensor(10.0)),
    "a bounded softplus": lambda x: F.softplus(x).clamp(max=15),
    "a guarded logarithm": lambda x: x.clamp(min=1e-6).log(),
    "a guarded root": lambda x: (F.relu(x) + 1e-6).sqrt(),
    "a noisy or": lambda x: torch.log1p(-(x + 20).sigmoid().clamp(1e-4, 1 - 1e-4)),
    "a wider result": lambda x: torch.maximum(x[:, :, :1, :1], torch.zeros(1, 1, 6, 6)),
}


@pytest.mark.parametrize("spelt", OTHER_FUNCTIONS.values(), ids=OTHER_FUNCTIONS)
@pytest.mark.parametrize("name", ["backprop", "guided_backprop"])
def test_what_is_only_like_an_activation_keeps_its_values(name: str, spelt: Activation) -> None:
    torch.manual_seed(0)
    stem, mix, images = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 3, 1), torch.rand(2, 1, 8, 8)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.mix = stem, mix

        def forward(self, x: Tensor) -> Tensor:
            return spelt(2000 * self.mix(F.relu(self.stem(x)))).flatten(2).sum(2)

    model = Model()
    expected = model(images)
    with attribution.create(name, model).capture() as read:
        output = model(images)
        read(output, 1)
    assert torch.equal(output, expected)
    assert torch.isfinite(output).all()
