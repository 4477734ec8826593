"""Operations that rules apply to, operations that they do not, and the warnings about them."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.engine.activations import Activation
from radgaze.attribution.rules import Guided, Rule
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact, still
from tests.attribution.generator_contract import approving, images_for
from tests.attribution.networks import Inverted, Residual, Small, randomised

RULES = ("deconvnet", "guided_backprop")


class Held(Small):
    """Its gate is a number to all who differentiate it."""

    def gate(self, x: Tensor) -> Tensor:
        return super().gate(x).detach()


class Gated(nn.Module):
    """One convolution, whose channels are scaled by gates in one of the ways that people write."""

    def __init__(self, scale: Callable[[Tensor, Tensor], Tensor], *, held: bool = False) -> None:
        super().__init__()
        self.conv, self.gate, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)
        self.scale, self.held = scale, held

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.conv(images))
        s = torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        logits: Tensor = self.head(self.scale(x, s.detach() if self.held else s).mean((2, 3)))
        return logits


def raw(name: str, model: nn.Module, images: Tensor, **options: str) -> Tensor:
    return attribution.create(name, model, normalise="none", **options)(images, 1)


def plain_gradient(model: nn.Module, images: Tensor) -> Tensor:
    """Torch's own."""
    x = images.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    return g.abs().amax(1, keepdim=True)


@pytest.mark.parametrize(
    "network",
    [Residual, Inverted, lambda: Small(nn.SiLU), lambda: Small(nn.Hardswish), lambda: Small(nn.Tanh)],
)
def test_without_a_rule_the_map_is_torchs_own_gradient(network: Callable[[], nn.Module]) -> None:
    model = randomised(network()).eval()
    images = images_for(model, 4)
    torch.testing.assert_close(raw("backprop", model, images), plain_gradient(model, images))


# Gates


def test_plain_gates_pass_their_derivative() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    found = raw("backprop", model, images, gates="plain")
    torch.testing.assert_close(found, plain_gradient(model, images))
    assert not torch.allclose(found, raw("backprop", model, images, gates="held"))


@pytest.mark.parametrize("name", ["backprop", *RULES])
def test_held_gates_are_constants(name: str) -> None:
    model, held = (approving(randomised(each(nn.SiLU), seed=2)).eval() for each in (Small, Held))
    images = images_for(model, 4)
    torch.testing.assert_close(raw(name, model, images, gates="held"), raw(name, held, images))
    assert not torch.allclose(raw(name, model, images, gates="held"), raw(name, model, images))


def test_ruled_gates_obey_the_rule_like_any_activation() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    for name in RULES:
        plain, held, ruled = (raw(name, model, images, gates=how) for how in ("plain", "held", "ruled"))
        assert not torch.allclose(ruled, plain)
        assert not torch.allclose(ruled, held)
    torch.testing.assert_close(
        raw("backprop", model, images, gates="ruled"), plain_gradient(model, images)
    )  # whose rule is the derivative


@pytest.mark.parametrize("gates", ["plain", "held", "ruled"])
@pytest.mark.parametrize("name", ["backprop", *RULES])
def test_heatmap_loss_gradient_matches_finite_differences_whatever_gates_do(name: str, gates: str) -> None:
    torch.manual_seed(0)
    model = randomised(Small(nn.SiLU)).eval()
    generator = attribution.create(name, model, normalise="none", gates=gates)
    assert_heatmap_loss_is_exact(generator, images_for(model, 3))


KNOWN_GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x * s": lambda x, s: x * s,
    "torch.mul(x, s)": torch.mul,
    "x.mul(s)": Tensor.mul,
    "s * x": lambda x, s: s * x,
}
OTHER_GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "x.mul_(s)": Tensor.mul_,
    "x * s.expand_as(x)": lambda x, s: x * s.expand_as(x),
}


@pytest.mark.parametrize("scale", [*KNOWN_GATES, *OTHER_GATES])
def test_gates_are_exact_however_they_are_written(scale: str) -> None:
    torch.manual_seed(0)
    model = randomised(Gated((KNOWN_GATES | OTHER_GATES)[scale]))
    images = images_for(model, 3)
    torch.testing.assert_close(raw("backprop", model, images), plain_gradient(model, images))
    generator = attribution.create("guided_backprop", model, normalise="none")
    assert_heatmap_loss_is_exact(generator, images_for(model, 3, size=(10, 9)))


@pytest.mark.parametrize(
    "scale",
    [
        *KNOWN_GATES,
        *(
            pytest.param(key, marks=pytest.mark.xfail(strict=True, reason="not known for a gate"))
            for key in OTHER_GATES
        ),
    ],
)
def test_gates_can_be_held_however_they_are_written(scale: str) -> None:
    model, held = (randomised(Gated((KNOWN_GATES | OTHER_GATES)[scale], held=each)) for each in (False, True))
    images = images_for(model, 3)
    found, expected = raw("backprop", model, images, gates="held"), raw("backprop", held, images)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("gates", "training"),
    [
        ("plain", False),
        ("held", True),
        pytest.param("plain", True, marks=pytest.mark.slow),
        pytest.param("held", False, marks=pytest.mark.slow),
    ],
)
def test_mobilenet_with_hard_gates_can_be_trained_through(gates: str, training: bool) -> None:
    """Hardswish, ReLU and squeeze-and-excitation by hardsigmoid, as MobileNetV3 has them."""
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=3, in_chans=1)
    model = still(randomised(model)).train(training)
    images = torch.rand(3, 1, 32, 32, dtype=torch.float64)
    chosen = {
        "stem": model.get_parameter("conv_stem.weight"),
        "norm": model.get_parameter("bn1.weight"),
        "squeeze": model.get_parameter("blocks.1.0.conv_dw.weight"),
        "gate": model.get_parameter("blocks.2.0.se.conv_reduce.weight"),
        "hard gate": model.get_parameter("blocks.2.0.se.conv_expand.weight"),
        "depthwise": model.get_parameter("blocks.3.1.conv_dw.weight"),
        "shift": model.get_parameter("blocks.3.1.bn2.bias"),
        "head": model.get_parameter("classifier.weight"),
    }
    for name in ("guided_backprop", "deconvnet"):
        generator = attribution.create(name, model, normalise="none", gates=gates)
        assert_heatmap_loss_is_exact(
            generator, images, parameters=chosen, held=training, steps=(1e-6, 1e-7, 1e-8), tolerance=1e-4
        )


