"""Each activation's two derivatives are torch's own, and each is known in whatever way it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.engine import activations
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact
from tests.attribution.generator_contract import images_for
from tests.attribution.networks import Functional, Small, gradients, randomised

Call = tuple[Callable[..., Tensor], tuple[Any, ...], dict[str, Any]]

CALLS: dict[str, Call] = {
    "relu": (F.relu, (), {}),
    "relu of torch": (torch.relu, (), {}),
    "relu of a tensor": (Tensor.relu, (), {}),
    "leaky_relu": (F.leaky_relu, (), {}),
    "leaky_relu 0.2": (F.leaky_relu, (0.2,), {}),
    "leaky_relu by name": (F.leaky_relu, (), {"negative_slope": 0.3}),
    "elu": (F.elu, (), {}),
    "elu 0.7": (F.elu, (0.7,), {}),
    "selu": (F.selu, (), {}),
    "selu of torch": (torch.selu, (), {}),
    "celu": (F.celu, (), {}),
    "celu 0.5": (F.celu, (0.5,), {}),  # torch has 1/α in float32
    "celu 2": (torch.celu, (), {"alpha": 2.0}),
    "silu": (F.silu, (), {}),
    "mish": (F.mish, (), {}),
    "gelu": (F.gelu, (), {}),
    "gelu tanh": (F.gelu, (), {"approximate": "tanh"}),
    "softplus": (F.softplus, (), {}),
    "softplus 2": (F.softplus, (2.0,), {"threshold": 3.0}),
    "hardswish": (F.hardswish, (), {}),
    "relu6": (F.relu6, (), {}),
    "hardtanh": (F.hardtanh, (), {}),
    "hardtanh -2 0.5": (F.hardtanh, (-2.0,), {"max_val": 0.5}),
    "sigmoid": (torch.sigmoid, (), {}),
    "sigmoid of a tensor": (Tensor.sigmoid, (), {}),
    "hardsigmoid": (F.hardsigmoid, (), {}),
}
MODULES: dict[str, Callable[[bool], nn.Module]] = {
    "ReLU": lambda inplace: nn.ReLU(inplace),
    "LeakyReLU": lambda inplace: nn.LeakyReLU(0.2, inplace),
    "ELU": lambda inplace: nn.ELU(0.7, inplace),
    "SELU": lambda inplace: nn.SELU(inplace),
    "CELU": lambda inplace: nn.CELU(0.7, inplace),
    "SiLU": lambda inplace: nn.SiLU(inplace),
    "Mish": lambda inplace: nn.Mish(inplace),
    "Hardswish": lambda inplace: nn.Hardswish(inplace),
    "ReLU6": lambda inplace: nn.ReLU6(inplace),
    "Hardtanh": lambda inplace: nn.Hardtanh(-0.3, 2.0, inplace=inplace),
    "GELU": lambda _: nn.GELU(),
    "GELU tanh": lambda _: nn.GELU("tanh"),
    "Softplus": lambda _: nn.Softplus(2.0),
}
NEVER_IN_PLACE = ("GELU", "GELU tanh", "Softplus")


def points() -> Tensor:
    """On both sides of every kink, none of them met."""
    x = torch.cat([torch.linspace(-7, 7, 281, dtype=torch.float64), torch.tensor([-30.0, 30.0])])
    return (x.double() + 0.0123).requires_grad_()


@pytest.mark.parametrize("call", CALLS)
def test_derivatives_are_those_of_torch(call: str) -> None:
    torch.manual_seed(0)
    func, args, kwargs = CALLS[call]
    x = points()
    activation = activations.find(func, (x, *args), kwargs)
    assert activation is not None
    g, m = torch.randn(2, len(x), dtype=x.dtype)
    if func is F.hardsigmoid:  # whose derivative torch does not differentiate
        func = lambda x: F.relu6(x + 3) / 6  # noqa: E731
    y = func(x, *args, **kwargs)
    (slope,) = torch.autograd.grad(y, x, g, create_graph=True)
    curve = torch.zeros_like(x)
    if slope.requires_grad:
        found: Sequence[Tensor | None] = torch.autograd.grad(slope, x, m / g, allow_unused=True)
        curve = curve if found[0] is None else found[0]
    x = x.detach()
    torch.testing.assert_close(activation.value(x), y.detach())
    torch.testing.assert_close(activation.backward(g, x), slope.detach())
    ours = torch.zeros_like(x) if activation.curve is None else activation.curve(m, x)
    torch.testing.assert_close(ours, curve.detach(), rtol=1e-9, atol=1e-12)
    c = torch.randn_like(x)
    expected = (activation.backward(c, x), activation.bend(c, g, x))
    with torch.no_grad():  # where some share what they are computed of
        torch.testing.assert_close(activation.adjoint(c, g, x), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("call", CALLS)
def test_derivatives_hold_in_float32_and_at_the_ends_of_the_line(call: str) -> None:
    func, args, kwargs = CALLS[call]
    x = torch.tensor([-1e4, -88.0, -20.0, 20.0, 88.0, 1e4])
    activation = activations.find(func, (x, *args), kwargs)
    assert activation is not None
    g = torch.ones_like(x)
    for derivative in (activation.backward, activation.curve):
        if derivative is not None:
            near = derivative(g, x)
            assert near.isfinite().all()
            torch.testing.assert_close(near, derivative(g.double(), x.double()).float(), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        ours_both = activation.adjoint(g, g, x)
        precise_both = activation.adjoint(g.double(), g.double(), x.double())
    for ours, precise in zip(ours_both, precise_both, strict=True):
        torch.testing.assert_close(ours, precise.float(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "inplace"),
    [(key, False) for key in MODULES] + [(key, True) for key in MODULES if key not in NEVER_IN_PLACE],
)
@pytest.mark.parametrize("name", ["deconvnet", "guided_backprop"])
def test_rule_is_laid_on_every_activation_and_is_exact(name: str, module: str, inplace: bool) -> None:
    torch.manual_seed(0)
    model = randomised(Small(lambda: MODULES[module](inplace))).eval()
    images = images_for(model, 2, size=(14, 12))
    generator = attribution.create(name, model, normalise="none")
    plain = attribution.create("backprop", model, normalise="none")(images, 1)
    assert (generator(images, 1) - plain).abs().max() > 0.01 * plain.max()
    chosen = {key: p for key, p in model.named_parameters() if key in ("stem.weight", "squeeze.weight")}
    assert_heatmap_loss_is_exact(generator, images, parameters=chosen)


@pytest.mark.parametrize("module", MODULES)
def test_rules_written_out_by_hand(module: str) -> None:
    """max(g, 0) for deconvNet, and ·[x > 0]·a'(x) for the guided one, on the one activation of a network."""
    torch.manual_seed(0)
    activation = MODULES[module](False)
    conv, linear = nn.Conv2d(1, 3, 3, padding=1), nn.Linear(75, 2)
    model = nn.Sequential(conv, activation, nn.Flatten(), linear).double()
    images = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    z = conv(images).detach().requires_grad_()
    g = linear.weight[1].detach().view(1, 3, 5, 5)
    (slope,) = torch.autograd.grad(activation(z).sum(), z)
    passed = {"deconvnet": g.clamp(min=0), "guided_backprop": g.clamp(min=0) * (z > 0) * slope}
    for name, back in passed.items():
        expected = F.conv_transpose2d(back, conv.weight, padding=1).abs()
        ours = attribution.create(name, model, normalise="none")(images, 1)
        torch.testing.assert_close(ours, expected.detach())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["backprop", "deconvnet", "guided_backprop", "grad_cam"])
