"""Does the model use what a map points at? Its score of a class while pixels are taken from the image.

A score is a function of images (N, C, H, W) → (N,): N is a multiple of the B images given, which come in
their order, once or several times over. It is called with `AT_ONCE` images at a time or, where B is larger,
with B. What is random is the same for all images, so that an image's figure does not depend on those beside
it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from radgaze.objectives.matching import blur

Score = Callable[[Tensor], Tensor]

AT_ONCE = 64
"""Images that are scored at once."""


class Curve(NamedTuple):
    """The score while pixels change, in a map's order.

    Attributes:
        area: (B,) under the curve, by trapezoids: the mean score on the way. NaN where the map is not finite.
        fractions: (K,) of the pixels that have changed, from 0 to 1.
        values: (B, K) the score.
    """

    area: Tensor
    fractions: Tensor
    values: Tensor


def deletion(score: Score, images: Tensor, maps: Tensor, baseline: Tensor, *, steps: int) -> Curve:
    """The score while the image gives way to a baseline, the highest pixels of the map first.

    Petsiuk, Das and Saenko (2018), RISE, section 4.2. In the score's range, lower is better: the class goes
    with the first pixels. Of equal pixels the upper left one goes first; a constant map has no order and is
    given a random one, the same for all, so that it scores what chance does.

    Args:
        score: See the module.
        images: (B, C, H, W).
        maps: (B, 1, H, W).
        baseline: (B, C, H, W) what takes their place.
        steps: In how many equal parts the pixels change.
    """
    return _curve(score, images, baseline, maps, steps)


def insertion(score: Score, images: Tensor, maps: Tensor, baseline: Tensor, *, steps: int) -> Curve:
    """The score while a baseline gives way to the image, the highest pixels of the map first.

    As `deletion`; higher is better: the first pixels are enough for the class.
    """
    return _curve(score, baseline, images, maps, steps)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images (B, 1, H, W) without their details: a baseline that adds no edges.

    Args:
        images: The images.
        sigma: Of the Gaussian, in pixels.
    """
    return blur(images, torch.full((len(images), 2), float(sigma)))


def sensitivity_n(
    score: Score,
    images: Tensor,
    attributions: Tensor,
    *,
    n: int,
    samples: int,
    seed: int,
    baseline: Tensor | None = None,
) -> Tensor:
    """Sensitivity-n: whether attributions of n pixels add up to what the score loses without these.

    Ancona et al. (2018), definition 4.1: Pearson's correlation, over random sets S of n pixels, of Σ_S a and
    f(x) − f(x without S). In [−1, 1], higher is better, 0 is chance and a constant map's figure. NaN where
    the score is the same without any of the sets.

    Args:
        score: See the module; a logit, as in the paper, rather than a probability.
        images: (B, C, H, W).
        attributions: (B, 1, H, W).
        n: Pixels in a set.
        samples: Sets.
        seed: Of the sets.
        baseline: (B, C, H, W) what takes their place; None for zeros.

    Returns:
        (B,).
    """
    B, pixels = len(images), attributions[0].numel()
    if not 1 <= n < pixels:
        raise ValueError(f"a set of n = {n} pixels, of an image of {pixels}")
    baseline = torch.zeros_like(images) if baseline is None else baseline
    draw = torch.Generator().manual_seed(seed)
    sets = torch.zeros(samples, pixels, dtype=torch.bool)
    for chosen in sets:
        chosen[torch.randperm(pixels, generator=draw)[:n]] = True
    sets = sets.to(images.device)
    sums = attributions.flatten(1).double() @ sets.double().T
    whole, without = score(images).double(), []
    for some in _parts(sets, B):
        gone = some.view(-1, 1, 1, *images.shape[-2:])
        changed = torch.where(gone, baseline, images)  # (sets, B, C, H, W)
        without.append(score(changed.flatten(0, 1)).view(-1, B))
    losses = whole[:, None] - torch.cat(without).double().T
    flat = sums.amax(1) - sums.amin(1) <= 1e-9 * sums.abs().amax(1)
    some = losses.amax(1) > losses.amin(1)
    return torch.where(flat & some, 0.0, correlation(sums, losses))


def infidelity(
    score: Score, images: Tensor, attributions: Tensor, *, samples: int, seed: int, noise: float = 0.2
) -> Tensor:
    """Infidelity: how far attributions miss what the score changes by under noise.

    Yeh et al. (2019), definition 2.1 with Gaussian perturbations: the mean over I ~ N(0, noise²) of
    (β Iᵀa − (f(x) − f(x − I)))², with the β that is best for the image, since a map's scale is its own
    (section 5 there). From 0 up, lower is better; a map of zeros has the mean of the squared changes.

    Args:
        score: See the module.
        images: (B, C, H, W).
        attributions: (B, 1, H, W), of all channels alike.
        samples: Perturbations.
        seed: Of these.
        noise: Their standard deviation, in units of the image's range.

    Returns:
        (B,).
    """
    B = len(images)
    draw = torch.Generator().manual_seed(seed)
    shaken = noise * torch.randn(samples, *images.shape[1:], generator=draw)
    shaken = shaken.to(images)
    sums = attributions.flatten(1).double() @ shaken.sum(1).flatten(1).double().T
    whole, changes = score(images).double(), []
    for some in _parts(shaken, B):
        changed = images - some[:, None]
        changes.append(score(changed.flatten(0, 1)).view(-1, B))
    moved = whole[:, None] - torch.cat(changes).double().T
    squares = (sums**2).sum(1, keepdim=True)
    beta = (sums * moved).sum(1, keepdim=True) / torch.where(squares > 0, squares, torch.inf)
    return ((beta * sums - moved) ** 2).mean(1)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of the rows of a and b (B, K): (B,), NaN where one is constant."""
    a, b = a.double(), b.double()
    least = 1e-12 * _length(a), 1e-12 * _length(b)  # what rounding leaves of a constant row
    a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
    flat = (a.norm(dim=1) <= least[0]) | (b.norm(dim=1) <= least[1])
    figure = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.where(flat, torch.nan, figure.clamp(-1, 1))


def _length(x: Tensor) -> Tensor:
    lengths: Tensor = x.abs().amax(1).clamp_min(torch.finfo(x.dtype).tiny) * x.shape[1] ** 0.5
    return lengths


def _curve(score: Score, start: Tensor, end: Tensor, maps: Tensor, steps: int) -> Curve:
    if steps < 1:
        raise ValueError(f"{steps} steps; there must be at least one")
    B, pixels = len(start), maps[0].numel()
    flat = maps.flatten(1)
    constant = flat.amax(1) == flat.amin(1)
    chance = torch.rand(pixels, generator=torch.Generator().manual_seed(0)).to(flat)
    order = torch.where(constant[:, None], chance, flat).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(pixels, device=maps.device).expand(B, -1)
    rank = torch.empty_like(order).scatter_(1, order, places).view_as(maps)
    fractions = torch.linspace(0, 1, steps + 1, device=maps.device)
    values = []
    for some in _parts((fractions * pixels).round(), B):
        changed = torch.where(rank < some.view(-1, 1, 1, 1, 1), end, start)
        values.append(score(changed.flatten(0, 1)).view(-1, B))
    found = torch.cat(values).T
    area = torch.trapezoid(found, fractions.to(found), dim=1)
    return Curve(torch.where(torch.isfinite(flat).all(1), area, torch.nan), fractions, found)


def _parts(changes: Tensor, images: int) -> Iterator[Tensor]:
    """Changes a few at a time, so many that each of the images in each change is `AT_ONCE` at most."""
    yield from torch.split(changes, max(1, AT_ONCE // images))
