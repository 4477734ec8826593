"""Localisation against brute force, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from radgaze.evaluation.metrics.localisation import (
    METRICS,
    energy_inside,
    inside,
    iou,
    measure_localisation,
    pointing_game,
)

SIZE = (14, 11)


def boxes_and_maps(seed: int = 0, cases: int = 12) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    start = draw.uniform(-2, 9, (cases, 3, 2))
    boxes = np.concatenate([start, start + draw.uniform(1.5, 6, (cases, 3, 2))], -1)
    boxes[::2, 2] = 0
    P = draw.random((cases, *SIZE))
    P[5] = np.round(P[5], 1)  # ties
    return P, boxes


def centres() -> list[tuple[int, int]]:
    return [(r, c) for r in range(SIZE[0]) for c in range(SIZE[1])]


def is_inside(r: int, c: int, boxes: np.ndarray, tolerance: float = 0.0) -> bool:
    for x1, y1, x2, y2 in boxes:
        if x2 > x1 and y2 > y1:
            dx = max(x1 - (c + 0.5), 0, c + 0.5 - x2)
            dy = max(y1 - (r + 0.5), 0, r + 0.5 - y2)
            if (dx * dx + dy * dy) ** 0.5 <= tolerance:
                return True
    return False


@pytest.mark.parametrize("tolerance", [0.0, 2.5])
def test_the_pointing_game_asks_where_the_maximum_is(tolerance: float) -> None:
    P, boxes = boxes_and_maps()
    found = pointing_game(P, boxes, tolerance)
    for p, own, value in zip(P, boxes, found, strict=True):
        best = [(r, c) for r, c in centres() if p[r, c] == p.max()]
        assert value == pytest.approx(np.mean([is_inside(r, c, own, tolerance) for r, c in best]))


def test_energy_inside_is_the_share_of_mass() -> None:
    P, boxes = boxes_and_maps(1)
    for p, own, value in zip(P, boxes, energy_inside(P, boxes), strict=True):
        within = sum(p[r, c] for r, c in centres() if is_inside(r, c, own))
        assert value == pytest.approx(within / p.sum())


def test_iou_is_of_the_highest_pixels_as_many_as_are_inside() -> None:
    P, boxes = boxes_and_maps(2)
    P[5] = np.random.default_rng(3).random(SIZE)
    for p, own, value in zip(P, boxes, iou(P, boxes), strict=True):
        target = {(r, c) for r, c in centres() if is_inside(r, c, own)}
        chosen = set(sorted(centres(), key=lambda at: -p[at])[: len(target)])
        assert value == pytest.approx(len(target & chosen) / len(target | chosen))


@pytest.mark.parametrize("tolerance", [0.0, 2.5])
def test_a_region_of_a_boxs_pixels_counts_as_the_box(tolerance: float) -> None:
    """Boxes on whole pixels, drawn as flags; and half of them drawn, half given as boxes."""
    P, boxes = boxes_and_maps(6)
    boxes = np.round(boxes)
    nothing = np.zeros_like(boxes)
    flags = inside(boxes, SIZE)
    np.testing.assert_array_equal(inside(nothing, SIZE, regions=flags), flags)
    whole = measure_localisation(P, boxes, tolerance)
    one, others = boxes[:, :1], np.concatenate([nothing[:, :1], boxes[:, 1:]], 1)
    for own, regions in ((nothing, flags), (others, inside(one, SIZE)), (boxes, flags)):
        found = measure_localisation(P, own, tolerance, regions=regions)
        for name in METRICS:
            if name == "pointing_game" and tolerance:
                continue  # flags end at pixels' edges and boxes at any: see below
            np.testing.assert_allclose(found[name], whole[name], err_msg=name)


def test_the_tolerance_about_a_region_is_counted_from_its_pixels() -> None:
    flags = np.zeros((1, *SIZE), dtype=bool)
    flags[0, 4:7, 3:5] = True
    for tolerance in (0.0, 1.0, 2.5):
        found = inside(np.zeros((1, 1, 4)), SIZE, tolerance, regions=flags)[0]
        for r, c in centres():
            away = min(np.hypot(r - y, c - x) for y in (4, 5, 6) for x in (3, 4))
            assert found[r, c] == (away <= (tolerance + 0.5 if tolerance else 0))


def test_a_map_of_the_boxes_is_perfect_and_its_opposite_worthless() -> None:
    _, boxes = boxes_and_maps(4)
    U = inside(boxes, SIZE).astype(float)
    for name, metric in METRICS.items():
        np.testing.assert_allclose(metric.function(U, boxes), 1, err_msg=name)
        np.testing.assert_allclose(metric.function(1 - U, boxes), 0, err_msg=name)


def test_a_constant_map_scores_as_chance_whatever_its_height() -> None:
    _, boxes = boxes_and_maps(5)
    share = inside(boxes, SIZE).mean((1, 2))
    for height in (0.0, 0.3):
        P = np.full((len(boxes), *SIZE), height)
        np.testing.assert_allclose(pointing_game(P, boxes), share)
        np.testing.assert_allclose(energy_inside(P, boxes), share)
        np.testing.assert_allclose(iou(P, boxes), share / (2 - share))


def test_ties_at_the_threshold_count_by_their_share() -> None:
    P = np.zeros((1, 4, 4))
    P[0, 0] = 1  # four pixels tie below, none of those inside is the highest
    boxes = np.array([[[0.0, 1, 4, 3]]])
    # 8 inside; R is row 0 and 4/12 of each other pixel, 8 of which are inside
    both = 8 * 4 / 12
    assert iou(P, boxes)[0] == pytest.approx(both / (16 - both))


def test_what_is_undefined_is_nan_and_what_is_impossible_is_refused() -> None:
    P = np.random.default_rng(0).random((3, *SIZE))
    P[1, 2, 3] = np.nan
    boxes = np.array([[[0.0, 0, 0, 0]], [[2.0, 2, 6, 6]], [[90.0, 2, 96, 6]]])
    for figures in measure_localisation(P, boxes, tolerance=3).values():
        assert np.isnan(figures).all()
    with pytest.raises(ValueError, match="not negative"):
        iou(-np.ones((1, 4, 4)), boxes[:1])
    with pytest.raises(ValueError, match=r"boxes \(B, N, 4\)"):
        iou(np.ones((1, 4, 4)), boxes)


@pytest.mark.parametrize("shape", [(1, 12, 8), (3, 12, 8), (2, 1, 8), (12, 8)])
def test_regions_are_of_the_maps_shape(shape: tuple[int, ...]) -> None:
    P, boxes = np.ones((2, 12, 8)), np.array([[[2.0, 2, 6, 6]]] * 2)
    with pytest.raises(ValueError, match=r"regions must be \(2, 12, 8\)"):
        measure_localisation(P, boxes, regions=np.ones(shape))


def test_scale_does_not_matter() -> None:
    P, boxes = boxes_and_maps(6)
    for name, figures in measure_localisation(P, boxes).items():
        np.testing.assert_allclose(measure_localisation(7.5 * P, boxes)[name], figures)


def test_no_map_has_no_figures() -> None:
    figures = measure_localisation(np.zeros((0, *SIZE)), np.zeros((0, 2, 4)), tolerance=1)
    assert {name: values.shape for name, values in figures.items()} == dict.fromkeys(METRICS, (0,))
