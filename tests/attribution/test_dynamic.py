"""Weights made from the image, double backwards, in-place changes: as PyTorch's own nodes have it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from radgaze import attribution
from tests.attribution.finite_differences import still
from tests.attribution.generator_contract import images_for
from tests.attribution.networks import Inverted, Parts, Small, randomised
from tests.attribution.reference import assert_as_reference, ours, step

TARGETS = torch.tensor([2, 0, 1, 1])
Body = Callable[[Parts, Tensor], Tensor]


class Dynamic(nn.Module):
    """A stem, something in the middle that knows the image, and a head."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(
            {
                "stem": nn.Conv2d(1, 4, 3, padding=1),
                "conv": nn.Conv2d(4, 4, 3, padding=1),
                "norm": nn.BatchNorm2d(4),
                "to_kernel": nn.Linear(4, 4 * 4 * 9),
                "to_vector": nn.Linear(4, 4),
                "attention": nn.MultiheadAttention(4, 2, batch_first=True),
            }
        )
        self.body, self.head = body, nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.parts["stem"](images))
        logits: Tensor = self.head(F.silu(self.body(self.parts, x)).mean((2, 3)))
        return logits


def norm_of(m: Parts) -> nn.BatchNorm2d:
    norm = m["norm"]
    assert isinstance(norm, nn.BatchNorm2d)
    return norm


def vector(m: Parts, x: Tensor) -> Tensor:
    return m["to_vector"](x.mean((0, 2, 3)))


def conditional(m: Parts, x: Tensor) -> Tensor:
    """CondConv and ODConv: a kernel for each case, all cases side by side in one grouped convolution."""
    kernels = m["to_kernel"](x.mean((2, 3))).view(-1, 4, 3, 3)
    return F.conv2d(x.reshape(1, -1, *x.shape[2:]), kernels, padding=1, groups=len(x)).view_as(x)


def conditional_then_normed(m: Parts, x: Tensor) -> Tensor:
    kernel = m["to_kernel"](x.mean((0, 2, 3))).view(4, 4, 3, 3)
    return m["norm"](F.conv2d(x, kernel, vector(m, x), padding=1))


def correlated(m: Parts, x: Tensor) -> Tensor:
    return F.conv2d(x, F.silu(m["conv"](x))[:, :, 4:7, 4:7], padding=1)


def modulated(m: Parts, x: Tensor) -> Tensor:
    """FiLM, by batch norm's own γ and β."""
    n, y = norm_of(m), m["conv"](x)
    return F.batch_norm(y, n.running_mean, n.running_var, vector(m, x), vector(m, -x), n.training, 0.0)


def modulated_without_convolution(m: Parts, x: Tensor) -> Tensor:
    n = norm_of(m)
    return F.batch_norm(x, n.running_mean, n.running_var, vector(m, x), None, n.training, 0.0)


def shifted(m: Parts, x: Tensor) -> Tensor:
    n = norm_of(m)
    one = torch.ones(4, dtype=x.dtype)
    return F.batch_norm(x, n.running_mean, n.running_var, one, vector(m, x), n.training, 0.0)


def sloped(m: Parts, x: Tensor) -> Tensor:
    return F.prelu(m["conv"](x), vector(m, x))


def attended(m: Parts, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens, tokens).transpose(1, 2).view_as(x)


