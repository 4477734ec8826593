"""Distances between maps against NumPy's, SciPy's and scikit-learn's, and against what a distance must do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import spatial, stats
from sklearn import metrics
from torch import Tensor

from radgaze.objectives import distance, distances
from radgaze.objectives.distances import REGISTRY, bce, dice, find, kl, mse, one_minus_cc
from radgaze.options import FieldError

NAMES = tuple(name for name, each in REGISTRY.items() if not each.raw)

Numbers = NDArray[np.floating]


def pair(seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two batches of maps, away from 0 and 1."""
    p, q = 0.05 + 0.9 * torch.rand(2, 3, 1, 7, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return p, q


def by_hand_bce(p: Numbers, q: Numbers) -> float:
    return float(np.mean(-q * np.log(p) - (1 - q) * np.log1p(-p)))


def by_hand_dice(p: Numbers, q: Numbers) -> float:
    return 1 - 2 * float(np.dot(p, q)) / float(np.dot(p, p) + np.dot(q, q))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("formula", "oracle"),
    [
        (bce, by_hand_bce),
        (mse, metrics.mean_squared_error),
        (kl, lambda p, q: stats.entropy(q, p)),
        (one_minus_cc, lambda p, q: 1 - stats.pearsonr(p, q).statistic),
        (dice, by_hand_dice),
    ],
)
def test_each_case_gets_the_number_of_the_formula(
    formula: distances.Distance, oracle: Callable[..., float], dtype: torch.dtype
) -> None:
    p, q = pair(dtype=dtype)
    expected = [oracle(a, b) for a, b in zip(p.flatten(1).numpy(), q.flatten(1).numpy(), strict=True)]
    np.testing.assert_allclose(formula(p, q).numpy(), expected, rtol=5e-5)