def test_prelu_is_exact_in_its_slopes_too(name: str, shared: bool) -> None:
    torch.manual_seed(0)
    last = nn.Linear(4, 3)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.PReLU(1 if shared else 4),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.PReLU(1 if shared else 4, init=-0.2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        last,
    )
    model = randomised(model).eval()
    last.weight.data.abs_()
    generator = attribution.create(name, model, normalise="none")
    assert_heatmap_loss_is_exact(generator, images_for(model, 3, size=(12, 10)))


def test_prelus_rules_by_hand() -> None:
    torch.manual_seed(0)
    conv, prelu, linear = nn.Conv2d(1, 3, 3, padding=1), nn.PReLU(3), nn.Linear(75, 2)
    model = nn.Sequential(conv, prelu, nn.Flatten(), linear).double()
    prelu.weight.data = torch.tensor([0.5, -0.3, 1.5], dtype=torch.float64)
    images = torch.rand(1, 1, 5, 5, dtype=torch.float64)
    z = conv(images)
    g = linear.weight[1].view(1, 3, 5, 5)
    w = prelu.weight.view(1, 3, 1, 1)
    r = g.clamp(min=0)
    passed = {
        "backprop": g * torch.where(z > 0, 1.0, w),
        "deconvnet": r,
        "guided_backprop": r * (z > 0),
    }
    for name, back in passed.items():
        expected = F.conv_transpose2d(back, conv.weight, padding=1).abs()
        ours = attribution.create(name, model, normalise="none")(images, 1)
        torch.testing.assert_close(ours, expected.detach())


