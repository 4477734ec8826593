"""Metrics of the faithfulness of a map: the model's score of a class while pixels of the image change.

A score is a function that maps images (N, C, H, W) to (N,). N is a multiple of the number B of images of the
metric: the batch holds changed versions of these B images, in their order, once or several times. N is at
most `AT_ONCE` or, where B is larger, B. Random numbers are the same for all images, so that the metric of an
image does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from radgaze.double import double
from radgaze.objectives.matching import blur

Score = Callable[[Tensor], Tensor]

AT_ONCE = 64
"""Number of images that are scored at once."""


class Curve(NamedTuple):
    """The score while pixels change in the order of a map.

    Attributes:
        area: Area under the curve by trapezoids, the mean score, of shape (B,). NaN where the map is not
            finite.
        fractions: Fractions of the pixels that have changed, from 0 to 1, of shape (K,).
        values: Scores of shape (B, K).
    """

    area: Tensor
    fractions: Tensor
    values: Tensor


Ends = tuple[Tensor, Tensor]
"""Scores of the unchanged and of the wholly changed images, of shape (B,) each; the same for every map."""


def deletion(
    score: Score, images: Tensor, maps: Tensor, baseline: Tensor, *, steps: int, ends: Ends | None = None
) -> Curve:
    """Compute the score while a baseline replaces the image, the highest pixels of the map first.

    Petsiuk, Das and Saenko (2018), RISE, section 4.2. The area has the range of the score, lower is better:
    the score drops with the first pixels. Of equal pixels the upper left one changes first; the pixels of a
    constant map change in a random order, the same for all images, so that it scores as chance.

    Args:
        score: Score of a class, see the module.
        images: Images of shape (B, C, H, W).
        maps: Maps of shape (B, 1, H, W).
        baseline: Replacement of the images, of shape (B, C, H, W).
        steps: Number of equal parts in which the pixels change.
        ends: Scores of the images and of the baseline, where they are known; None where they are not.

    Raises:
        ValueError: `steps` is below 1.
    """
    return _curve(score, images, baseline, maps, steps, ends)


def insertion(
    score: Score, images: Tensor, maps: Tensor, baseline: Tensor, *, steps: int, ends: Ends | None = None
) -> Curve:
    """Compute the score while the image replaces a baseline, the highest pixels of the map first.

    See `deletion` for the arguments; higher is better: the first pixels suffice for the class. `ends` are the
    scores of the baseline and of the images.
    """
    return _curve(score, baseline, images, maps, steps, ends)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Blur images, as a baseline that adds no edges.

    Args:
        images: Images of shape (B, 1, H, W).
        sigma: Standard deviation of the Gaussian, in pixels.
    """
    return blur(images, torch.full((len(images), 2), float(sigma)))


@dataclass(frozen=True)
class Removals:
    """Random sets of pixels, and the drop of the score without each; the same for every map.

    Attributes:
        sets: Whether a set has a pixel, of shape (K, H · W).
        drops: Drop of the score, of shape (B, K).
    """

    sets: Tensor
    drops: Tensor


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
    """Compute sensitivity-n: whether the attributions of n pixels sum to the drop of the score without them.

    Ancona et al. (2018), definition 4.1: Pearson's correlation, over random sets S of n pixels, of Σ_S a and
    f(x) − f(x without S). In [−1, 1], higher is better, 0 is chance and the value of a constant map. NaN
    where the score drops by the same amount for all sets.

    Args:
        score: Score of a class, see the module; a logit, as in the paper, rather than a probability.
        images: Images of shape (B, C, H, W).
        attributions: Maps of shape (B, 1, H, W).
        n: Number of pixels in a set.
        samples: Number of sets.
        seed: Random seed of the sets.
        baseline: Replacement of the pixels, of shape (B, C, H, W); None for zeros.

    Returns:
        The correlation for each image, of shape (B,).

    Raises:
        ValueError: `n` is below 1 or not less than the number of pixels.
    """
    return sensitivity(
        attributions, removals(score, images, n=n, samples=samples, seed=seed, baseline=baseline)
    )


def removals(
    score: Score, images: Tensor, *, n: int, samples: int, seed: int, baseline: Tensor | None = None
) -> Removals:
    """Draw sets of pixels and score the images without each; see `sensitivity_n` for the arguments.

    Raises:
        ValueError: `n` is below 1 or not less than the number of pixels.
    """
    B, pixels = len(images), images[0, 0].numel()
    if not 1 <= n < pixels:
        raise ValueError(f"n must be at least 1 and less than the {pixels} pixels of an image, got {n}")
    baseline = torch.zeros_like(images) if baseline is None else baseline
    draw = torch.Generator().manual_seed(seed)
    sets = torch.zeros(samples, pixels, dtype=torch.bool)
    for chosen in sets:
        chosen[torch.randperm(pixels, generator=draw)[:n]] = True
    sets = sets.to(images.device)
    whole, without = double(score(images)), []
    for some in _parts(sets, B):
        gone = some.view(-1, 1, 1, *images.shape[-2:])
        changed = torch.where(gone, baseline, images)  # (sets, B, C, H, W)
        without.append(score(changed.flatten(0, 1)).view(-1, B))
    return Removals(sets, whole[:, None] - double(torch.cat(without)).T)


