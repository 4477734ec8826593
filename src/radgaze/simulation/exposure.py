"""Exposure: attenuation along X-rays, and the pixels of a detector with photon noise, scatter and 12 bits."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from radgaze.simulation.anatomy import MU_LUNG, MU_SOFT, Grid, Pose, Shape
from radgaze.simulation.disease import COARSE, Findings, added_path, cloud, resize
from radgaze.simulation.strokes import bones, vessels

BITS = 12

VISIBLE = 0.05
"""Added attenuation from which a pixel belongs to an abnormality: 5% fewer photons."""


def path_length(shape: Shape, findings: Findings, rng: np.random.Generator) -> Grid:
    """Compute the attenuation −log(transmission) along each ray (H, W), including the tilt."""
    return path_and_disease(shape, findings, rng)[0]


def path_and_disease(shape: Shape, findings: Findings, rng: np.random.Generator) -> tuple[Grid, Grid | None]:
    """Compute the attenuation −log(transmission) along each ray (H, W), including the tilt.

    Returns:
        The attenuation, and the part of it that the disease adds, both (H, W); None without a disease.
    """
    pose = shape.pose
    margin = int(np.ceil(abs(np.sin(pose.tilt)) * max(pose.width, pose.height) / 2)) + 2
    patient = np.random.default_rng(shape.thorax.texture)  # the same vessels in each study of a patient
    u, v = shape.grids(margin)
    air, heart = shape.lungs(u, v), shape.heart(u, v)
    air = np.maximum(air - 0.9 * heart, 0.12 * air)
    # The body is smooth, so half the resolution suffices.
    body = resize(shape.body(u[:, ::2], v[::2]), air.shape)
    path = MU_SOFT * body - (MU_SOFT - MU_LUNG) * air
    inside = np.clip(air / (1.1 * shape.thorax.depth), 0, 1)
    lung = vessels(shape, margin, patient, findings.upper) + 0.013 * cloud(
        patient, air.shape, 1.6 * pose.scale
    )
    coarse = (air.shape[0] // COARSE, air.shape[1] // COARSE)
    broad = 0.016 * cloud(patient, coarse, 5 * pose.scale / COARSE)
    broad += 0.035 * cloud(patient, coarse, 22 * pose.scale / COARSE)
    for side in (-1, 1):
        hilum_u, hilum_v = shape.hilum(side)
        blob_u = np.exp(-(((u[:, : coarse[1] * COARSE : COARSE] - hilum_u) / 15) ** 2))
        broad += 0.20 * blob_u * np.exp(-(((v[: coarse[0] * COARSE : COARSE] - hilum_v) / 22) ** 2))
    lung += resize(broad, air.shape)
    path += lung * inside
    path += bones(shape, margin, u, v)
    for where, gas in (_trachea(shape, u, v), *_bowel(shape, u, v, rng)):
        path[where] -= gas
    disease = added_path(findings, shape, margin, u, v, air, rng)
    if disease is not None:
        path += disease
    turned = None if disease is None else _turn(disease, pose, margin)
    return _turn(np.maximum(path, 0), pose, margin), turned


def lesion(disease: Grid | None, shape: Shape, *, heart: bool) -> npt.NDArray[np.bool_]:
    """Find the pixels (H, W) of the abnormality.

    They are those on which the disease adds at least `VISIBLE` to the attenuation and, if it is enlarged,
    those of the heart.

    Args:
        disease: Attenuation that the disease adds, see `path_and_disease`.
        shape: The thorax in its pose.
        heart: Whether the heart is abnormal.
    """
    size = (shape.pose.height, shape.pose.width)
    mask = np.zeros(size, np.bool_) if disease is None else disease >= VISIBLE
    if heart:
        margin = int(np.ceil(abs(np.sin(shape.pose.tilt)) * max(size) / 2)) + 2
        u, v = shape.grids(margin)
        mask = mask | (_turn(shape.heart(u, v), shape.pose, margin) > 0)
    return mask


def _trachea(shape: Shape, u: np.ndarray, v: np.ndarray) -> tuple[tuple[slice, slice], Grid]:
    """Part of the grid, and the attenuation that air in the trachea and main bronchi removes there."""
    carina = 0.30 * shape.h
    centre = 3 + shape.pose.turn * 0.7
    where = _window(u, v, -60, -200, 60, carina + 45)
    u, v = u[:, where[1]], v[where[0]]
    tube = 1 - ((u - centre) / 8.5) ** 2
    air = 15 * np.sqrt(np.clip(tube, 0, 1)) * np.clip((carina - v) / 5, 0, 1)
    for side, slope in ((-1, 0.62), (1, 0.95)):
        x = np.abs(u - centre - side * slope * (v - carina)) / np.hypot(1, slope)
        fade = np.clip((v - carina + 4) / 6, 0, 1) * np.clip((carina + 42 - v) / 22, 0, 1)
        air = np.maximum(air, 10 * np.sqrt(np.clip(1 - (x / 6) ** 2, 0, 1)) * fade)
    return where, (MU_SOFT * air).astype(np.float32)


def _bowel(
    shape: Shape, u: np.ndarray, v: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[tuple[slice, slice], Grid]]:
    """Parts of the grid, and the attenuation that gas in stomach and bowel removes there."""
    size = rng.uniform(8, 30)
    bubbles = [
        (
            0.42 * shape.w + rng.normal(0, 8),
            shape.h + 24 + 0.6 * size,
            1.35 * size,
            0.7 * size,
            rng.uniform(0.2, 1),
        )
    ]
    for _ in range(rng.integers(0, 4)):
        radius = rng.uniform(7, 17)
        where = rng.uniform(-0.8, 0.8) * shape.w, shape.h + rng.uniform(60, 120)
        bubbles.append((*where, 1.4 * radius, radius, 0.5))
    for x, y, wide, tall, deep in bubbles:
        cut = _window(u, v, x - wide, y - tall, x + wide, y + tall)
        q = ((u[:, cut[1]] - x) / wide) ** 2 + ((v[cut[0]] - y) / tall) ** 2
        yield cut, (MU_SOFT * deep * tall * np.sqrt(np.clip(1 - q, 0, 1))).astype(np.float32)


def _window(u: np.ndarray, v: np.ndarray, u1: float, v1: float, u2: float, v2: float) -> tuple[slice, slice]:
    """Rows and columns of the grid inside a box in mm."""
    rows, columns = np.searchsorted(v[:, 0], [v1, v2]), np.searchsorted(u[0], [u1, u2])
    return slice(rows[0], rows[1]), slice(columns[0], columns[1])


def _turn(path: Grid, pose: Pose, margin: int) -> Grid:
    """Rotate the image about its centre by the tilt, and crop the margin."""
    c, s = np.cos(pose.tilt), np.sin(pose.tilt)
    mid_x, mid_y = pose.width / 2, pose.height / 2
    # Pillow needs the source of each pixel of the result, which is the inverse of Pose.to_pixels.
    affine = (c, s, mid_x + margin - c * mid_x - s * mid_y, -s, c, mid_y + margin + s * mid_x - c * mid_y)
    image = Image.fromarray(np.ascontiguousarray(path, np.float32), mode="F")
    turned = image.transform(
        (pose.width, pose.height), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    )
    return np.asarray(turned, np.float32)


def expose(path: Grid, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Simulate the final image (H, W) of 12 bits, bright where dense (MONOCHROME2).

    Exposure, scatter and the processing of the X-ray unit vary from image to image.

    Args:
        path: Attenuation of shape (H, W).
        rng: Random generator of the study.
    """
    dense = detect(path, rng, photons=10 ** rng.uniform(4.5, 5.3), scatter=rng.uniform(0.25, 0.8))
    return _display(dense, rng)