def attended_by_a_module(m: Parts, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return m["attention"](tokens, tokens, tokens, need_weights=False)[0].transpose(1, 2).reshape(x.shape)


def standardised(m: Parts, x: Tensor) -> Tensor:
    """As NFNets do: batch norm of the weights, without β."""
    conv = m["conv"]
    assert isinstance(conv, nn.Conv2d)
    w = conv.weight
    flat = F.batch_norm(w.reshape(1, 4, -1), None, None, norm_of(m).weight, training=True, momentum=0.0)
    return F.conv2d(x, flat.view_as(w), conv.bias, padding=1)


def with_an_empty_one(m: Parts, x: Tensor) -> Tensor:
    return torch.cat([torch.empty(0, dtype=x.dtype), m["conv"](x), x], 1)[:, 2:6]


def side_by_side_by_another_name(m: Parts, x: Tensor) -> Tensor:
    return torch.concatenate((m["conv"](x), x), axis=1)[:, 2:6]  # type: ignore[call-arg]


def shifted_beside_its_gate(m: Parts, x: Tensor) -> Tensor:
    y = m["conv"](x)
    s = torch.sigmoid(y)
    y.add_(1)
    return y * s


BODIES = (
    conditional,
    conditional_then_normed,
    correlated,
    modulated,
    modulated_without_convolution,
    shifted,
    sloped,
    attended,
    standardised,
    with_an_empty_one,
    side_by_side_by_another_name,
    shifted_beside_its_gate,
)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_map_and_parameter_gradients_are_those_of_torchs_own_nodes(body: Body, training: bool) -> None:
    model = still(randomised(Dynamic(body))).train(training)
    images = images_for(model, 4, size=(12, 11))
    if body is correlated:
        model.head = nn.Linear(4, 3).double()
    assert_as_reference(model, images)


@pytest.mark.parametrize("body", [conditional, modulated, attended], ids=lambda body: body.__name__)
def test_rule_is_laid_on_what_makes_the_weights_as_well(body: Body) -> None:
    model = randomised(Dynamic(body)).eval()
    assert_as_reference(model, images_for(model, 4, size=(12, 11)), name="guided_backprop")


def test_attention_of_a_module_can_be_trained_through() -> None:
    """torch's module calls fused attention where no function mode sees it."""
    model = randomised(Dynamic(attended_by_a_module)).eval()
    images = images_for(model, 3, size=(6, 5))

    def loss(output: Tensor, heat: Tensor) -> Tensor:
        return output.square().sum() + heat.square().sum()

    found = ours(model, images, TARGETS[:3], loss)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        expected = step(model, images, TARGETS[:3], loss)
    torch.testing.assert_close(found, expected)


def test_products_with_an_overwritten_sigmoid_keep_their_value() -> None:
    """x·σ(x) is SiLU only where neither has changed since."""
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    model = nn.Sequential(Gated(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with attribution.create("backprop", model).capture():
        found = model(x)
    torch.testing.assert_close(found, model(x))


class Gated(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        x = images * 1
        s = torch.sigmoid(x)
        with torch.no_grad():
            s.mul_(0.5)
        y = x * s
        x = images * 1
        s = torch.sigmoid(x)
        x.add_(1)
        return y.detach() + x * s


def test_convolution_whose_input_is_overwritten_before_its_norm_is_an_error_as_ever() -> None:
    def body(m: Parts, x: Tensor) -> Tensor:
        y = m["conv"](x)
        x.add_(1)
        return m["norm"](y)

    model = randomised(Dynamic(body)).train()
    with attribution.create("grad_cam", model).capture():
        output = model(images_for(model, 4))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        output.sum().backward()


# Batch norm's own checks


@pytest.mark.parametrize("statistics", ["held", "exact"])
def test_one_value_a_channel_in_training_is_refused_as_torch_does(statistics: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 3))
    before = copy.deepcopy(model.state_dict())
    with (
        attribution.create("backprop", model, batch_statistics=statistics).capture(),
        pytest.raises(ValueError, match="more than 1 value per channel"),
    ):
        model(torch.rand(1, 1, 4, 4))
    torch.testing.assert_close(model[1].running_var, before["1.running_var"])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["running_mean", "running_var", "weight", "bias"])
def test_norm_of_another_number_of_channels_is_refused_as_torch_does(name: str, training: bool) -> None:
    norm = nn.BatchNorm2d(4)
    wrong = torch.ones(3)
    setattr(norm, name, nn.Parameter(wrong) if name in ("weight", "bias") else wrong)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.Flatten(), nn.Linear(144, 3)).train(training)
    with (
        attribution.create("backprop", model).capture(),
        pytest.raises(RuntimeError, match=f"{name} should contain 4 elements not 3"),
    ):
        model(torch.rand(2, 1, 8, 8))


def test_norm_without_running_statistics_is_differentiated_through_them_in_evaluation() -> None:
    model = randomised(Dynamic(lambda m, x: m["norm"](m["conv"](x))))
    model.parts["norm"] = nn.BatchNorm2d(4, track_running_stats=False).double()
    images = images_for(model, 9)
    assert_as_reference(model.eval(), images[:4], batch_statistics="exact")
    assert_as_reference(model.eval(), images[:4], name="guided_backprop", batch_statistics="exact")
    x = images.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    for name in ("backprop", "smooth_grad"):  # all cases together, for they share the statistics
        more = {"samples": 1, "noise": 0.0} if name == "smooth_grad" else {}
        found = attribution.create(name, model, normalise="none", **more)(images, 1)
        torch.testing.assert_close(found, g.abs())
    with pytest.raises(ValueError, match="internal_batch_size must be left out"):
        attribution.create("smooth_grad", model, internal_batch_size=2)(images, 1)


# Differentiated once more


@pytest.mark.parametrize("training", [False, True])
def test_gradient_penalty_of_the_user_is_that_of_the_bare_model(training: bool) -> None:
    """Check penalties on images and on parameters; held statistics concern the read-out alone."""
    model = randomised(Inverted()).train(training)
    images = images_for(model, 4).requires_grad_()

    def gradients(model: nn.Module, output: Tensor) -> list[Tensor]:
        wanted = [images, *model.parameters()]
        first = torch.autograd.grad(F.cross_entropy(output, TARGETS), wanted, create_graph=True)
        penalty = torch.stack([g.square().sum() for g in first]).sum()
        return [g.detach() for g in torch.autograd.grad(penalty, wanted)]

    expected = gradients(model, model(images))
    with attribution.create("guided_backprop", model).capture() as read:
        output = model(images)
        read(output, TARGETS)
        torch.testing.assert_close(gradients(model, output), expected)


def test_gradient_that_a_model_takes_of_its_own_input_is_whole() -> None:
    class Energy(nn.Module):
        create_graph = True

        def __init__(self) -> None:
            super().__init__()
            self.network = Small(nn.SiLU)

        def forward(self, images: Tensor) -> Tensor:
            with torch.enable_grad():
                images = images if images.requires_grad else images.requires_grad_()
                energy = self.network(images).sum() + images.square().sum()
                (g,) = torch.autograd.grad(energy, images, create_graph=self.create_graph)
            logits: Tensor = self.network(images * g)
            return logits

    model = randomised(Energy()).eval()
    images = images_for(model, 4)
    for model.create_graph in (True, False):
        expected = model(images.clone()).detach()
        with attribution.create("backprop", model).capture():
            torch.testing.assert_close(model(images.clone()).detach(), expected)


@pytest.mark.parametrize("rows", [4, 600], ids=["within a block", "beyond one"])
def test_third_order_is_that_of_torch_at_any_size(rows: int) -> None:
    conv = nn.Conv2d(1, 1, 1)
    model = nn.Sequential(conv, nn.SiLU(), nn.Flatten(), nn.LazyLinear(2)).double()
    images = torch.rand(1, 1, rows, 256, dtype=torch.float64) - 0.5
    model(images)
    weights = torch.rand_like(images)

    def third(heat: Tensor) -> Tensor:
        (first,) = torch.autograd.grad((heat * weights).sum(), conv.weight, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), conv.weight)
        return second

    x = images.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(x)[:, 1].sum(), x, create_graph=True)
    expected = third(g)
    with attribution.create("backprop", model, readout="sum", normalise="none").capture() as read:
        torch.testing.assert_close(third(read(model(images), 1)), expected)


