"""From fixations on an image to points, weights and sigma on a map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from radgaze.errors import UserError
from radgaze.gaze import GazeMaps, Geometry, reference_map, static_maps

# 2000 rows × 1000 columns stretched to 224×224.
STRETCHED = Geometry(rows=2000, columns=1000, scale_x=0.224, scale_y=0.112)
POINTS = torch.tensor([[500.5, 1000.5], [100.2, 1900.7], [300.0, 0.4]])
DURATIONS = torch.tensor([0.2, 0.4, 0.1])


def test_fixations_move_with_the_image_and_keep_their_durations() -> None:
    shifted = Geometry(2000, 1000, 0.25, 0.25, shift_x=3.0)
    points, weights, sigma = GazeMaps(sigma=100).place(POINTS, DURATIONS, shifted)
    torch.testing.assert_close(points, POINTS * 0.25 + torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(weights, DURATIONS)
    torch.testing.assert_close(sigma, torch.tensor([25.0, 25.0]))


def test_a_lost_aspect_makes_sigma_differ_up_and_across() -> None:
    _, _, sigma = GazeMaps(sigma=150).place(POINTS, DURATIONS, STRETCHED)
    torch.testing.assert_close(sigma, torch.tensor([150 * 0.112, 150 * 0.224]))


@pytest.mark.parametrize(
    ("spec", "image_sigma"),
    [
        (GazeMaps(sigma=120), 120),
        (GazeMaps(sigma=1.5, unit="degrees", pixels_per_degree=80), 120),
        (GazeMaps(sigma=0.06, unit="share"), 120),
    ],
)
def test_sigma_in_pixels_degrees_or_a_share_of_the_long_side(spec: GazeMaps, image_sigma: float) -> None:
    assert spec.image_sigma(STRETCHED) == pytest.approx(image_sigma)


def test_counts_count_every_fixation_alike() -> None:
    _, weights, _ = GazeMaps(weight="count").place(POINTS, DURATIONS, STRETCHED)
    assert weights.tolist() == [1, 1, 1]


def test_reference_mode_draws_the_reference_map() -> None:
    spec = GazeMaps(weight="reference")
    points, weights, sigma = spec.place(POINTS, DURATIONS, STRETCHED)
    drawn = spec.draw(points[None], weights[None], (224, 224), sigma[None])
    torch.testing.assert_close(drawn, reference_map(POINTS, (2000, 1000), (224, 224)), atol=2e-3, rtol=0)
    assert (drawn != reference_map(POINTS, (2000, 1000), (224, 224))).float().mean() < 0.01


def test_drawing_is_the_static_map_normalised_as_asked() -> None:
    spec = GazeMaps(normalise="sum")
    points, weights, sigma = spec.place(POINTS, DURATIONS, STRETCHED)
    drawn = spec.draw(points[None], weights[None], (224, 224), sigma[None])
    torch.testing.assert_close(
        drawn, static_maps(points[None], weights[None], (224, 224), sigma[None], normalise="sum")
    )


@pytest.mark.parametrize("setting", ["weight", "unit", "normalise", "boxes", "per", "control"])
@pytest.mark.parametrize("word", ["Share", "durations", "", None])
def test_an_unknown_word_is_refused_with_those_that_there_are(setting: str, word: Any) -> None:
    with pytest.raises(UserError, match=f"gaze maps: {setting} must be one of .*, got {word!r}"):
        GazeMaps(**{setting: word})
    with pytest.raises(UserError, match="unit must be one of pixels, degrees, share, got 'Share'"):
        replace(GazeMaps(), unit="Share")  # type: ignore[arg-type]  # refused


def test_impossible_sigmas_are_refused_with_a_word_on_why() -> None:
    with pytest.raises(UserError, match="greater than 0"):
        GazeMaps(sigma=0)
    with pytest.raises(UserError, match="pixels_per_degree"):
        GazeMaps(sigma=1, unit="degrees", pixels_per_degree=0)
    with pytest.raises(UserError, match="reference"):
        GazeMaps("reference", sigma=1, unit="degrees")
