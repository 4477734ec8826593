"""Processing of an image as a whole by an X-ray unit: contrast curve, sharpness and noise texture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from radgaze.simulation.anatomy import Grid

Pixels = npt.NDArray[np.uint16]

JITTER = 0.06
"""Standard deviation of the curve's exponent from image to image."""

GRAIN = 0.022
"""Standard deviation of the noise of "grainy", as a share of the brightest pixel."""


def processed(pixels: Pixels, kind: str, rng: np.random.Generator) -> Pixels:
    """Process an image (H, W) in the style of a detector.

    Args:
        pixels: The image; its brightest pixel stays the brightest.
        kind: "soft" (darker mid-greys, smooth), "sharp" (steep mid-greys, sharpened) or "grainy" (brighter
            mid-greys, coarse noise).
        rng: Random generator of the style's strength and of its noise.
    """
    top = float(pixels.max())
    grey = pixels.astype(np.float32) / np.float32(top)
    side = max(pixels.shape)
    jitter = float(rng.normal(0, JITTER))
    if kind == "soft":
        grey = _blurred(grey, 0.0025 * side) ** (1.35 + jitter)
    elif kind == "sharp":
        grey = np.clip(grey + 1.1 * (grey - _blurred(grey, 0.006 * side)), 0, 1)
        steep = grey * grey * (3 - 2 * grey)
        grey = grey + (0.7 + jitter) * (steep - grey)
    else:
        noise = _blurred(rng.standard_normal(pixels.shape, dtype=np.float32), 0.0025 * side)
        grey = grey ** (0.74 + jitter) + GRAIN * noise / float(noise.std())
    styled: Pixels = np.round(np.clip(grey, 0, 1) * top).astype(np.uint16)
    return styled


def _blurred(field: Grid, sigma: float) -> Grid:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(field, sigma, mode="nearest"), np.float32)