# Activation checkpointing


@pytest.mark.parametrize("name", ["smooth_grad", "integrated_gradients"])
def test_copies_in_a_training_step_are_recomputed_in_evaluation_mode_too(name: str) -> None:
    class Parts(nn.Module):
        def __init__(self, *, keeps: bool) -> None:
            super().__init__()
            self.network, self.keeps, self.drop = Small(nn.SiLU), keeps, nn.Dropout(0.5)

        def forward(self, images: Tensor) -> Tensor:
            n = self.network

            def body(x: Tensor) -> Tensor:
                return n.excited(self.drop(n.entered(x)))

            x = body(images) if self.keeps else checkpoint(body, images, use_reentrant=False)
            logits: Tensor = n.head(x.mean((2, 3)))
            return logits

    found = []
    for keeps in (True, False):
        model = randomised(Parts(keeps=keeps)).train()
        few = {"samples": 2} if name == "smooth_grad" else {"steps": 3}
        generator = attribution.create(name, model, normalise="none", **few)
        torch.manual_seed(0)
        with generator.capture() as read:
            output = model(images_for(model, 4))
            heat = read(output, TARGETS)
            (output.square().sum() + heat.square().sum()).backward()
        assert all(module.training for module in model.modules())
        found.append([heat.detach(), *(p.grad for p in model.parameters())])
    torch.testing.assert_close(*found)
