"""The oracle of all gradients: central differences of the loss itself, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from radgaze import attribution
from tests.attribution.networks import Network


def assert_heatmap_loss_is_exact(
    generator: attribution.Generator,
    images: Tensor,
    *,
    parameters: Mapping[str, Tensor] | None = None,
    held: bool = False,
    steps: Iterable[float] = (1e-5, 1e-6, 1e-7),
    tolerance: float = 1e-5,
) -> None:
    """The gradients of a training step's loss, classification + mask + heatmap, match finite differences.

    Args:
        generator: Generator of raw maps, for a model in float64.
        images: (B, C, H, W), float64.
        parameters: Parameters to differentiate with respect to; all where None.
        held: Whether batch norms in training mode hold their statistics in the read-out.
        steps: Step lengths, from the longest to the shortest.
        tolerance: Relative tolerance.
    """
    model = generator.model
    classes = torch.arange(len(images)) % 3
    weights = torch.rand(len(images), 1, *images.shape[-2:], dtype=torch.float64)
    oracle = HeldStatistics() if held else None
    size: list[Tensor] = []

    def loss(*, measured: bool) -> Tensor:
        with generator.capture(create_graph=not measured) as read:
            if measured and oracle is not None:
                with oracle:
                    output = model(images)
            else:
                output = model(images)
            heat = read(output, classes)
        # A constant brings the heatmap to a size at which its share of the gradient counts beside the rest.
        size.append(heat.detach().abs().max())
        assert size[0] > 0
        heat = heat / size[0]
        logits = output if isinstance(output, Tensor) else output.logits
        total = F.cross_entropy(logits, classes) + (weights * heat).sum() + (heat * heat).sum()
        return total if isinstance(output, Tensor) else total + output.mask.square().mean()

    total = loss(measured=False)
    torch.testing.assert_close(loss(measured=True), total, rtol=1e-9, atol=1e-9)
    parameters = dict(model.named_parameters()) if parameters is None else parameters
    gradients = torch.autograd.grad(total, list(parameters.values()))
    for (label, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        assert_matches(lambda: loss(measured=True), parameter, gradient, label, steps, tolerance)


def assert_matches(
    loss: Callable[[], Tensor],
    parameter: Tensor,
    gradient: Tensor,
    label: str = "",
    steps: Iterable[float] = (1e-5, 1e-6, 1e-7),
    tolerance: float = 1e-5,
) -> None:
    """The loss's directional derivative in a parameter, along a random direction, is as the gradient says.

    Too long a step bends or crosses a kink, too short a one drowns in rounding: one of them has to match.
    """
    direction = torch.randn_like(parameter)
    direction /= direction.norm()
    expected = (gradient * direction).sum().item()
    for step in steps:
        values = []
        for sign in (1, -1):
            kept = parameter.data.clone()
            parameter.data += sign * step * direction
            values.append(loss().item())
            parameter.data.copy_(kept)
        measured = (values[0] - values[1]) / (2 * step)
        if measured == pytest.approx(expected, rel=tolerance, abs=tolerance * 0.1):
            return
    assert measured == pytest.approx(expected, rel=tolerance, abs=tolerance * 0.1), label


def still(model: Network) -> Network:
    """The model with norms that leave their running statistics alone: each call meets the same model."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return model


class HeldStatistics(TorchFunctionMode):
    """Reference of "held" statistics: batch norm has its value, and the slope γ/σ with σ of its first pass.

    Entered around the model, within `capture`, it takes batch norms before the engine sees them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rstd: list[Tensor] = []
        self._met = 0

    def __enter__(self) -> Self:
        self._met = 0
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.batch_norm or not kwargs["training"]:
            return func(*args, **kwargs)
        x, gamma, eps = args[0], kwargs["weight"], kwargs["eps"]
        with torch.no_grad():
            value = func(*args, **kwargs)
            if self._met == len(self._rstd):
                self._rstd.append((x.var((0, 2, 3), correction=0) + eps).rsqrt())
        rstd = self._rstd[self._met]
        self._met += 1
        slope = rstd if gamma is None else gamma * rstd
        return value + slope.view(1, -1, 1, 1) * (x - x.detach())
