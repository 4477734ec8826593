"""Block by block a formula gives what it gives at once, but for rounding, whatever its tensors' layouts."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.engine import elementwise as module
from radgaze.attribution.engine.elementwise import blockwise

SHAPE = (3, 4, 5, 7)  # 420 elements
LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "transposed": lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
    "every second": lambda x: x.repeat_interleave(2, dim=3)[..., ::2],
    "part of a larger one": lambda x: torch.cat([x, x, x], 1)[:, 4:8],
    "expanded over space": lambda x: x[:, :, :1, :1].expand(SHAPE),
    "expanded over cases": lambda x: x[:1].expand(SHAPE),
    "one number": lambda x: x[0, 0, 0, 0].expand(SHAPE),
    "last cases": lambda x: torch.cat([x, x])[3:],
}


def formula(g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    return g * torch.sigmoid(x), (g - 2 * x).clamp(min=0)


def tensors() -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    return torch.randn(SHAPE, generator=source), torch.randn(SHAPE, generator=source)


@pytest.mark.parametrize("block", [1, 64, 84, 419, 420, 421, 2**17])
def test_result_is_the_formulas_for_blocks_of_any_size(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    g, x = tensors()
    for found, expected in zip(blockwise(formula, g, x), formula(g, x), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("second", LAYOUTS)
@pytest.mark.parametrize("first", LAYOUTS)
def test_result_is_the_formulas_whatever_the_layouts(
    first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    g, x = tensors()
    g, x = LAYOUTS[first](g), LAYOUTS[second](x)
    before = g.clone(), x.clone()
    results = blockwise(formula, g, x)
    for found, expected in zip(results, formula(g, x), strict=True):
        torch.testing.assert_close(found, expected)
        assert found.shape == SHAPE
    assert torch.equal(g, before[0])
    assert torch.equal(x, before[1])


def test_layout_of_the_first_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    g, x = tensors()
    (last, _) = blockwise(formula, LAYOUTS["channels last"](g), x)
    assert last.is_contiguous(memory_format=torch.channels_last)
    (first, _) = blockwise(formula, g, LAYOUTS["channels last"](x))
    assert first.is_contiguous()


@pytest.mark.parametrize(
    "shape", [(420,), (60, 7), (2, 3, 70), (3, 4, 1, 35), (3, 1, 20, 7), (2, 3, 5, 2, 7)]
)
def test_tensors_may_have_any_number_of_dimensions(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    g, x = (tensor.reshape(shape) for tensor in tensors())
    for found, expected in zip(blockwise(formula, g, x), formula(g, x), strict=True):
        torch.testing.assert_close(found, expected)


def test_results_may_be_of_another_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    g, x = tensors()

    def mixed(g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return (g * x).double(), g > x

    for found, expected in zip(blockwise(mixed, g, x), mixed(g, x), strict=True):
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_empty_tensors_stay_empty() -> None:
    empty = torch.empty(0, 4, 5, 7)
    assert [tuple(found.shape) for found in blockwise(formula, empty, empty)] == [(0, 4, 5, 7)] * 2


def test_sizes_of_a_real_network_agree() -> None:
    """Over the true size of a block, too."""
    source = torch.Generator().manual_seed(1)
    g, x = (torch.randn(2, 32, 56, 56, generator=source) for _ in range(2))
    assert g.numel() > module.BLOCK
    for found, expected in zip(blockwise(formula, g, x), formula(g, x), strict=True):
        torch.testing.assert_close(found, expected)


def test_formula_that_cannot_be_compiled_is_done_in_blocks_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: object, **kwargs: object) -> object:
        raise RuntimeError("no compiler here\nand more of it")

    def formula(x: Tensor) -> tuple[Tensor]:
        return (x * 2,)

    monkeypatch.setattr(torch, "compile", lambda formula, **options: broken)
    x = torch.randn(2 * module.BLOCK)
    with pytest.warns(UserWarning, match="could not be compiled and is not: no compiler here$"):
        (found,) = blockwise(formula, x, compiled=True)
    torch.testing.assert_close(found, x * 2)


def test_formula_that_compiles_to_something_else_is_done_in_blocks_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def formula(x: Tensor) -> tuple[Tensor]:
        return (x * 2,)

    monkeypatch.setattr(torch, "compile", lambda formula, **options: lambda x: (x * 2.01,))
    x = torch.randn(2 * module.BLOCK)
    with pytest.warns(UserWarning, match="could not be compiled"):
        (found,) = blockwise(formula, x, compiled=True)
    torch.testing.assert_close(found, x * 2)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize(
    "activation", [nn.SiLU, nn.GELU, partial(nn.GELU, "tanh"), nn.Hardswish, nn.Mish, nn.ReLU]
)
def test_compiled_rules_give_the_same_parameter_gradients(activation: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        activation(),
        nn.Conv2d(32, 32, 3, padding=1),
        activation(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 3),
    )
    images = torch.rand(2, 1, 64, 64)  # feature maps of two blocks
    gradients = []
    for compiled in (False, True):
        generator = attribution.create("guided_backprop", model.eval(), normalise="none", compiled=compiled)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            with generator.capture() as read:
                heat = read(model(images), 1)
            loss, parameters = heat.square().sum(), list(model[:5].parameters())
            gradients.append(torch.autograd.grad(loss, parameters, materialize_grads=True))
    for plain, other in zip(*gradients, strict=True):
        torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-5 * float(plain.abs().max()))


def test_every_formula_is_compiled_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch compiles the closures of one function eight times at most, and then runs them as they are."""
    compiled: list[int] = []

    def counting(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        compiled.append(1)
        return graph.forward

    def times(factor: int) -> Callable[[Tensor], tuple[Tensor]]:
        return lambda x: (x * factor,)

    real: Callable[..., object] = torch.compile
    monkeypatch.setattr(torch, "compile", lambda formula, **_: real(formula, backend=counting, dynamic=True))
    x = torch.randn(2 * module.BLOCK)
    for factor in range(2, 14):
        (found,) = blockwise(times(factor), x, compiled=True)
        torch.testing.assert_close(found, x * factor)
    assert len(compiled) == 12
