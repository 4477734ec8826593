"""Stability of maps under noise and shifts, of explanations whose behaviour is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scipy.stats import spearmanr
from torch.nn import functional as F

from radgaze.evaluation.metrics.robustness import under_noise, under_shifts


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(3, 1, 12, 10, generator=torch.Generator().manual_seed(0))


def local(images: torch.Tensor) -> torch.Tensor:
    """A map that goes with the image."""
    return F.avg_pool2d(F.pad(images, (1,) * 4, mode="reflect"), 3, stride=1)


def test_a_map_that_goes_with_the_image_is_stable_under_shifts_but_where_the_border_shows(
    images: torch.Tensor,
) -> None:
    assert (under_shifts(lambda x: x, images, pixels=2) == 1).all()
    assert (under_shifts(local, images, pixels=1) > 0.9).all()


def test_a_map_that_stays_where_it_is_is_not(images: torch.Tensor) -> None:
    fixed = torch.rand(1, 1, 12, 10, generator=torch.Generator().manual_seed(1))
    stays = under_shifts(lambda x: fixed.expand(len(x), -1, -1, -1), images, pixels=1)
    assert (stays < 0.6).all()
    expected = []
    m = fixed[0, 0]
    for a, b in ((m[:-1], m[1:]), (m[1:], m[:-1]), (m[:, :-1], m[:, 1:]), (m[:, 1:], m[:, :-1])):
        expected.append(spearmanr(a.flatten(), b.flatten()).statistic)
    assert stays[0].item() == pytest.approx(sum(expected) / 4)


def test_noise_that_is_larger_changes_more_and_none_nothing(images: torch.Tensor) -> None:
    found = [under_noise(lambda x: x, images, noise=noise, samples=4, seed=0) for noise in (0.0, 0.05, 0.5)]
    assert (found[0] == 1).all()
    assert (found[0] > found[1]).all()
    assert (found[1] > found[2]).all()
    shaken = torch.randn(1, 12, 10, generator=torch.Generator().manual_seed(0))
    once = under_noise(lambda x: x, images, noise=0.3, samples=1, seed=0)
    for image, figure in zip(images, once, strict=True):
        expected = spearmanr(image.flatten(), (image + 0.3 * shaken).flatten()).statistic
        assert figure.item() == pytest.approx(expected)


@pytest.mark.parametrize("measure", [under_noise, under_shifts])
def test_a_case_does_not_depend_on_those_beside_it(
    measure: Callable[..., torch.Tensor], images: torch.Tensor
) -> None:
    options = {"noise": 0.1, "samples": 2, "seed": 3} if measure is under_noise else {"pixels": 2}
    together = measure(local, images, **options)
    for k in range(3):
        assert measure(local, images[k : k + 1], **options)[0] == pytest.approx(together[k].item())


def test_a_map_without_contrast_is_undefined_and_one_that_loses_it_is_unlike(images: torch.Tensor) -> None:
    flat = under_noise(torch.zeros_like, images, noise=0.1, samples=2, seed=0)
    assert torch.isnan(flat).all()
    calls = iter([images, *[torch.zeros_like(images)] * 2])
    lost = under_noise(lambda x: next(calls), images, noise=0.1, samples=2, seed=0)
    assert lost.tolist() == [0.0] * 3
