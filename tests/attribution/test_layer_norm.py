"""Layer norm's read-out has the derivatives that autograd's own double backward gives, to any order asked."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.engine import layer_norm
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.layer_norm import LayerNorm
from radgaze.attribution.rules import BACKPROP
from tests.attribution.finite_differences import assert_heatmap_loss_is_exact
from tests.attribution.generator_contract import images_for
from tests.attribution.networks import randomised

SHAPES: dict[str, tuple[tuple[int, ...], list[int]]] = {
    "tokens": ((2, 5, 7), [7]),
    "channels last": ((2, 3, 4, 6), [6]),
    "all of a case": ((3, 2, 4, 5), [2, 4, 5]),
    "one row": ((9,), [9]),
}


def inputs(shape: tuple[int, ...], over: list[int]) -> list[Tensor]:
    torch.manual_seed(0)
    sizes: list[tuple[int, ...]] = [shape, tuple(over), tuple(over), shape]
    x, gamma, beta, g = (torch.randn(size, dtype=torch.float64) for size in sizes)
    return [each.requires_grad_() for each in (3 * x + 1, gamma + 2, beta, g)]


def read_out(x: Tensor, gamma: Tensor | None, beta: Tensor | None, g: Tensor, over: list[int]) -> Tensor:
    """The gradient in x as our step gives it."""
    pass_ = Pass()
    y = LayerNorm.apply(x, gamma, beta, over, 0.1, pass_)
    pass_.rule = BACKPROP
    (p,) = torch.autograd.grad(y, x, g, create_graph=True)
    pass_.rule = None
    assert isinstance(p, Tensor)
    return p


def straight(x: Tensor, gamma: Tensor | None, beta: Tensor | None, g: Tensor, over: list[int]) -> Tensor:
    (p,) = torch.autograd.grad(F.layer_norm(x, over, gamma, beta, 0.1), x, g, create_graph=True)
    return p


@pytest.mark.parametrize("block", [1, 16, 2**17])
@pytest.mark.parametrize("learned", ["γ and β", "γ", "nothing"])
@pytest.mark.parametrize("kind", SHAPES)
def test_read_out_and_its_derivatives_are_autograds(
    kind: str, learned: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer_norm, "BLOCK", block)
    shape, over = SHAPES[kind]
    x, gamma, beta, g = inputs(shape, over)
    given = (x, None if learned == "nothing" else gamma, beta if "β" in learned else None, g)
    sources = [each for each in (x, given[1], g) if each is not None]
    weights = torch.randn(shape, dtype=torch.float64)
    found, expected = read_out(*given, over), straight(*given, over)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    ours, theirs = (torch.autograd.grad((p**2 * weights).sum(), sources) for p in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def written_out(x: Tensor, gamma: Tensor, beta: Tensor, g: Tensor, over: list[int]) -> Tensor:
    """As `straight`; torch's own double backward holds μ and σ, so that its third derivatives are wrong."""
    var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    (p,) = torch.autograd.grad((x - mean) / (var + 0.1).sqrt() * gamma + beta, x, g, create_graph=True)
    return p


def test_third_derivatives_are_exact() -> None:
    shape, over = SHAPES["tokens"]
    x, gamma, beta, g = inputs(shape, over)
    weights = torch.randn(shape, dtype=torch.float64)
    found = []
    for of in (read_out, written_out):
        p = of(x, gamma, beta, g, over)
        second = torch.autograd.grad((p**2 * weights).sum(), (x, gamma, g), create_graph=True)
        total = torch.stack([each.square().sum() for each in second]).sum()
        found.append(torch.autograd.grad(total, (x, gamma, g)))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


class Normed(nn.Module):
    """Convolutions with layer norms over channels, as ConvNeXt's, and one over all of a case."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.Conv2d(6, 6, 3, padding=1, groups=6)
        self.norm, self.last = nn.LayerNorm(6), nn.LayerNorm((6, 5, 5), elementwise_affine=False)
        self.head = nn.Linear(6, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.b(F.gelu(self.a(images)))
        x = F.gelu(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), approximate="tanh")
        logits: Tensor = self.head(self.last(x).mean((2, 3)))
        return logits


@pytest.mark.parametrize("name", ["backprop", "guided_backprop"])
def test_heatmap_losses_match_finite_differences(name: str) -> None:
    torch.manual_seed(0)
    model = randomised(Normed())
    generator = attribution.create(name, model, normalise="none")
    assert_heatmap_loss_is_exact(generator, images_for(model, 2, size=(10, 10)))


def test_loss_of_the_output_alone_has_autograds_gradients() -> None:
    model = randomised(Normed())
    images = images_for(model, 2, size=(10, 10))
    expected = torch.autograd.grad(model(images).square().sum(), list(model.parameters()))
    with attribution.create("backprop", model).capture() as read:
        output = model(images)
        read(output, 1)
    found = torch.autograd.grad(output.square().sum(), list(model.parameters()))
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