class Twice(nn.Module):
    """One ReLU module in two places, or two, or functions."""

    first: Callable[[Tensor], Tensor]
    second: Callable[[Tensor], Tensor]

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        self.kind = kind
        if kind == "two modules":
            self.first, self.second = nn.ReLU(), nn.ReLU()
        elif kind.startswith("one module"):
            self.first = self.second = nn.ReLU(inplace=kind.endswith("in place"))
        else:
            self.first = self.second = {
                "function": F.relu,
                "function in place": F.relu_,
                "of torch": torch.relu,
                "of torch in place": torch.relu_,
                "of the tensor": lambda x: x.relu(),
                "of the tensor in place": lambda x: x.relu_(),
                "argument in place": lambda x: F.relu(x, inplace=True),
                "positional in place": lambda x: F.relu(x, True),
                "by name": lambda x: F.relu(input=x),
            }[kind]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.second(self.b(self.first(self.a(images)))).mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    "kind",
    [
        "one module",
        "one module in place",
        "function",
        "function in place",
        "of torch",
        "of torch in place",
        "of the tensor",
        "of the tensor in place",
        "argument in place",
        "positional in place",
        "by name",
    ],
)
def test_shared_and_functional_relus_obey_the_rule_like_modules_of_their_own(kind: str) -> None:
    expected, found = randomised(Twice("two modules")), randomised(Twice(kind))
    images = images_for(expected, 3)
    for name in ("deconvnet", "guided_backprop"):
        torch.testing.assert_close(*(step(name, model, images) for model in (found, expected)))


def test_inplace_and_written_out_silus_obey_the_rule_like_modules() -> None:
    model = randomised(Functional())
    layers = (model.a, nn.SiLU(), model.b, nn.SiLU(), model.c, nn.SiLU())
    modules = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head)
    images = images_for(model, 2)
    for name in ("deconvnet", "guided_backprop"):
        found, expected = step(name, model, images), step(name, modules, images)
        torch.testing.assert_close(list(found.values()), list(expected.values()))


@pytest.mark.parametrize(
    "silu",
    [
        lambda x: x * torch.sigmoid(x),
        lambda x: x * x.sigmoid(),
        lambda x: torch.sigmoid(x) * x,
        lambda x: x.mul(F.sigmoid(x)),
        lambda x: torch.mul(x, x.sigmoid()),
        lambda x: x.mul_(x.sigmoid()),
        lambda x: x.sigmoid().mul(x),
    ],
)
def test_silu_written_out_is_a_silu(silu: Callable[[Tensor], Tensor]) -> None:
    class Written(nn.Module):
        def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.conv, self.head, self.activation = nn.Conv2d(1, 4, 3), nn.Linear(4, 3), activation

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.activation(self.conv(images)).mean((2, 3)))
            return logits

    images = images_for(randomised(Written(F.silu)), 2)
    for name in ("backprop", "deconvnet", "guided_backprop"):
        found, expected = (step(name, randomised(Written(each)), images) for each in (silu, F.silu))
        torch.testing.assert_close(found, expected)


def test_functional_inplace_and_written_out_activations_match_finite_differences() -> None:
    torch.manual_seed(0)
    model = randomised(Functional())
    generator = attribution.create("guided_backprop", model, normalise="none")
    assert_heatmap_loss_is_exact(generator, images_for(model, 2, size=(10, 10)))


def step(name: str, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """A map, and the gradients of a loss of it and of the logits."""
    model.zero_grad()
    with attribution.create(name, model, normalise="none").capture(model) as read:
        output = model(images)
        heat = read(output, 1)
    (heat.square().sum() + output.square().sum()).backward()
    return {"map": heat.detach(), **gradients(model)}
