"""A device over a lung or the heart: surgical clips, a pacing lead or a port, as a radiograph shows them."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from radgaze.simulation.overlay import Overlay, clipped

OVERSAMPLE = 3
SIDE = 0.11
"""Side of the square that a device is drawn in, as a share of the image's long side."""

OPACITY = 0.92
"""Opacity of metal: a little of the image is seen through it."""


def device(
    kind: str, shape: tuple[int, ...], centre: tuple[float, float], rng: np.random.Generator
) -> Overlay:
    """Draw a device about a place, turned and bent at random.

    Args:
        kind: "clips", "lead" or "port".
        shape: Shape (H, W) of the image.
        centre: Place (x, y), in pixels.
        rng: Random generator of its form.
    """
    size = max(8, round(SIDE * max(shape)))
    page = Image.new("L", (size * OVERSAMPLE, size * OVERSAMPLE))
    _DRAWN[kind](ImageDraw.Draw(page), size * OVERSAMPLE, rng)
    page = page.rotate(float(rng.uniform(0, 360)), Image.Resampling.BILINEAR)
    cover = (
        np.asarray(page.resize((size, size), Image.Resampling.BOX), np.float32) / 255 * np.float32(OPACITY)
    )
    left, top = round(centre[0] - size / 2), round(centre[1] - size / 2)
    return clipped(Overlay(left, top, np.ones_like(cover), cover), shape)


def _clips(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """Five short, thick strokes."""
    for k in range(5):
        angle = 2 * np.pi * (k + rng.uniform(-0.25, 0.25)) / 5
        distance = rng.uniform(0.12, 0.32) * side
        x, y = side / 2 + distance * np.cos(angle), side / 2 + distance * np.sin(angle)
        turn = rng.uniform(0, np.pi)
        dx, dy = 0.09 * side * np.cos(turn), 0.09 * side * np.sin(turn)
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=255, width=max(1, round(0.07 * side)))


def _lead(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """A bent wire with a ring and a thick tip."""
    t = np.linspace(0, 1, 40)
    bend, phase = rng.uniform(0.12, 0.2), rng.uniform(0, 2 * np.pi)
    x = side * (0.1 + 0.8 * t)
    y = side * (0.5 + bend * np.sin(2 * np.pi * t + phase))
    draw.line(
        [(float(a), float(b)) for a, b in zip(x, y, strict=True)],
        fill=255,
        width=max(1, round(0.05 * side)),
        joint="curve",
    )
    for place, radius in ((-1, 0.055), (-9, 0.045)):
        _disc(draw, float(x[place]), float(y[place]), radius * side, 255)


def _port(draw: ImageDraw.ImageDraw, side: int, rng: np.random.Generator) -> None:
    """A chamber, a thick ring with a bright centre, and the beginning of its catheter."""
    middle, radius = side / 2, rng.uniform(0.22, 0.26) * side
    draw.line((middle, middle, 0.95 * side, middle), fill=190, width=max(1, round(0.05 * side)))
    _disc(draw, middle, middle, radius, 255)
    _disc(draw, middle, middle, 0.68 * radius, 70)
    _disc(draw, middle, middle, 0.30 * radius, 255)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: int) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


_DRAWN = {"clips": _clips, "lead": _lead, "port": _port}
