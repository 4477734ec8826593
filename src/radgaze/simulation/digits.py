"""Decoy digits: images of digits with a patch in a corner that gives the class away, in training only.

After Ross, Hughes and Doshi-Velez (2017, section 4), whose Decoy MNIST has a grey swatch in a random corner,
with a grey value that is a function of the class in training and random in test. The digits here are drawn
with the fonts that Matplotlib ships, so that nothing is downloaded. The grey value varies about that of its
class: a network cannot be flat at all values that occur and still use the patch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

CLASSES = 10
SIDE = 32
"""Side of an image in pixels."""

PATCH = 6
"""Side of the patch in pixels."""

_NOISE = 0.1
_SIZES = (16, 18)
_STROKE_SIGMA = 1.5


@dataclass(frozen=True)
class Digits:
    """Images of digits.

    Attributes:
        images: Images (N, 1, 32, 32), float32 in [0, 1].
        labels: Class of each, (N,) int64, 0 to 9.
        gaze: Maps (N, 1, 32, 32) in [0, 1] of where the digit is: its strokes and about 4 pixels around them,
            with a soft border. They are 0 in the patch.
        patch: Maps (N, 1, 32, 32), 1 where the patch is, else 0.
    """

    images: np.ndarray
    labels: np.ndarray
    gaze: np.ndarray
    patch: np.ndarray


def draw(count: int, seed: int, *, decoy: bool) -> Digits:
    """Draw digits, each with a patch in a random corner.

    Args:
        count: Number of images.
        seed: Random seed.
        decoy: Whether the patch's grey value depends on the class; otherwise it is that of a random class.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(CLASSES, size=count)
    shape = (count, 1, SIDE, SIDE)
    images, gaze, patch = (np.zeros(shape, np.float32) for _ in range(3))
    for i, label in enumerate(labels):
        digit = _digit(int(label), random)
        gaze[i, 0] = _looked_at(digit)
        images[i, 0] = digit + random.normal(0, _NOISE, digit.shape)
        rows, columns = (
            slice(0, PATCH) if first else slice(-PATCH, None) for first in random.random(2) < 0.5
        )
        shown = label if decoy else random.integers(CLASSES)
        images[i, 0, rows, columns] = 1 - (shown + random.random()) / CLASSES
        patch[i, 0, rows, columns] = 1
    return Digits(images.clip(0, 1), labels, gaze, patch)


def _digit(label: int, random: np.random.Generator) -> np.ndarray:
    """A digit (32, 32) in [0, 1], of a random font, size, brightness, angle and place."""
    canvas = Image.new("L", (2 * SIDE, 2 * SIDE), 0)
    fonts = _fonts()
    font = fonts[random.integers(len(fonts))]
    grey = int(random.integers(120, 256))
    ImageDraw.Draw(canvas).text((SIDE, SIDE), str(label), font=font, fill=grey, anchor="mm")
    canvas = canvas.rotate(float(random.uniform(-10, 10)), resample=Image.Resampling.BILINEAR)
    left, top = SIDE // 2 + random.integers(-1, 2, size=2)
    return np.asarray(canvas.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255


def _looked_at(digit: np.ndarray) -> np.ndarray:
    strokes = gaussian_filter((digit > 0.1).astype(np.float32), _STROKE_SIGMA)
    region = gaussian_filter((strokes > 0.01 * strokes.max()).astype(np.float32), 0.5)
    return np.asarray(region / region.max())


@cache
def _fonts() -> tuple[ImageFont.FreeTypeFont, ...]:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = sorted(file for file in folder.glob("DejaVu*.ttf") if "Display" not in file.name)
    return tuple(ImageFont.truetype(str(file), size) for file in files for size in _SIZES)
