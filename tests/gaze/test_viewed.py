"""Gaze maps of fixations whose width and view are their own."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch

from radgaze.gaze import GazeMaps, static_maps
from radgaze.gaze.maps import viewed_maps
from radgaze.gaze.spec import TYPICAL, Geometry

SIZE = (14, 11)


@pytest.fixture
def readings() -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(2, 5, 2, generator=draw, dtype=torch.float64) * torch.tensor([11.0, 14.0])
    corner = torch.rand(2, 5, 2, generator=draw, dtype=torch.float64) * 4
    shown = torch.cat([corner, corner + torch.tensor([6.0, 9.0])], -1)
    weights = torch.rand(2, 5, generator=draw, dtype=torch.float64)
    weights[1, 3:] = 0  # padding
    sigma = 0.8 + 2 * torch.rand(2, 5, 2, generator=draw, dtype=torch.float64)
    return {"points": points, "weights": weights, "sigma": sigma, "shown": shown}


def by_hand(
    points: list[list[float]], weights: list[float], sigma: list[list[float]], shown: list[list[float]]
) -> np.ndarray:
    """The formula, pixel by pixel."""
    found = np.zeros(SIZE)
    for (x, y), w, (sy, sx), (x1, y1, x2, y2) in zip(points, weights, sigma, shown, strict=True):
        one = np.zeros(SIZE)
        for i in range(SIZE[0]):
            for j in range(SIZE[1]):
                if y1 <= i + 0.5 <= y2 and x1 <= j + 0.5 <= x2:
                    one[i, j] = math.exp(-0.5 * ((i + 0.5 - y) / sy) ** 2 - 0.5 * ((j + 0.5 - x) / sx) ** 2)
        if one.sum():
            found += w * one / one.sum()
    return found


def test_each_gaussian_has_its_width_is_cut_to_what_was_shown_and_has_its_weight(
    readings: dict[str, torch.Tensor],
) -> None:
    found = viewed_maps(
        readings["points"], readings["weights"], SIZE, readings["sigma"], readings["shown"], normalise="none"
    )
    for k in range(2):
        expected = by_hand(*(readings[name][k].tolist() for name in ("points", "weights", "sigma", "shown")))
        np.testing.assert_allclose(found[k, 0], expected, atol=1e-9)
    torch.testing.assert_close(found.sum((1, 2, 3)), readings["weights"].sum(1))


def test_frames_add_up_to_the_map(readings: dict[str, torch.Tensor]) -> None:
    frame = torch.tensor([[0, 1, 1, 2, 0], [2, 0, 1, -1, -1]])
    points, weights, sigma, shown = (readings[name] for name in ("points", "weights", "sigma", "shown"))
    drawn = partial(viewed_maps, points, weights, SIZE, sigma, shown, normalise="none")
    whole, parts = drawn(), drawn(frame=frame, frames=3)
    assert parts.shape == (2, 3, *SIZE)
    torch.testing.assert_close(parts.sum(1, keepdim=True), whole)


def test_far_from_the_borders_of_the_view_it_is_the_map_of_one_sigma() -> None:
    points, weights = torch.tensor([[[30.5, 28.0], [35.0, 33.5]]]), torch.tensor([[1.0, 2.0]])
    shown = torch.tensor([0.0, 0.0, 64.0, 64.0]).expand(1, 2, 4)
    found = viewed_maps(points, weights, (64, 64), torch.full((1, 2, 2), 4.0), shown)
    torch.testing.assert_close(found, static_maps(points, weights, (64, 64), 4.0), atol=2e-4, rtol=0)


def test_a_fixation_where_nothing_was_shown_counts_nothing() -> None:
    points, weights = torch.tensor([[[5.0, 5.0]]]), torch.ones(1, 1)
    nowhere = torch.tensor([20.0, 20.0, 30.0, 30.0]).expand(1, 1, 4)
    assert viewed_maps(points, weights, (10, 10), torch.ones(1, 1, 2), nowhere).sum() == 0


def test_degrees_without_a_number_of_pixels_are_those_recorded(readings: dict[str, torch.Tensor]) -> None:
    spec = GazeMaps(sigma=1, unit="degrees")
    assert spec.recorded
    assert not GazeMaps(sigma=1, unit="degrees", pixels_per_degree=60).recorded
    views = torch.cat([readings["sigma"], readings["shown"]], -1)
    found = spec.draw(readings["points"], readings["weights"], SIZE, torch.ones(2, 2), views=views)
    expected = viewed_maps(
        readings["points"], readings["weights"], SIZE, readings["sigma"], readings["shown"]
    )
    torch.testing.assert_close(found, expected)
    with pytest.raises(ValueError, match="views are needed"):
        spec.draw(readings["points"], readings["weights"], SIZE, torch.ones(2, 2))


def test_without_fixations_sigma_is_a_number_of_typical_degrees() -> None:
    one, two = (GazeMaps(sigma=sigma, unit="degrees") for sigma in (1, 2))
    long_side = Geometry(300, 500, 1.0, 1.0)
    assert one.image_sigma(long_side) == pytest.approx(TYPICAL * 500)
    assert two.image_sigma(long_side) == pytest.approx(2 * TYPICAL * 500)
