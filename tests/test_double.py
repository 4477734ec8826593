"""Figures in double precision, of tensors on a device that has none: Apple's GPUs, which this imitates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from radgaze.double import double
from radgaze.evaluation.metrics import faithfulness
from radgaze.evaluation.metrics.randomisation import rank_correlation, ssim
from radgaze.evaluation.referral.perturbation import perturbed
from radgaze.models.output import Output
from radgaze.objectives.perturbations import windows


class OnMps(Tensor):
    """A tensor that says it is on a GPU of Apple, and refuses double precision as one does."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func == Tensor.device.__get__:
            return torch.device("mps")
        if func is Tensor.cpu:
            with torch._C.DisableTorchFunctionSubclass():
                return args[0].as_subclass(Tensor)
        made = super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        if isinstance(made, OnMps) and made.dtype == torch.float64:
            raise TypeError("the MPS framework doesn't support float64")
        return made


class Moving(TorchFunctionMode):
    """Takes a move to such a device for one to the tensors above."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.to and args[1:] == (torch.device("mps"),):
            return on_mps(args[0])
        return func(*args, **(kwargs or {}))


def on_mps(x: Tensor) -> Tensor:
    return x.as_subclass(OnMps)


def test_such_a_tensor_refuses_double_precision_and_is_converted_on_the_cpu() -> None:
    x = torch.rand(3)
    with pytest.raises(TypeError, match="float64"):
        on_mps(x).double()
    assert type(double(on_mps(x))) is Tensor
    assert torch.equal(double(on_mps(x)), x.double())


class Network(nn.Module):
    """Two logits, linear in the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(256, 2)

    def forward(self, images: Tensor) -> Output:
        weight, bias = self.layer.weight, self.layer.bias
        return Output(images.flatten(1) @ weight.T + bias, None)


def maps() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 16, 16, generator=draw), torch.rand(2, 1, 16, 16, generator=draw)


def of_sum(images: Tensor) -> Tensor:
    return images.flatten(1).sin().sum(1)


@pytest.mark.parametrize(
    "figure",
    [
        ssim,
        rank_correlation,
        lambda a, b: faithfulness.sensitivity_n(of_sum, a, b, n=8, samples=10, seed=0),
        lambda a, b: faithfulness.infidelity(of_sum, a, b, samples=10, seed=0),
        lambda a, b: faithfulness.correlation(a.flatten(1), b.flatten(1)),
        lambda a, _: torch.stack(windows(a, 0.25, 2)),
    ],
    ids=["ssim", "rank_correlation", "sensitivity_n", "infidelity", "correlation", "windows"],
)
def test_figures_are_those_of_the_cpu(figure: Callable[[Tensor, Tensor], Tensor]) -> None:
    a, b = maps()
    with Moving():
        there = figure(on_mps(a), on_mps(b)).cpu()
    torch.testing.assert_close(there, figure(a, b))


def test_the_perturbation_of_a_rejection_is_that_of_the_cpu() -> None:
    torch.manual_seed(0)
    network, images = Network(), maps()[0]
    there, here = (
        perturbed(network, x, (0.01,), score="alpha", kind="softmax", temperature=2.0)[0]
        for x in (on_mps(images), images)
    )
    torch.testing.assert_close(there, here)
