"""The marker that is burnt into an image, which a classifier may learn instead of the disease.

There are three kinds, each at another place outside the lungs: a round lead letter above the patient's left
shoulder, the tag of a portable unit above the right shoulder, and an upright plate beside the right shoulder.
As a confounder of its own (`confounder=marker=...`) all three may be anywhere outside the lungs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from radgaze.simulation.overlay import Box, Overlay, clipped

OVERSAMPLE = 3
REACH = (0.135, 0.105)
"""Width and height of the largest markers, as shares of the long side of the image."""


def burn(
    pixels: npt.NDArray[np.uint16], kind: str, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint16], Box]:
    """Burn a marker into a copy of an image (H, W).

    Args:
        pixels: The image.
        kind: Kind of the marker, one of `plan.MARKERS`.
        rng: Random generator of its position.

    Returns:
        The image, and the box (x1, y1, x2, y2) of the marker in pixels.
    """
    overlay = marker(kind, pixels.shape, rng.uniform(0, 0.03, 2))
    return overlay.painted(pixels, float(pixels.max())), overlay.box


def marker(kind: str, shape: tuple[int, ...], jitter: npt.NDArray[np.float64]) -> Overlay:
    """Make a marker at the place of its kind.

    Args:
        kind: Kind of the marker, one of `plan.MARKERS`.
        shape: Shape (H, W) of the image.
        jitter: Distance (x, y) from the outermost place, as a share of width and height.
    """
    height, width = shape
    stamp = _STAMPS[kind](max(height, width))
    wide = stamp.shape[1]
    x = (0.02 + float(jitter[0])) * width
    y = (0.02 + float(jitter[1])) * height
    if kind == "lead_letter":
        x = width - wide - x
    if kind == "upright_plate":
        y += 0.13 * height
    return Overlay(int(x), int(y), stamp[..., 0], stamp[..., 1])


def marker_about(kind: str, shape: tuple[int, ...], centre: tuple[float, float]) -> Overlay:
    """Make a marker about a centre (x, y) in pixels, see `places.outside_the_lungs`."""
    stamp = _STAMPS[kind](max(shape))
    tall, wide = stamp.shape[:2]
    left, top = round(centre[0] - wide / 2), round(centre[1] - tall / 2)
    return clipped(Overlay(left, top, stamp[..., 0], stamp[..., 1]), shape)


def _lead_letter(side: int) -> np.ndarray:
    """A white L in a ring on black, as (h, w, 2) of brightness and opacity in [0, 1]."""
    size = round(0.062 * side)
    big = size * OVERSAMPLE
    ink, cover = _pages(big, big)
    ImageDraw.Draw(cover).ellipse((0, 0, big - 1, big - 1), fill=255)
    draw = ImageDraw.Draw(ink)
    draw.ellipse((0, 0, big - 1, big - 1), outline=255, width=max(1, big // 11))
    stroke = max(1, big // 8)
    draw.line(
        (0.38 * big, 0.24 * big, 0.38 * big, 0.74 * big, 0.70 * big, 0.74 * big), fill=255, width=stroke
    )
    return _stamp(ink, cover, size, size)


def _portable_tag(side: int) -> np.ndarray:
    """A white tag with dark strokes of text."""
    wide, tall = round(0.135 * side), round(0.042 * side)
    ink, cover = _pages(wide * OVERSAMPLE, tall * OVERSAMPLE)
    ImageDraw.Draw(cover).rectangle((0, 0, *cover.size), fill=255)
    draw = ImageDraw.Draw(ink)
    draw.rectangle((0, 0, *ink.size), fill=255)
    _text(draw, "PORTABLE", ink.size, fill=25)
    return _stamp(ink, cover, wide, tall)


def _upright_plate(side: int) -> np.ndarray:
    """A dark plate with a white frame, an arrow that points up and a letter below."""
    wide, tall = round(0.05 * side), round(0.105 * side)
    w, h = wide * OVERSAMPLE, tall * OVERSAMPLE
    ink, cover = _pages(w, h)
    ImageDraw.Draw(cover).rectangle((0, 0, w, h), fill=255)
    draw = ImageDraw.Draw(ink)
    line = max(1, w // 9)
    draw.rectangle((0, 0, w - 1, h - 1), outline=255, width=line)
    draw.line((0.5 * w, 0.25 * h, 0.5 * w, 0.58 * h), fill=255, width=round(1.5 * line))
    draw.polygon([(0.5 * w, 0.10 * h), (0.22 * w, 0.32 * h), (0.78 * w, 0.32 * h)], fill=255)
    draw.rectangle((0.28 * w, 0.66 * h, 0.72 * w, 0.88 * h), outline=255, width=line)
    return _stamp(ink, cover, wide, tall)


def _text(draw: ImageDraw.ImageDraw, words: str, size: tuple[int, int], fill: int) -> None:
    font = ImageFont.load_default(size=0.62 * size[1])
    left, top, right, bottom = draw.textbbox((0, 0), words, font=font)
    if right - left > 0.9 * size[0]:
        font = ImageFont.load_default(size=0.62 * size[1] * 0.9 * size[0] / (right - left))
        left, top, right, bottom = draw.textbbox((0, 0), words, font=font)
    draw.text(((size[0] - right - left) / 2, (size[1] - bottom - top) / 2), words, font=font, fill=fill)


def _pages(width: int, height: int) -> tuple[Image.Image, Image.Image]:
    return Image.new("L", (width, height)), Image.new("L", (width, height))


def _stamp(ink: Image.Image, cover: Image.Image, width: int, height: int) -> np.ndarray:
    small = [page.resize((width, height), Image.Resampling.BOX) for page in (ink, cover)]
    return np.stack([np.asarray(page, np.float32) / 255 for page in small], axis=-1)


_STAMPS = {"lead_letter": _lead_letter, "portable_tag": _portable_tag, "upright_plate": _upright_plate}