def test_dice_of_binary_masks_equals_scipys() -> None:
    p, q = (m.round().flatten(1).numpy() for m in pair())
    expected = [spatial.distance.dice(a > 0, b > 0) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(dice(*(m.round() for m in pair())).numpy(), expected, atol=1e-6)


def test_cross_entropy_with_binary_masks_equals_scikit_learns_log_loss() -> None:
    p, q = pair()
    expected = [
        metrics.log_loss(b, a)
        for a, b in zip(p.flatten(1).numpy(), q.round().flatten(1).numpy(), strict=True)
    ]
    np.testing.assert_allclose(bce(p, q.round()).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_matches_finite_differences_in_both_maps(name: str) -> None:
    """In the second map too: on the edge M–H both maps learn."""
    p, q = pair()
    assert torch.autograd.gradcheck(find(name), (p.requires_grad_(), q.requires_grad_()))


@pytest.mark.parametrize("name", NAMES)
def test_no_map_is_nearer_than_the_map_itself(name: str) -> None:
    p, q = pair()
    for share in (0.01, 0.1, 1.0):
        assert torch.all(find(name)(q + share * (p - q), q) > find(name)(q, q))


@pytest.mark.parametrize("name", ["mse", "kl", "one_minus_cc", "dice"])
def test_equal_maps_are_at_distance_zero(name: str) -> None:
    _, q = pair()
    torch.testing.assert_close(find(name)(q, q), torch.zeros(3, dtype=torch.float64), atol=1e-10, rtol=0)


def test_only_kl_and_correlation_are_blind_to_scale_and_only_correlation_to_offset() -> None:
    p, q = pair()
    changed = {name: (find(name)(p / 2, q) - find(name)(p, q)).abs().max() for name in NAMES}
    assert {name for name, change in changed.items() if change < 1e-4} == {"kl", "one_minus_cc"}
    moved = {name: (find(name)(p / 2 + 0.4, q) - find(name)(p, q)).abs().max() for name in NAMES}
    assert {name for name, change in moved.items() if change < 1e-4} == {"one_minus_cc"}


@pytest.mark.parametrize("name", NAMES)
def test_a_case_does_not_know_its_neighbours(name: str) -> None:
    p, q = pair()
    alone = torch.cat([find(name)(p[i : i + 1], q[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(find(name)(p, q), alone)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_constant_maps_give_a_number_and_a_gradient(name: str, level: float) -> None:
    _, q = pair(dtype=torch.float32)
    p = torch.full_like(q, level).requires_grad_()
    for target in (q, torch.full_like(q, level), torch.zeros_like(q), torch.ones_like(q)):
        found = find(name)(p, target)
        (gradient,) = torch.autograd.grad(found.sum(), p)
        assert found.isfinite().all()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_mask_that_is_sure_leaves_both_maps_a_finite_gradient(name: str) -> None:
    logits = torch.tensor([-120.0, -20.0, 0.0, 20.0, 120.0]).repeat(5).view(1, 1, 5, 5).requires_grad_()
    q = torch.rand(1, 1, 5, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    torch.autograd.backward(find(name)(logits.sigmoid(), q).sum())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_correlation_with_a_constant_map_is_none() -> None:
    _, q = pair()
    for p, target in ((torch.full_like(q, 0.3), q), (q, torch.full_like(q, 0.3))):
        torch.testing.assert_close(one_minus_cc(p, target), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("level", [0.1, 0.3, 0.7, 0.9])
@pytest.mark.parametrize("noise", [0.0, 3e-8])
def test_correlation_of_two_constant_maps_is_none_whatever_their_rounding(level: float, noise: float) -> None:
    draw = torch.Generator().manual_seed(0)
    p, q = (torch.full((2, 1, 224, 224), each) for each in (level, 0.9))
    p = (p * (1 + noise * torch.randn(p.shape, generator=draw))).requires_grad_()
    for one, other in ((p, q), (q, p), (p, p)):
        torch.testing.assert_close(one_minus_cc(one, other), torch.ones(2))


def test_a_constant_map_still_learns_from_its_target_by_correlation() -> None:
    _, q = pair(dtype=torch.float32)
    p = torch.full_like(q, 0.3).requires_grad_()
    (gradient,) = torch.autograd.grad(one_minus_cc(p, q).sum(), p)
    nearer = torch.full_like(q, 0.3) - gradient / gradient.abs().max() * 0.1
    assert (one_minus_cc(nearer, q) < 0.01).all()


@pytest.mark.parametrize("name", ["mse", "kl", "dice"])
def test_two_empty_maps_agree(name: str) -> None:
    nothing = torch.zeros(2, 1, 6, 6)
    assert find(name)(nothing, nothing).tolist() == [0, 0]


def test_kl_of_a_map_that_misses_what_was_looked_at_is_large_and_finite() -> None:
    p, q = torch.zeros(2, 1, 1, 8, 8)
    p[..., :4], q[..., 4:] = 1, 1
    assert 5 < float(kl(p, q)) < 30
    assert float(kl(p, q)) > float(kl(torch.ones_like(q), q)) == pytest.approx(np.log(2), abs=1e-3)


def test_distances_are_found_by_name_and_an_unknown_name_lists_them() -> None:
    assert NAMES == ("bce", "mse", "kl", "one_minus_cc", "dice")
    assert find("dice").formula is dice
    with pytest.raises(ValueError, match=r"no map distance 'l1'; there are .*bce, mse, kl"):
        find("l1")


def test_a_new_distance_is_one_function_with_a_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distance, "REGISTRY", dict(REGISTRY))

    @distances.register
    def l1(p: Tensor, q: Tensor) -> Tensor:
        return (p - q).abs().flatten(1).mean(1)

    assert find("l1").formula is l1


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("energy", {"above": 0.1}, "has no 'above'; the options of energy are relevant_above"),
        ("energy", {"relevant_above": "much"}, "cannot have relevant_above='much'"),
        ("energy", {"relevant_above": 1.5}, "cannot have relevant_above=1.5: .*less than or equal to 1"),
        ("res", {"cells": 0}, "cannot have cells=0: .*greater than or equal to 1"),
        ("outside_share", {"mask_from": "first"}, "cannot have mask_from='first': .*'last' or 'own'"),
        ("overlap", {"within": None}, "has no 'within'"),
        ("mse", {"power": 3}, "has no 'power'; the options of mse are none"),
    ],
)
def test_an_option_that_a_distance_has_not_or_a_value_it_cannot_take_is_told(
    name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(FieldError, match=said):
        distance.check(name, options)


def test_options_with_values_that_a_distance_can_take_pass() -> None:
    distance.check("energy", {"relevant_above": None})
    distance.check("energy", {"relevant_above": 0.05})
    distance.check("outside_share", {"mask_from": "own", "theta": 0.8})
    distance.check("overlap", {"threshold": 0.25}, within=True)


def test_options_of_a_distance_without_annotations_are_taken_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def powered(p, q, power=2):  # type: ignore[no-untyped-def]
        return (p - q).abs().pow(power).flatten(1).mean(1)

    monkeypatch.setitem(REGISTRY, "powered", distances.Distance("powered", powered))
    distance.check("powered", {"power": "any"})
    with pytest.raises(FieldError, match="has no 'exponent'"):
        distance.check("powered", {"exponent": 2})