def detect(path: Grid, rng: np.random.Generator, *, photons: float, scatter: float) -> Grid:
    """Simulate the measurement of a detector, as −log of the transmission (H, W).

    Args:
        path: Attenuation of shape (H, W).
        rng: Random generator of the noise, which is Poisson noise in its normal approximation.
        photons: Number of photons per pixel in the open beam.
        scatter: Ratio of scattered to primary photons; the scatter is a blurred share of the primary photons
            and reduces contrast where the patient is thick.
    """
    height, width = path.shape
    primary = np.exp(-path)
    coarse = (max(8, height // 16), max(8, width // 16))
    small = Image.fromarray(np.minimum(primary, 0.35), mode="F").resize(coarse[::-1], Image.Resampling.BOX)
    signal = primary + resize(scatter * _blur(np.asarray(small, np.float32), max(coarse) / 14), path.shape)
    signal += np.sqrt(signal / np.float32(photons)) * rng.standard_normal(path.shape, dtype=np.float32)
    return -np.log(np.maximum(signal, 1e-5))


def _display(dense: Grid, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Image after processing by the X-ray unit: equalisation of broad differences, a range, and a curve."""
    small = dense[::8, ::8]
    body = small[small > 0.6 * np.median(small)]
    level = resize(_blur(small, max(small.shape) / 12), dense.shape)
    dense = dense - rng.uniform(0.2, 0.42) * (level - np.float32(body.mean()))
    small = dense[::8, ::8]
    low, high = np.percentile(
        small[small > 0.35 * np.median(small)], [rng.uniform(0.5, 4), rng.uniform(98, 99.8)]
    )
    grey = np.clip((dense - low) / (high - low) * rng.uniform(0.84, 0.96) + rng.uniform(0.02, 0.08), 0, 1)
    bend = rng.uniform(0.3, 1.5)  # more contrast in the lungs than in the abdomen
    grey = np.expm1(-bend * grey) / np.expm1(-bend)
    top = rng.uniform(0.86, 1.0) * (2**BITS - 1)
    shown: npt.NDArray[np.uint16] = np.round(grey * top).astype(np.uint16)
    return shown


def _blur(field: np.ndarray, sigma: float) -> Grid:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(field, sigma, mode="nearest"), np.float32)
