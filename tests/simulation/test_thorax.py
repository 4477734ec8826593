"""The pictures hold what the numbers say: measured on the pixels, not asked of the code that drew them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radgaze.simulation.anatomy import Pose, Shape, Thorax
from radgaze.simulation.disease import Findings, regions
from radgaze.simulation.exposure import detect, expose, path_length

CLASSES = ("Normal", "CHF", "pneumonia")


def study(diagnosis: str, seed: int, pixels: int = 256) -> tuple[Shape, Findings, np.random.Generator]:
    rng = np.random.default_rng([CLASSES.index(diagnosis), seed])
    thorax = Thorax.draw(rng)
    pose = Pose.draw(rng, thorax, pixels)
    findings = Findings.draw(rng, diagnosis, thorax, pose)
    return Shape(thorax, pose, findings.ratio), findings, rng


@pytest.mark.parametrize("seed", range(5))
def test_the_cardiothoracic_ratio_measured_on_the_picture_is_the_one_drawn(seed: int) -> None:
    shape, findings, _ = study("CHF", seed, pixels=512)
    u, v = shape.grids()
    heart = shape.heart(u, v).max(axis=0) > 0
    lungs = shape.lungs(u, v).max(axis=0) > 0
    measured = np.ptp(np.flatnonzero(heart)) / np.ptp(np.flatnonzero(lungs))
    assert measured == pytest.approx(findings.ratio, abs=0.02)


def test_hearts_are_large_in_failure_and_overlap_elsewhere_little() -> None:
    ratios = {name: [study(name, seed)[1].ratio for seed in range(200)] for name in CLASSES}
    assert min(ratios["CHF"]) > 0.5
    for name in ("Normal", "pneumonia"):
        assert 0.40 < np.median(ratios[name]) < 0.49
        assert 0 < np.mean(np.array(ratios[name]) > 0.5) < 0.25, "mild cases must be mistakable"


def test_lungs_are_dark_and_heart_and_abdomen_are_bright() -> None:
    for seed in range(6):
        shape, findings, rng = study("Normal", seed)
        image = expose(path_length(shape, findings, rng), rng).astype(float)
        pose = shape.pose

        def at(u: float, v: float, image: np.ndarray = image, pose: Pose = pose) -> float:
            x, y = (int(value) for value in pose.to_pixels(u, v))
            return float(image[max(y - 4, 0) : y + 5, max(x - 4, 0) : x + 5].mean())

        lung = np.mean([at(side * 0.6 * shape.w, 0.4 * shape.h) for side in (-1, 1)])
        assert at(0, 0.6 * shape.h) > 1.15 * lung
        assert at(-0.4 * shape.w, shape.h + 25) > 1.15 * lung
        assert image.max() <= 4095


@pytest.mark.parametrize("diagnosis", ["CHF", "pneumonia"])
def test_disease_changes_the_picture_where_the_truth_says_and_hardly_elsewhere(diagnosis: str) -> None:
    inside, outside = [], []
    for seed in range(8):
        shape, findings, _ = study(diagnosis, seed)
        healthy = Findings(severity=0.0, ratio=findings.ratio)
        paths = [path_length(shape, one, np.random.default_rng(1)) for one in (findings, healthy)]
        change = np.abs(paths[0] - paths[1])
        where = np.zeros(change.shape, bool)
        for _, u1, v1, u2, v2 in regions(findings, shape):
            x, y = shape.pose.to_pixels([u1, u2, u1, u2], [v1, v1, v2, v2])
            x1, x2, y1, y2 = (int(edge) for edge in (max(x.min(), 0), x.max(), max(y.min(), 0), y.max()))
            where[y1 : y2 + 1, x1 : x2 + 1] = True
        inside.append(change[where].mean())
        outside.append(change[~where].mean())
    assert np.mean(inside) > 5 * np.mean(outside)


def test_opacities_are_5_to_20_percent_of_the_width_and_lie_in_the_lungs() -> None:
    for seed in range(60):
        shape, findings, _ = study("pneumonia", seed)
        width = shape.pose.width / shape.pose.scale
        assert 1 <= len(findings.opacities) <= 3
        for opacity in findings.opacities:
            diameter = 2 * np.sqrt(opacity.radius_u * opacity.radius_v)
            assert 0.05 < diameter / width < 0.2
            air = shape.lungs(np.array([[opacity.u]], np.float32), np.array([[opacity.v]], np.float32))
            assert air[0, 0] > 20


def test_the_tilt_moves_the_picture_and_the_points_alike() -> None:
    shape, findings, _ = study("Normal", 1)
    tilted = replace(shape.pose, tilt=0.12)
    level = replace(shape.pose, tilt=0.0)
    paths = [
        path_length(Shape(shape.thorax, pose, 0.45), findings, np.random.default_rng(0))
        for pose in (level, tilted)
    ]
    rng = np.random.default_rng(2)
    u, v = rng.uniform(-100, 100, 300), rng.uniform(20, 200, 300)
    seen = []
    for path, pose in zip(paths, (level, tilted), strict=True):
        x, y = (np.round(value - 0.5).astype(int) for value in pose.to_pixels(u, v))
        seen.append(path[y, x])
    assert np.corrcoef(seen)[0, 1] > 0.98
    x, y = (np.round(value - 0.5).astype(int) for value in level.to_pixels(u, v))
    assert np.corrcoef(seen[0], paths[1][y, x])[0, 1] < 0.97, "the tilt does nothing"


def test_noise_is_poissons() -> None:
    for depth, photons in ((2.0, 1e5), (2.0, 1e4), (4.0, 1e5)):
        path = np.full((300, 300), depth, np.float32)
        dense = detect(path, np.random.default_rng(0), photons=photons, scatter=0.0)
        assert dense.mean() == pytest.approx(depth, abs=0.01)
        assert dense.std() == pytest.approx(1 / np.sqrt(photons * np.exp(-depth)), rel=0.05)


def test_scatter_takes_contrast_away() -> None:
    path = np.full((300, 300), 4.0, np.float32)
    path[140:160, 140:160] = 3.0
    contrast = []
    for scatter in (0.0, 0.5, 1.0):
        dense = detect(path, np.random.default_rng(0), photons=1e6, scatter=scatter)
        contrast.append(dense[:, :80].mean() - dense[142:158, 142:158].mean())
    assert contrast[0] == pytest.approx(1.0, abs=0.02)
    assert contrast[0] > 1.1 * contrast[1] > 1.1 * 1.1 * contrast[2]