# What the user is told


def without_activations() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))


@pytest.mark.parametrize("name", [*RULES, "guided_grad_cam"])
def test_rule_that_meets_no_activation_is_an_error_that_says_so(name: str) -> None:
    images = torch.rand(1, 1, 8, 8)
    with pytest.raises(
        RuntimeError, match=r"met no activation it knows: the map would be the plain gradient$"
    ):
        attribution.create(name, without_activations())(images)
    unknown = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Tanh(), without_activations())
    with pytest.raises(RuntimeError, match="plain gradient; tanh it does not know"):
        attribution.create(name, unknown)(images)


@pytest.mark.parametrize("name", RULES)
def test_gates_alone_are_no_activations(name: str) -> None:
    model = nn.Sequential(without_activations(), nn.Sigmoid())
    with pytest.raises(RuntimeError, match="met no activation"):
        attribution.create(name, model)(torch.rand(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("module", "called"),
    [
        (nn.Tanh(), "tanh"),
        (nn.Softsign(), "softsign"),
        (nn.Tanhshrink(), "tanhshrink"),
        (nn.Softshrink(), "softshrink"),
        (nn.Hardshrink(), "hardshrink"),
        (nn.LogSigmoid(), "logsigmoid"),
        (nn.RReLU(), "rrelu"),
        (nn.Threshold(0.1, 0.2), "threshold"),
    ],
)
def test_activation_that_no_rule_covers_is_told_and_passes_its_derivative(
    module: nn.Module, called: str
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.SiLU(), nn.Conv2d(3, 2, 3), module, without_of(2)).eval()
    images = torch.rand(2, 1, 9, 9)
    with pytest.warns(UserWarning, match=f"no rule covers {called}: there the plain derivative passes"):
        attribution.create("guided_backprop", model)(images, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = raw("backprop", model, images)
    torch.testing.assert_close(found, plain_gradient(model, images))


def without_of(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2))


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("activation", [nn.SiLU, nn.GELU, nn.LeakyReLU, nn.ReLU6, lambda: nn.PReLU()])
def test_literal_rule_on_a_network_without_relus_warns_and_is_the_plain_gradient(
    name: str, activation: Callable[[], nn.Module]
) -> None:
    model = randomised(Small(activation)).eval()
    images = images_for(model, 4)
    with pytest.warns(UserWarning, match="none is a ReLU, so this map is the plain gradient, not"):
        found = raw(name, model, images, rule_for="relu")
    torch.testing.assert_close(found, plain_gradient(model, images))
    assert not torch.allclose(raw(name, model, images), found)


@pytest.mark.parametrize("name", RULES)
def test_literal_rule_on_a_network_of_relus_is_the_rule(name: str) -> None:
    model = randomised(Residual()).eval()
    images = images_for(model, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = raw(name, model, images, rule_for="relu")
    torch.testing.assert_close(found, raw(name, model, images))


def test_generator_without_a_rule_warns_of_nothing() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("backprop", "grad_cam", "integrated_gradients", "smooth_grad"):
            attribution.create(name, model, rule_for="relu")(images_for(model, 2), 1)


class Formula(Rule):
    """Guided back-propagation as nothing but its formula."""

    name = "formula"

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        return Guided().backward(g, x, activation)


class Softened(Rule):
    """A rule that is no mask: it bends in g and in x."""

    name = "softened"

    def backward(self, g: Tensor, x: Tensor, activation: Activation) -> Tensor:
        return F.softplus(activation.backward(g, x)) * torch.sigmoid(x)


class ByFormula(attribution.Generator):
    rule = Formula()


class BySoftened(attribution.Generator):
    rule = Softened()


def parametric() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.PReLU(4), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


@pytest.mark.parametrize("kind", [ByFormula, BySoftened])
@pytest.mark.parametrize(
    "network", [lambda: Small(nn.SiLU), lambda: Small(nn.Mish), lambda: Small(nn.GELU), parametric]
)
def test_a_rule_is_one_formula(network: Callable[[], nn.Module], kind: type[attribution.Generator]) -> None:
    model = randomised(network()).eval()
    assert_heatmap_loss_is_exact(kind(model, normalise="none", readout="sum"), images_for(model, 3))


@pytest.mark.parametrize("activation", [nn.SiLU, nn.ReLU, nn.LeakyReLU, nn.Hardswish])
def test_a_formula_gives_what_the_rule_with_derivatives_of_its_own_gives(
    activation: Callable[[], nn.Module],
) -> None:
    model = randomised(Small(activation)).eval()
    images = images_for(model, 3)
    gradients = []
    for generator in (attribution.create("guided_backprop", model), ByFormula(model)):
        with generator.capture() as read:
            heat = read(model(images), 1)
        gradients.append(
            [heat, *torch.autograd.grad(heat.square().sum(), [model.stem.weight, model.head.weight])]
        )
    for written, derived in zip(*gradients, strict=True):
        torch.testing.assert_close(derived, written)
