"""Distances of raw heatmaps against the formulas of their papers, written out in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from radgaze.objectives import distances

Numbers = NDArray[np.float64]

NAMES = tuple(name for name, each in distances.REGISTRY.items() if each.raw)


def pair(cases: int = 3, size: tuple[int, int] = (9, 7), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Signed maps of various scales and relevances that reach neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(cases, 1, *size, generator=generator, dtype=torch.float64)
    p = p * torch.logspace(-2, 1, cases, dtype=torch.float64).view(-1, 1, 1, 1)
    q = 0.01 + 0.98 * torch.rand(cases, 1, *size, generator=generator, dtype=torch.float64)
    return p, q


def by_hand(oracle: Callable[[Numbers, Numbers], float], p: Tensor, q: Tensor) -> Numbers:
    return np.array([oracle(a[0].numpy(), b[0].numpy()) for a, b in zip(p, q, strict=True)])


def outside_squared_by_hand(p: Numbers, q: Numbers) -> float:
    return float(sum(((1 - b) * a) ** 2 for a, b in zip(p.flat, q.flat, strict=True)))


def test_outside_squared_is_the_sum_of_squares_where_nothing_is_relevant() -> None:
    p, q = pair()
    expected = by_hand(outside_squared_by_hand, p, q)
    np.testing.assert_allclose(distances.find("outside_squared")(p, q), expected, rtol=1e-12)
    hard = by_hand(lambda a, b: float((a[b <= 0.3] ** 2).sum()), p, q)
    np.testing.assert_allclose(distances.find("outside_squared")(p, q, relevant_above=0.3), hard, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_matches_finite_differences(name: str) -> None:
    p, q = pair()
    assert torch.autograd.gradcheck(lambda p: distances.find(name)(p, q), (p.requires_grad_(),))


@pytest.mark.parametrize("name", NAMES)
def test_a_case_does_not_know_its_neighbours_in_value_and_gradient(name: str) -> None:
    """No 1/B and 1/B², no minimum, maximum or rank over the batch."""
    p, q = pair(4)
    p.requires_grad_()
    together = distances.find(name)(p, q)
    (gradient,) = torch.autograd.grad(together.sum(), p)
    for k in range(4):
        alone = p[k : k + 1].detach().requires_grad_()
        value = distances.find(name)(alone, q[k : k + 1])
        torch.testing.assert_close(value[0], together[k])
        torch.testing.assert_close(torch.autograd.grad(value.sum(), alone)[0], gradient[k : k + 1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("level", [0.0, 0.7])
def test_constant_maps_give_a_number_and_a_gradient_without_nan(
    name: str, level: float, target: float
) -> None:
    p = torch.full((2, 1, 8, 8), level, requires_grad=True)
    value = distances.find(name)(p, torch.full((2, 1, 8, 8), target))
    (gradient,) = torch.autograd.grad(value.sum(), p)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
