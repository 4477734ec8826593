"""The reference mode against the authors' own steps, taken with SciPy, matplotlib and Pillow."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from radgaze.gaze import reference_frames, reference_map, viridis_grey


def authors_picture(points: np.ndarray, image_size: tuple[int, int], sigma: float = 150) -> Image.Image:
    """Counts at whole pixels with Y > 0, Gaussian, min–max, viridis written as PNG and read back as grey."""
    counts = np.zeros(image_size)
    for x, y in points.astype(int):
        if y > 0:
            counts[y, x] += 1
    smooth = ndimage.gaussian_filter(counts, sigma)
    spread = smooth.max() - smooth.min()
    smooth = (smooth - smooth.min()) / (spread if spread > 0 else 1)
    file = io.BytesIO()
    matplotlib.image.imsave(file, smooth, cmap="viridis", vmin=0, vmax=1, format="png")
    return Image.open(file).convert("L")


def fixations(image_size: tuple[int, int], count: int = 45, seed: int = 3) -> np.ndarray:
    draw = np.random.default_rng(seed)
    middle = np.array([image_size[1], image_size[0]]) / 2
    points = np.clip(draw.normal(middle, middle / 2.5, (count, 2)), 1, 2 * middle - 1)
    points[5:8] = points[4]  # a place looked at again and again counts each time
    return points


def test_full_size_map_is_the_authors_picture_to_one_grey_level() -> None:
    size = (764, 636)
    points = fixations(size)
    found = reference_map(torch.tensor(points), size)[0, 0].numpy() * 255
    oracle = np.asarray(authors_picture(points, size), dtype=np.float64)
    # Where a value lies on the edge between two levels, float32 may fall on the other side.
    assert np.abs(found - oracle).max() < 1.01
    assert (np.abs(found - oracle) < 0.01).mean() > 0.999


def test_targets_span_the_published_range() -> None:
    found = reference_map(torch.tensor(fixations((2544, 3056))), (2544, 3056), (224, 224))
    assert float(found.min()) == pytest.approx(0.118, abs=5e-4)
    assert float(found.max()) == pytest.approx(0.843, abs=2e-3)


@pytest.mark.parametrize("image_size", [(1528, 1272), (1011, 868)])
def test_map_at_training_size_is_the_authors_picture_resized_to_it(image_size: tuple[int, int]) -> None:
    """At half of real sizes and half the sigma, to be quick."""
    points = fixations(image_size)
    oracle = authors_picture(points, image_size, 75).resize((224, 224), Image.Resampling.BILINEAR)
    found = reference_map(torch.tensor(points), image_size, (224, 224), sigma=75)[0, 0].numpy()
    difference = np.abs(found - np.asarray(oracle) / 255)
    assert difference.max() < 0.02
    assert difference.mean() < 0.003


def test_top_row_and_off_image_fixations_are_left_out() -> None:
    seen = torch.tensor([[30.5, 40.5], [90.2, 70.9]])
    more = torch.cat([seen, torch.tensor([[50.0, 0.7], [60.0, -2.0], [-1.0, 30.0], [60.0, 400.0]])])
    assert torch.equal(reference_map(more, (100, 120)), reference_map(seen, (100, 120)))


def test_one_frame_per_fixation_and_flat_where_it_was_off_the_image() -> None:
    points = torch.tensor([[30.5, 40.5], [-2.0, -2.0], [90.2, 70.9]])
    frames = reference_frames(points, (1000, 1200), (50, 60))
    assert frames.shape == (1, 3, 50, 60)
    for t in (0, 2):
        assert torch.equal(frames[:, t], reference_map(points[t : t + 1], (1000, 1200), (50, 60))[:, 0])
    flat = set(frames[0, 1].flatten().tolist())
    assert list(flat) == pytest.approx([0.1176], abs=1e-4)


def test_no_fixation_gives_a_flat_map() -> None:
    assert torch.equal(reference_map(torch.zeros(0, 2), (90, 80)), viridis_grey(torch.zeros(1, 1, 90, 80)))
