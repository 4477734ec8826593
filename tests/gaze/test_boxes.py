"""Maps of boxes against SciPy's filter of the drawn boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from radgaze.gaze import GazeMaps, box_maps, viridis_grey


def drawn(
    boxes: list[tuple[float, float, float, float]], size: tuple[int, int], fine: int = 10
) -> np.ndarray:
    """The boxes' union: the share of `fine` × `fine` points of each pixel that a box holds, the largest."""
    y, x = ((np.arange(fine * side) + 0.5) / fine for side in size)
    raster = np.zeros(size)
    for x1, y1, x2, y2 in boxes:
        hit = ((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2))[None, :]
        share = hit.reshape(size[0], fine, size[1], fine).mean((1, 3))
        raster = np.maximum(raster, share)
    return raster


BOXES = [(3.3, 5.0, 20.7, 18.1), (15.0, 10.0, 30.2, 40.0), (-5.0, 44.4, 6.0, 99.0)]


@pytest.mark.parametrize(
    ("size", "sigma"), [((48, 36), 3.0), ((48, 36), (5.5, 2.0)), ((48, 36), 40.0), ((48, 36), 0.1)]
)
def test_the_map_is_scipys_gaussian_filter_of_the_boxes_union(
    size: tuple[int, int], sigma: float | tuple[float, float]
) -> None:
    oracle = ndimage.gaussian_filter(drawn(BOXES, size), sigma, mode="reflect")
    spread = torch.tensor([sigma]) if isinstance(sigma, tuple) else sigma
    boxes = torch.tensor([BOXES])
    found = box_maps(boxes, size, spread, normalise="none")[0, 0].numpy()
    np.testing.assert_allclose(found, oracle, atol=2e-6)
    scaled = box_maps(boxes, size, spread)[0, 0].numpy()
    np.testing.assert_allclose(scaled, oracle / oracle.max(), atol=5e-6)


def test_a_box_drawn_twice_or_in_two_halves_is_one_box() -> None:
    whole = box_maps(torch.tensor([[[4.0, 6, 20, 30]]]), (40, 40), 2.0)
    twice = box_maps(torch.tensor([[[4.0, 6, 20, 30], [4, 6, 20, 30]]]), (40, 40), 2.0)
    halves = box_maps(torch.tensor([[[4.0, 6, 11, 30], [11, 6, 20, 30]]]), (40, 40), 2.0)
    torch.testing.assert_close(twice, whole)
    torch.testing.assert_close(halves, whole)


def test_regions_are_one_with_the_boxes() -> None:
    size, draw = (48, 36), np.random.default_rng(2)
    regions = np.zeros((2, *size))
    regions[0, 30:, :9] = draw.random((18, 9))
    regions[1, 3:9, 3:9] = 1
    boxes = torch.tensor([BOXES, [(0.0, 0, 0, 0)] * 3])
    found = box_maps(boxes, size, 3.0, normalise="none", regions=torch.from_numpy(regions))[:, 0].numpy()
    for own, region, value in zip((BOXES, []), regions, found, strict=True):
        oracle = ndimage.gaussian_filter(np.maximum(drawn(own, size), region), 3.0, mode="reflect")
        np.testing.assert_allclose(value, oracle, atol=2e-6)
    # A region that is a box is that box.
    as_box = box_maps(torch.tensor([[[3.0, 3, 9, 9]]]), size, 3.0, normalise="none")[0, 0].numpy()
    np.testing.assert_allclose(found[1], as_box, atol=1e-6)


def test_padding_and_boxes_off_the_map_count_nothing() -> None:
    boxes = torch.tensor([[[4.0, 6, 20, 30], [0, 0, 0, 0]], [[50.0, 50, 60, 60], [9, 9, 3, 12]]])
    maps = box_maps(boxes, (40, 40), 2.0)
    torch.testing.assert_close(maps[:1], box_maps(boxes[:1, :1], (40, 40), 2.0))
    assert not maps[1].any()
    assert not box_maps(torch.zeros(2, 0, 4), (8, 8), 2.0).any()


def test_each_case_has_its_own_sigma() -> None:
    boxes, sigma = torch.tensor([BOXES, BOXES]), torch.tensor([[2.0, 3.0], [6.0, 1.0]])
    both = box_maps(boxes, (48, 36), sigma)
    for i in range(2):
        torch.testing.assert_close(both[i : i + 1], box_maps(boxes[i : i + 1], (48, 36), sigma[i : i + 1]))


def test_boxes_are_drawn_as_the_gaze_maps_of_their_run_are() -> None:
    boxes, sigma = torch.tensor([BOXES]), torch.tensor([[2.0, 2.0]])
    summed = GazeMaps(normalise="sum").draw_boxes(boxes, (48, 36), sigma)
    assert float(summed.sum()) == pytest.approx(1, abs=1e-5)
    reference = GazeMaps(weight="reference").draw_boxes(boxes, (48, 36), sigma)
    torch.testing.assert_close(reference, viridis_grey(box_maps(boxes, (48, 36), sigma, normalise="minmax")))


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"boxes must be \(B, N, 4\)"):
        box_maps(torch.zeros(3, 4), (8, 8), 1.0)
