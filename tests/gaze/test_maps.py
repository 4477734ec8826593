"""Gaze maps against SciPy's filter of the rasterised fixations, and against what a map must do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from radgaze.gaze import (
    box_maps,
    frames_of_seconds,
    mirrors_for,
    normalised,
    one_frame_per_fixation,
    static_maps,
    temporal_maps,
)


def rasterised(points: np.ndarray, weights: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    raster = np.zeros(size)
    np.add.at(raster, (points[:, 1].astype(int), points[:, 0].astype(int)), weights)
    return raster


def reading(size: tuple[int, int], fixations: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fixations at pixel centres, some on the very border, and their durations."""
    draw = np.random.default_rng(seed)
    points = np.stack([draw.integers(0, size[1], fixations), draw.integers(0, size[0], fixations)], 1) + 0.5
    points[:4] = [[0.5, 0.5], [size[1] - 0.5, 0.5], [0.5, size[0] - 0.5], [size[1] - 0.5, size[0] - 0.5]]
    return points, draw.lognormal(-1.4, 0.5, fixations)


def batched(points: np.ndarray, weights: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.tensor(points, dtype=torch.float32)[None], torch.tensor(weights, dtype=torch.float32)[None]


@pytest.mark.parametrize(
    ("size", "sigma"),
    [
        ((224, 224), 11.0),
        ((224, 224), (13.2, 10.9)),
        ((224, 224), 120.0),
        ((500, 600), (60.0, 25.0)),
        ((9, 5), 6.0),
        ((64, 48), 0.2),
    ],
)
def test_static_map_equals_scipys_gaussian_filter_of_the_rasterised_fixations(
    size: tuple[int, int], sigma: float | tuple[float, float]
) -> None:
    points, weights = reading(size)
    oracle = ndimage.gaussian_filter(rasterised(points, weights, size), sigma)
    spread = torch.tensor([sigma]) if isinstance(sigma, tuple) else sigma
    found = static_maps(*batched(points, weights), size, spread)[0, 0].numpy()
    np.testing.assert_allclose(found, oracle / oracle.max(), atol=5e-6)


def test_static_map_equals_scipys_at_the_size_of_a_real_radiograph() -> None:
    size, sigma = (3056, 2544), 150.0
    points, weights = reading(size)
    raster = rasterised(points, weights, size)
    # SciPy's filter goes along one axis, then the other: rows that are not empty, then every 25th column.
    rows = np.flatnonzero(raster.any(1))
    raster[rows] = ndimage.gaussian_filter1d(raster[rows], sigma, axis=1)
    oracle = ndimage.gaussian_filter1d(raster[:, ::25], sigma, axis=0)
    found = static_maps(*batched(points, weights), size, sigma, normalise="none")[0, 0].numpy()[:, ::25]
    np.testing.assert_allclose(found / oracle.max(), oracle / oracle.max(), atol=5e-6)


def test_each_frame_of_a_temporal_map_is_the_static_map_of_its_fixations() -> None:
    points, weights = batched(*reading((60, 50), 12))
    frame = torch.arange(12)[None] % 5
    frames = temporal_maps(points, weights, frame, 6, (60, 50), 4.0)
    assert frames.shape == (1, 6, 60, 50)
    for t in range(5):
        alone = static_maps(points, weights * (frame == t), (60, 50), 4.0)
        torch.testing.assert_close(frames[:, t], alone[:, 0])
    assert not frames[:, 5].any()


def test_frames_add_up_to_the_static_map() -> None:
    points, weights = batched(*reading((40, 40), 20))
    frame, lengths = one_frame_per_fixation(weights)
    frames = temporal_maps(points, weights, frame, int(lengths.max()), (40, 40), 3.0, normalise="none")
    torch.testing.assert_close(
        frames.sum(1, keepdim=True), static_maps(points, weights, (40, 40), 3.0, normalise="none")
    )


def test_one_frame_per_fixation_skips_padding_and_counts_frames() -> None:
    frame, lengths = one_frame_per_fixation(torch.tensor([[0.2, 0.0, 0.3], [0.1, 0.0, 0.0]]))
    assert frame.tolist() == [[0, -1, 1], [0, -1, -1]]
    assert lengths.tolist() == [2, 1]


def test_a_fixation_belongs_to_the_second_in_which_its_middle_lies() -> None:
    onset, duration = torch.tensor([[0.0, 0.9, 1.8]]), torch.tensor([[0.3, 0.4, 0.3]])
    assert frames_of_seconds(onset, duration, 1.0).tolist() == [[0, 1, 1]]


def test_readings_of_a_batch_do_not_touch_each_other_and_padding_counts_nothing() -> None:
    (a, wa), (b, wb) = batched(*reading((32, 32), 9, seed=1)), batched(*reading((32, 32), 5, seed=2))
    points = torch.full((2, 9, 2), 7.5)
    weights = torch.zeros(2, 9)
    points[0], weights[0], points[1, :5], weights[1, :5] = a[0], wa[0], b[0], wb[0]
    both = static_maps(points, weights, (32, 32), torch.tensor([[2.0, 3.0], [5.0, 1.0]]))
    torch.testing.assert_close(both[:1], static_maps(a, wa, (32, 32), torch.tensor([[2.0, 3.0]])))
    torch.testing.assert_close(both[1:], static_maps(b, wb, (32, 32), torch.tensor([[5.0, 1.0]])))


def test_readings_without_a_fixation_on_the_map_give_zeros() -> None:
    empty = static_maps(torch.zeros(2, 0, 2), torch.zeros(2, 0), (8, 8), 2.0)
    assert empty.shape == (2, 1, 8, 8)
    assert not empty.any()
    off = torch.tensor([[[-3.0, 4.0], [4.0, 8.5], [1e6, 2.0]]])
    for how in ("max", "minmax", "sum", "none"):
        assert not static_maps(off, torch.ones(1, 3), (8, 8), 2.0, normalise=how).any()
    assert static_maps(torch.zeros(0, 3, 2), torch.zeros(0, 3), (8, 8), 2.0).shape == (0, 1, 8, 8)


def test_one_fixation_gives_one_peak_where_it_is() -> None:
    found = static_maps(torch.tensor([[[20.5, 7.5]]]), torch.tensor([[0.3]]), (30, 40), 3.0)[0, 0]
    assert found.max() == 1
    assert divmod(int(found.argmax()), 40) == (7, 20)


@pytest.mark.parametrize("place", [(-2.0, -2.0), (torch.nan, 5.0), (5.0, torch.inf)])
def test_an_off_map_fixation_takes_nothing_from_the_others(place: tuple[float, float]) -> None:
    points, weights = batched(*reading((30, 30), 6))
    more = torch.cat([points, torch.tensor([[place]])], 1)
    torch.testing.assert_close(
        static_maps(more, torch.cat([weights, torch.ones(1, 1)], 1), (30, 30), 3.0),
        static_maps(points, weights, (30, 30), 3.0),
    )


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(0, 21), y=st.floats(0, 13), sigma=st.floats(0.05, 30), weight=st.floats(0.01, 5)
)  # fmt: skip
def test_no_mass_is_lost_wherever_the_fixation_and_however_wide(
    x: float, y: float, sigma: float, weight: float
) -> None:
    found = static_maps(torch.tensor([[[x, y]]]), torch.tensor([[weight]]), (13, 21), sigma, normalise="none")
    assert found.isfinite().all()
    assert float(found.sum()) == pytest.approx(weight, rel=1e-5)