def sensitivity(attributions: Tensor, removed: Removals) -> Tensor:
    """Compute sensitivity-n of maps (B, 1, H, W), given the drops of the score; see `sensitivity_n`."""
    sums = double(attributions.flatten(1)) @ double(removed.sets).T
    flat = sums.amax(1) - sums.amin(1) <= 1e-9 * sums.abs().amax(1)
    some = removed.drops.amax(1) > removed.drops.amin(1)
    return torch.where(flat & some, 0.0, correlation(sums, removed.drops))


def infidelity(
    score: Score, images: Tensor, attributions: Tensor, *, samples: int, seed: int, noise: float = 0.2
) -> Tensor:
    """Compute the infidelity: the mean squared error of score changes under noise predicted by attributions.

    Yeh et al. (2019), definition 2.1 with Gaussian perturbations: the mean over I ~ N(0, noise²) of
    (β Iᵀa − (f(x) − f(x − I)))², with the optimal β for each image, since the scale of a map is arbitrary
    (their section 5). At least 0, lower is better; for a map of zeros it is the mean squared change.

    Args:
        score: Score of a class, see the module.
        images: Images of shape (B, C, H, W).
        attributions: Maps of shape (B, 1, H, W), the same for all channels.
        samples: Number of perturbations.
        seed: Random seed of the perturbations.
        noise: Standard deviation of the perturbations, in units of the image's range.

    Returns:
        The infidelity for each image, of shape (B,).
    """
    B = len(images)
    draw = torch.Generator().manual_seed(seed)
    shaken = noise * torch.randn(samples, *images.shape[1:], generator=draw)
    shaken = shaken.to(images)
    sums = double(attributions.flatten(1)) @ double(shaken.sum(1).flatten(1)).T
    whole, changes = double(score(images)), []
    for some in _parts(shaken, B):
        changed = images - some[:, None]
        changes.append(score(changed.flatten(0, 1)).view(-1, B))
    moved = whole[:, None] - double(torch.cat(changes)).T
    squares = (sums**2).sum(1, keepdim=True)
    beta = (sums * moved).sum(1, keepdim=True) / torch.where(squares > 0, squares, torch.inf)
    return ((beta * sums - moved) ** 2).mean(1)


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Compute Pearson's correlation of the rows of a and b (B, K), of shape (B,); NaN for a constant row."""
    a, b = double(a), double(b)
    least = 1e-12 * _length(a), 1e-12 * _length(b)  # rounding errors of a constant row
    a, b = (x - x.mean(1, keepdim=True) for x in (a, b))
    flat = (a.norm(dim=1) <= least[0]) | (b.norm(dim=1) <= least[1])
    figure = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return torch.where(flat, torch.nan, figure.clamp(-1, 1))


def _length(x: Tensor) -> Tensor:
    lengths: Tensor = x.abs().amax(1).clamp_min(torch.finfo(x.dtype).tiny) * x.shape[1] ** 0.5
    return lengths


def _curve(score: Score, start: Tensor, end: Tensor, maps: Tensor, steps: int, ends: Ends | None) -> Curve:
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    B, pixels = len(start), maps[0].numel()
    flat = maps.flatten(1)
    constant = flat.amax(1) == flat.amin(1)
    chance = torch.rand(pixels, generator=torch.Generator().manual_seed(0)).to(flat)
    order = torch.where(constant[:, None], chance, flat).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(pixels, device=maps.device).expand(B, -1)
    rank = torch.empty_like(order).scatter_(1, order, places).view_as(maps)
    fractions = torch.linspace(0, 1, steps + 1, device=maps.device)
    counts, values = (fractions * pixels).round(), []
    for some in _parts(counts if ends is None else counts[1:-1], B):
        changed = torch.where(rank < some.view(-1, 1, 1, 1, 1), end, start)
        values.append(score(changed.flatten(0, 1)).view(-1, B))
    if ends is not None:
        values = [ends[0][None], *values, ends[1][None]]
    scores = torch.cat(values).T
    area = torch.trapezoid(scores, fractions.to(scores), dim=1)
    return Curve(torch.where(torch.isfinite(flat).all(1), area, torch.nan), fractions, scores)


def _parts(changes: Tensor, images: int) -> Iterator[Tensor]:
    """Split changes into parts for which all images together are at most `AT_ONCE`."""
    if len(changes):
        yield from torch.split(changes, max(1, AT_ONCE // images))
