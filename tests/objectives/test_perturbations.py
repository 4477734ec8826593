"""Perturbed images against NumPy: masks, the pixels that are replaced, what replaces them, and windows."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import special
from torch import Tensor

from radgaze.objectives.matching import blur
from radgaze.objectives.perturbations import (
    BLUR,
    Fill,
    cut_out,
    extreme_pixels,
    filling,
    replaced,
    soft_mask,
    windows,
)

EVERYWHERE = torch.ones(3, 1, 12, 10)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_soft_mask_is_the_papers_sigmoid_of_the_map_over_its_own_maximum() -> None:
    """Li et al. 2018, eq. 4, case by case: minima and maxima of the whole batch would mix the cases."""
    maps = drawn(0, 3, 1, 5, 4) * torch.tensor([1.0, 1e-3, 1e3]).view(3, 1, 1, 1)
    mask = soft_mask(maps, 10.0, 0.5)
    A = maps.double().numpy()
    np.testing.assert_allclose(
        mask.numpy(), special.expit(10 * (A / A.max((1, 2, 3), keepdims=True) - 0.5)), rtol=1e-5
    )
    for case in range(3):
        torch.testing.assert_close(soft_mask(maps[case : case + 1], 10.0, 0.5), mask[case : case + 1])


def test_the_soft_mask_is_learned_through_with_its_scale_held() -> None:
    maps = drawn(1, 2, 1, 4, 4).double().requires_grad_()
    weights = drawn(2, 2, 1, 4, 4).double()
    (gradient,) = torch.autograd.grad((weights * soft_mask(maps, 7.0, 0.3)).sum(), maps)
    A = maps.detach().numpy()
    c = A.max((1, 2, 3), keepdims=True)
    T = special.expit(7 * (A / c - 0.3))
    np.testing.assert_allclose(gradient.numpy(), weights.numpy() * 7 / c * T * (1 - T), rtol=1e-9)


def test_a_map_without_a_positive_value_masks_nothing_and_has_no_gradient() -> None:
    maps = torch.stack([-drawn(3, 1, 4, 4), torch.zeros(1, 4, 4), drawn(4, 1, 4, 4)]).requires_grad_()
    mask = soft_mask(maps, 10.0, 0.5)
    assert not mask[:2].any()
    (gradient,) = torch.autograd.grad(mask.sum(), maps)
    assert gradient.isfinite().all()
    assert not gradient[:2].any()
    assert gradient[2].any()


@pytest.mark.parametrize("highest", [True, False])
def test_as_many_pixels_of_each_case_are_marked_as_the_share_says(highest: bool) -> None:
    maps = drawn(5, 3, 1, 7, 9) - 0.5  # signed
    marked = extreme_pixels(maps, 0.3, highest=highest).flatten(1).numpy() > 0
    for case, values in zip(marked, maps.flatten(1).numpy(), strict=True):
        assert case.sum() == round(0.3 * 63)
        order = np.argsort(-values if highest else values)
        assert set(np.flatnonzero(case)) == set(order[: case.sum()])
    flat = extreme_pixels(torch.zeros(2, 1, 4, 4), 0.5, highest=highest)  # ties: still exactly half
    assert flat.sum((1, 2, 3)).tolist() == [8, 8]
    assert flat.flatten(1)[:, :8].all()  # the first, in every case and batch
    assert not extreme_pixels(maps, 0.0, highest=highest).any()


def test_fillings_are_what_they_say() -> None:
    images, mask = drawn(6, 3, 1, 12, 10), EVERYWHERE
    x = images.numpy()
    assert not filling(images, "black", mask).any()
    np.testing.assert_allclose(
        filling(images, "mean", mask).numpy(),
        np.broadcast_to(x.mean((2, 3), keepdims=True), x.shape),
        rtol=1e-5,
    )
    sigma = torch.tensor([[12 * BLUR, 10 * BLUR]]).expand(3, 2)
    torch.testing.assert_close(filling(images, "blur", mask), blur(images, sigma))
    assert torch.equal(filling(images, "other_case", mask), images[[1, 2, 0]])
    noise = filling(0.2 + 0.3 * images, "uniform", mask)
    low, high = (getattr(0.2 + 0.3 * images, edge)((1, 2, 3)) for edge in ("amin", "amax"))
    assert ((noise >= low.view(3, 1, 1, 1)) & (noise <= high.view(3, 1, 1, 1))).all()
    again = filling(0.2 + 0.3 * images, "uniform", mask)
    assert not torch.equal(noise, again)  # drawn again


def test_shuffled_pixels_are_those_that_are_replaced_and_the_others_stay() -> None:
    """Viviano et al. 2021: the background is permuted, and nothing of the region enters it."""
    images, mask = drawn(7, 3, 1, 12, 10), (drawn(8, 3, 1, 12, 10) > 0.4).float()
    shuffled = filling(images, "shuffle", mask)
    for image, result, inside in zip(images, shuffled, mask > 0.5, strict=True):
        assert torch.equal(result[~inside], image[~inside])
        assert torch.equal(result[inside].sort().values, image[inside].sort().values)
        assert not torch.equal(result[inside], image[inside])
    assert torch.equal(filling(images, "shuffle", torch.zeros_like(images)), images)


@pytest.mark.parametrize("fill", get_args(Fill))
def test_what_is_replaced_is_a_mixture_by_the_mask_enlarged_to_the_image(fill: Fill) -> None:
    images, mask = drawn(9, 3, 1, 12, 10), drawn(10, 3, 1, 6, 5)
    large = F.interpolate(mask, (12, 10), mode="bilinear", align_corners=False)
    torch.manual_seed(1)
    found = replaced(images, mask, fill)
    torch.manual_seed(1)
    other = filling(images, fill, large)
    torch.testing.assert_close(found, (1 - large) * images + large * other)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.83, 1.0])
def test_the_window_is_that_of_the_highest_mean_of_all_windows(share: float) -> None:
    maps = drawn(11, 4, 1, 13, 9)
    height, width = max(1, round(13 * share)), max(1, round(9 * share))
    (chosen,) = windows(maps, share)
    found = chosen.numpy()
    for case, values in zip(found, maps[:, 0].double().numpy(), strict=True):
        means = np.lib.stride_tricks.sliding_window_view(values, (height, width)).mean((2, 3))
        top, left = np.unravel_index(means.argmax(), means.shape)
        assert case.tolist() == [left, top, width, height]


def test_a_map_without_a_positive_value_gives_the_whole_image() -> None:
    for window in windows(torch.zeros(1, 1, 6, 8), 0.5, 2):
        assert window.tolist() == [[0, 0, 8, 6]]


@pytest.mark.parametrize(("share", "count"), [(0.25, 4), (0.5, 3), (0.8, 2)])
def test_several_windows_are_those_of_greedy_non_maximum_suppression(share: float, count: int) -> None:
    maps = drawn(13, 5, 1, 16, 12)
    height, width = round(16 * share), round(12 * share)
    found = torch.stack(windows(maps, share, count, overlap=0.25), 1)
    repeated = 0
    for case, values in zip(found.tolist(), maps[:, 0].double().numpy(), strict=True):
        means = np.lib.stride_tricks.sliding_window_view(values, (height, width)).mean((2, 3))
        order = sorted(np.ndindex(*means.shape), key=lambda place: -means[place])
        kept: list[tuple[int, ...]] = []
        while len(kept) < count:
            fits = [
                place for place in order if all(overlap_of(place, other, share) <= 0.25 for other in kept)
            ]
            repeated += not fits
            kept.append(fits[0] if fits else kept[-1])
        assert case == [[left, top, width, height] for top, left in kept]
    assert (repeated > 0) == (share == 0.8)  # of windows of this size no two overlap so little


def overlap_of(place: tuple[int, ...], other: tuple[int, ...], share: float) -> float:
    """Intersection over union of two windows (top, left) of an image of 16 × 12, by counting pixels."""
    pixels = np.zeros((2, 16, 12), dtype=bool)
    for each, (top, left) in zip(pixels, (place, other), strict=True):
        each[top : top + round(16 * share), left : left + round(12 * share)] = True
    return float(pixels.all(0).sum() / pixels.any(0).sum())


def test_windows_are_cut_out_and_enlarged_by_bilinear_interpolation() -> None:
    images = drawn(12, 2, 1, 16, 12)
    window = torch.tensor([[3, 5, 6, 8], [0, 8, 6, 8]])  # left, top, width, height; the second at the corner
    same = cut_out(images, window, (8, 6))
    torch.testing.assert_close(same[0, 0], images[0, 0, 5:13, 3:9])
    torch.testing.assert_close(same[1, 0], images[1, 0, 8:16, 0:6])
    large = cut_out(images, window, (16, 12))
    inner = F.interpolate(images[:1, :, 5:13, 3:9], scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(large[0, 0, 1:-1, 1:-1], inner[0, 0, 1:-1, 1:-1])