def test_between_pixel_centres_the_gaussian_is_evaluated_where_the_fixation_is() -> None:
    """Its centre of mass is the fixation; a raster would have moved it by up to half a pixel."""
    at = torch.tensor([[[20.83, 15.27]]], dtype=torch.float64)
    one = torch.ones(1, 1, dtype=torch.float64)
    mass = static_maps(at, one, (32, 40), 2.5, normalise="sum")[0, 0]
    x = (mass.sum(0) * (torch.arange(40) + 0.5)).sum()
    y = (mass.sum(1) * (torch.arange(32) + 0.5)).sum()
    assert (float(x), float(y)) == pytest.approx((20.83, 15.27), abs=1e-3)


def test_normalisations_do_what_they_are_called() -> None:
    points, weights = batched(*reading((20, 20), 5))
    assert static_maps(points, weights, (20, 20), 2.0, normalise="max").max() == 1
    stretched = static_maps(points, weights, (20, 20), 9.0, normalise="minmax")
    assert (float(stretched.min()), float(stretched.max())) == (0, 1)
    assert float(static_maps(points, weights, (20, 20), 2.0, normalise="sum").sum()) == pytest.approx(1)
    left = static_maps(points, weights, (20, 20), 2.0, normalise="none")
    assert float(left.sum()) == pytest.approx(float(weights.sum()), rel=1e-5)


@pytest.mark.parametrize("word", ["mean", "min-max", None])
def test_an_unknown_normalisation_is_refused(word: Any) -> None:
    places, weights, frame = torch.ones(1, 2, 2), torch.ones(1, 2), torch.zeros(1, 2)
    draws: list[Callable[[], Tensor]] = [
        lambda: normalised(torch.ones(1, 1, 8, 8), word),
        lambda: static_maps(places, weights, (8, 8), 1.0, normalise=word),
        lambda: temporal_maps(places, weights, frame, 1, (8, 8), 1.0, normalise=word),
        lambda: box_maps(torch.ones(1, 1, 4), (8, 8), 1.0, normalise=word),
    ]
    for draw in draws:
        with pytest.raises(ValueError, match=f"one of max, minmax, sum, none, got {word!r}"):
            draw()


def test_autocast_changes_nothing() -> None:
    points, weights = batched(*reading((64, 64), 12))
    plain = static_maps(points, weights, (64, 64), 5.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(static_maps(points, weights, (64, 64), 5.0), plain)


def test_more_mirrors_than_needed_change_nothing_and_fewer_do() -> None:
    points, weights = batched(*reading((16, 16), 6))
    needed = mirrors_for(6.0, 16)
    found = static_maps(points, weights, (16, 16), 6.0)
    torch.testing.assert_close(static_maps(points, weights, (16, 16), 6.0, mirrors=needed + 2), found)
    assert not torch.allclose(static_maps(points, weights, (16, 16), 6.0, mirrors=needed - 1), found)


def test_wrong_shapes_are_said() -> None:
    with pytest.raises(ValueError, match="points must be"):
        static_maps(torch.zeros(1, 3), torch.zeros(1, 3), (8, 8), 1.0)
    with pytest.raises(ValueError, match="frame must be"):
        temporal_maps(torch.zeros(1, 3, 2), torch.zeros(1, 3), torch.zeros(1, 2), 2, (8, 8), 1.0)
