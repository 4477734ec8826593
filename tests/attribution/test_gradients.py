"""Parameter gradients of a heatmap loss are exact: against finite differences, parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution, models
from radgaze.attribution import steps
from tests.attribution.networks import Functional, Small, randomised

Loss = Callable[[], Tensor]


@pytest.mark.parametrize("name", attribution.names())
@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.GELU, nn.Hardswish, nn.ELU, nn.LeakyReLU])
@pytest.mark.parametrize("training", [False, True])
def test_heatmap_loss_gradient_matches_finite_differences(
    name: str, activation: type[nn.Module], training: bool
) -> None:
    torch.manual_seed(1)
    model = randomised(Small(activation)).train(training)
    images = torch.rand(3, 1, 20, 18, dtype=torch.float64)
    _assert_exact(model, images, name, hold=training)


@pytest.mark.parametrize("name", attribution.names())
def test_exact_batch_statistics_match_finite_differences_in_training_mode(name: str) -> None:
    torch.manual_seed(2)
    model = randomised(Small(nn.SiLU)).train()
    images = torch.rand(4, 1, 16, 16, dtype=torch.float64)
    _assert_exact(model, images, name, batch_statistics="exact")


def test_functional_inplace_and_written_out_activations_match_finite_differences() -> None:
    torch.manual_seed(3)
    model = Functional().double()
    _assert_exact(model, torch.rand(2, 1, 10, 10, dtype=torch.float64), "guided_backprop")


@pytest.mark.parametrize("training", [False, True])
def test_efficientnet_unet_matches_finite_differences(training: bool) -> None:
    torch.manual_seed(4)
    model = models.create(models.ModelConfig(weights="none", dropout=0.0), 3)
    images = torch.rand(4, 1, 64, 64, dtype=torch.float64)
    model = randomised(model).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Running statistics become the mean of what is seen: of a size with the activations.
            module.momentum = None
            module.reset_running_stats()
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0  # finite differences need the same network twice
    model(torch.rand(8, 1, 64, 64, dtype=torch.float64))
    model.train(training)
    encoder = model.network.encoder
    block = encoder.blocks[1][0]
    chosen = {
        "stem": encoder.conv_stem.weight,
        "strided depthwise": block.conv_dw.weight,
        "batch norm scale": block.bn1.weight,
        "batch norm shift": block.bn2.bias,
        "SE reduce": block.se.conv_reduce.weight,
        "SE expand": block.se.conv_expand.bias,
        "pointwise": block.conv_pwl.weight,
        "deep": encoder.blocks[5][1].conv_pw.weight,
        "head": model.network.classification_head[3].weight,
        "mask head": model.network.segmentation_head[0].weight,
    }
    _assert_exact(
        model,
        images,
        "guided_backprop",
        parameters=chosen,
        hold=training,
        steps_=(1e-6, 1e-7),
        tolerance=1e-4,
    )


def _assert_exact(
    model: nn.Module,
    images: Tensor,
    name: str,
    *,
    parameters: dict[str, nn.Parameter] | None = None,
    hold: bool = False,
    steps_: tuple[float, ...] = (1e-5, 1e-6, 1e-7),
    tolerance: float = 1e-5,
    **options: str,
) -> None:
    """Directional derivatives of classification + mask + heatmap loss, one random direction per parameter."""
    classes = torch.arange(len(images)) % 3
    weights = torch.rand(len(images), 1, *images.shape[-2:], dtype=torch.float64)
    generator = attribution.create(name, model, normalise="none", **options)

    size: dict[str, Tensor] = {}

    def loss() -> Tensor:
        with generator.reading(model) as read:
            output = model(images)
            logits = output if isinstance(output, Tensor) else output.logits
            heat = read(logits, classes)
        # A constant brings the heatmap to a size at which its share of the gradient counts beside the rest.
        size.setdefault("max", heat.detach().max())
        heat = heat / size["max"]
        total = F.cross_entropy(logits, classes) + (weights * heat).sum() + (heat * heat).sum()
        return total if isinstance(output, Tensor) else total + output.mask.square().mean()

    parameters = dict(model.named_parameters()) if parameters is None else parameters
    with _statistics_held(hold) as start:
        start()
        exact = torch.autograd.grad(loss(), list(parameters.values()))
        for (label, parameter), gradient in zip(parameters.items(), exact, strict=True):
            direction = torch.randn_like(parameter)
            direction /= direction.norm()
            expected = (gradient * direction).sum().item()
            measured = []
            for step in steps_:
                values = []
                for sign in (1, -1):
                    kept = parameter.data.clone()
                    parameter.data += sign * step * direction
                    start()
                    values.append(loss().item())
                    parameter.data.copy_(kept)
                measured.append((values[0] - values[1]) / (2 * step))
            # Too long a step bends or crosses a kink, too short a one drowns in rounding: the best counts.
            nearest = min(measured, key=lambda value: abs(value - expected))
            assert nearest == pytest.approx(expected, rel=tolerance, abs=tolerance * 0.1), label


@contextmanager
def _statistics_held(hold: bool) -> Iterator[Callable[[], None]]:
    """In training mode "held" means: 1/σ in the read-out is a constant. The oracle keeps its first values."""
    kept: list[Tensor] = []
    calls = [0]
    original = steps.BatchNorm.forward

    def forward(ctx: object, *args: object) -> Tensor:
        y = original(ctx, *args)
        saved = list(ctx.to_save)  # type: ignore[attr-defined]
        if len(kept) == calls[0]:
            kept.append(saved[2].clone())
        ctx.held = kept[calls[0]]  # type: ignore[attr-defined]
        calls[0] += 1
        return y

    def start() -> None:
        calls[0] = 0

    if not hold:
        yield start
        return
    backward = steps.BatchNorm.backward

    def held_backward(ctx: object, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.pass_.reading:  # type: ignore[attr-defined]
            return backward(ctx, *grads)
        weight = ctx.saved_tensors[1]  # type: ignore[attr-defined]
        return (grads[0] * (ctx.held * weight).view(1, -1, 1, 1), *[None] * 8)  # type: ignore[attr-defined]

    steps.BatchNorm.forward, steps.BatchNorm.backward = staticmethod(forward), staticmethod(held_backward)
    try:
        yield start
    finally:
        steps.BatchNorm.forward, steps.BatchNorm.backward = staticmethod(original), staticmethod(backward)
