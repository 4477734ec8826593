"""Model randomisation test: maps of a model whose weights are reset layer by layer (Adebayo et al. 2018).

A map that hardly changes when all trained weights are replaced depends on the image rather than on the
model, like the output of an edge detector.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from radgaze.double import double, with_double
from radgaze.evaluation.metrics.faithfulness import correlation

Mode = Literal["cascading", "independent"]

ROWS = 16
"""Number of maps that are ranked at once, which bounds the memory."""
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the names and modules that have parameters of their own, the module nearest to the output first.

    Modules with `reset_parameters` and only buffers are included: the statistics of a batch normalisation are
    learnt, too. The order is the reverse of registration, since networks are usually built from the input on;
    a module that is registered several times counts once.
    """
    return [
        (name, module)
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
        or (_resets(module) and any(True for _ in module.buffers(recurse=False)))
    ][::-1]


def randomisations(
    model: nn.Module, mode: Mode, *, seed: int, places: Container[int] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the model with the weights of some of its layers randomised, once for each layer.

    A layer is initialised as when it is built (`reset_parameters`, which also clears the statistics of a
    batch normalisation). The parameters of a module without this method are drawn from a normal distribution
    with their mean and standard deviation; where they are constant, the deviation is their absolute value.
    The random weights of a layer depend only on the seed and the layer, and torch's random state is left
    unchanged. The model is changed in place; all parameters and buffers are restored exactly afterwards, also
    when the loop is left early.

    Args:
        model: The trained model.
        mode: "cascading" to randomise all layers from the output to the one named, "independent" to randomise
            only the one named.
        seed: Random seed.
        places: Places in `layers` of those for which the model is yielded; None for all.

    Yields:
        The name of a layer, and the model, which is valid until the next is requested.

    Raises:
        ValueError: `mode` is neither of the two.
    """
    if mode not in ("cascading", "independent"):
        raise ValueError(f"mode must be 'cascading' or 'independent', got {mode!r}")
    trained = {name: value.detach().clone() for name, value in _tensors(model).items()}
    try:
        for place, (name, layer) in enumerate(layers(model)):
            is_asked_for = places is None or place in places
            if is_asked_for or mode == "cascading":
                _draw(layer, seed + place)
            if is_asked_for:
                yield name, model
                if mode == "independent":
                    _restore(model, trained)
    finally:
        _restore(model, trained)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Compute the structural similarity of maps (B, 1, H, W) in [0, 1] (Wang et al. 2004), of shape (B,).

    As in the paper, the window is Gaussian with 11 pixels and σ = 1.5, K₁ = .01 and K₂ = .03; the mean is
    over the positions at which the window is within the map. In [−1, 1], 1 is equal. NaN where a map is not
    finite.

    Raises:
        ValueError: The maps differ in shape, or are smaller than the window.
    """
    if a.shape != b.shape or min(a.shape[-2:]) < _WINDOW:
        raise ValueError(
            f"maps must have one shape of {_WINDOW} pixels or more, got {tuple(a.shape)}, {tuple(b.shape)}"
        )
    a, b = double(a), double(b)
    down, across = (_windows(side).to(a) for side in a.shape[-2:])

    def mean(maps: Tensor) -> Tensor:
        return down @ maps @ across.T

    of_a, of_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - of_a**2, mean(b * b) - of_b**2
    both = mean(a * b) - of_a * of_b
    similar = (2 * of_a * of_b + _K1**2) * (2 * both + _K2**2)
    return (similar / ((of_a**2 + of_b**2 + _K1**2) * (var_a + var_b + _K2**2))).mean((1, 2, 3))


def _windows(side: int) -> Tensor:
    """Weights of a window's pixels at each of its places along a side, of shape (side − 10, side).

    Matrices are faster than convolutions, which are slow in double precision.
    """
    at = torch.arange(side)[None] - torch.arange(side - _WINDOW + 1)[:, None] - _WINDOW // 2
    weights = torch.exp(-0.5 * (at.double() / _SIGMA) ** 2).masked_fill(at.abs() > _WINDOW // 2, 0)
    return weights / weights.sum(1, keepdim=True)


def rank_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Compute Spearman's correlation of maps (B, 1, H, W) over their pixels, of shape (B,).

    Ties share their mean rank. In [−1, 1], 1 is the same order of pixels. NaN where a map is constant or not
    finite.
    """
    parts, a, b = [], with_double(a), with_double(b)
    for one, other in zip(torch.split(a.flatten(1), ROWS), torch.split(b.flatten(1), ROWS), strict=True):
        finite = torch.isfinite(one).all(1) & torch.isfinite(other).all(1)
        parts.append(torch.where(finite, correlation(_ranks(one), _ranks(other)), torch.nan))
    return torch.cat(parts)


def _ranks(values: Tensor) -> Tensor:
    """Ranks of values (B, K) within their row, from 0; equal values share their mean rank."""
    order = _order(values)
    ordered = values.gather(1, order)
    fresh = ordered[:, 1:] != ordered[:, :-1]
    group = F.pad(fresh.long().cumsum(1), (1, 0))  # of equal values, in order
    place = torch.arange(values.shape[1], dtype=torch.float64, device=values.device).expand(len(values), -1)
    empty = torch.zeros_like(place)
    count = empty.scatter_add(1, group, torch.ones_like(place))
    mean = empty.scatter_add(1, group, place) / count.clamp_min(1)
    return empty.scatter(1, order, mean.gather(1, group))


def _order(values: Tensor) -> Tensor:
    """Places of values (B, K) in ascending order; that of equal values is any."""
    if values.device.type != "cpu" or values.dtype == torch.bfloat16:  # NumPy has no such type
        return values.argsort(1)
    return torch.from_numpy(np.argsort(values.detach().numpy(), axis=1))  # three times as fast as torch's


@torch.no_grad()
def _draw(layer: nn.Module, seed: int) -> None:
    parameters = list(layer.parameters(recurse=False))
    devices = {parameter.device for parameter in parameters if parameter.is_cuda}
    with torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(seed)
        if _resets(layer):
            layer.reset_parameters()  # type: ignore[operator]
            return
        for parameter in parameters:
            size = float(parameter.abs().max())
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
            constant = spread <= 1e-6 * size  # rounding errors of single precision
            parameter.normal_(float(parameter.mean()), size if constant else spread)


def _resets(layer: nn.Module) -> bool:
    return callable(getattr(layer, "reset_parameters", None))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, including those that a state dict leaves out."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


@torch.no_grad()
def _restore(model: nn.Module, trained: dict[str, Tensor]) -> None:
    for name, value in _tensors(model).items():
        value.copy_(trained[name])
