"""Bones and vessels: curves in the patient's frame, drawn as bands into layers of path length."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from radgaze.sources.phantom.anatomy import MEDIASTINUM, Grid, Shape

LEVELS = 255.0


class Layer:
    """A picture of path length (H, W) into which bands are drawn; where two cross, the later one stays."""

    def __init__(self, shape: Shape, margin: int, full: float) -> None:
        pose = shape.pose
        self._size = (pose.width + 2 * margin, pose.height + 2 * margin)
        self._scale, self._x, self._y = pose.scale, pose.origin_x + margin, pose.origin_y + margin
        self._full = full
        self._image = Image.new("L", self._size)
        self._draw = ImageDraw.Draw(self._image)

    def band(self, u: np.ndarray, v: np.ndarray, width: float, value: np.ndarray | float) -> None:
        """Draw a polyline `width` mm wide; `value` (one, or one per piece) is the path length in it."""
        x, y = u * self._scale + self._x, v * self._scale + self._y
        fill = np.clip(np.broadcast_to(value, len(x) - 1) / self._full * LEVELS, 0, 255).astype(int).tolist()
        pixels = width * self._scale
        thick = max(1, round(pixels))
        dim = min(1.0, pixels)  # thinner than a pixel: one pixel, less of it
        points = np.stack([x, y], 1).tolist()
        for a, b, level in zip(points[:-1], points[1:], fill, strict=True):
            self._draw.line((*a, *b), fill=round(level * dim), width=thick)

    def array(self, blur: float) -> Grid:
        """The layer (H, W), its edges softened over `blur` mm."""
        soft = self._image.filter(ImageFilter.GaussianBlur(max(0.45, blur * self._scale)))
        return np.asarray(soft, np.float32) * np.float32(self._full / LEVELS)


def bones(shape: Shape, margin: int, u: np.ndarray, v: np.ndarray) -> Grid:
    """Path length of bone (H, W) in 1/mm·mm, i.e. what it adds to the path: ribs, clavicles, arms, spine."""
    thorax = shape.thorax
    bone = np.zeros((v.shape[0], u.shape[1]), np.float32)
    spacing = shape.h / 9.3
    for part, (start, end) in (("posterior", (0.06, 0.52)), ("anterior", (0.50, 0.76))):
        layer = Layer(shape, margin, 0.6)
        angle = np.pi * np.linspace(start, end, 22)
        for rib in range(11):
            level = -14 + rib * spacing
            drop = 52 + 4.5 * rib if rib else 30
            reach = float(shape.lateral(np.clip(level + 0.45 * drop, 24, None))) + 4
            last = 0.80 - 0.02 * rib
            turned = angle[angle < np.pi * last] if part == "anterior" else angle
            across, down = np.sin(turned), (1 - np.cos(turned)) / 2
            curve_v = level + drop * down - 9 * np.sin(2 * turned) * (turned < np.pi / 2)
            ds = np.diff(np.stack([reach * across, curve_v, thorax.depth * 1.1 * np.cos(turned)]), axis=1)
            tilt = np.linalg.norm(ds, axis=0) / np.maximum(np.hypot(ds[0], ds[1]), 1e-3)
            value = thorax.ribs * (0.105 if part == "posterior" else 0.075) * np.minimum(tilt, 1.9)
            if part == "anterior":
                value = value * np.linspace(1, 0.45, len(value))
            for side in (-1, 1):
                u_curve = side * (8 + (reach - 8) * across)
                wide = 9.5 if part == "posterior" else 11.0
                layer.band(u_curve, curve_v, wide, value * 1.25)
                layer.band(u_curve, curve_v, wide - 3.2, value * 0.85)
        bone += layer.array(0.5)
    layer = Layer(shape, margin, 0.6)
    for side in (-1, 1):
        t = np.linspace(0, 1, 16)
        rise = -9 + 5 * np.sin(shape.pose.tilt * 40)
        u_curve = side * (17 + (shape.w + 20 - 17) * t)
        v_curve = 12 + (rise - 12) * t + 7 * np.sin(2 * np.pi * t)
        layer.band(u_curve, v_curve, 12.5, 0.24 * thorax.ribs)
        layer.band(u_curve, v_curve, 7.5, 0.17 * thorax.ribs)
        arm = np.array([0.0, 260.0])
        u_arm = side * (shape.w + 47 + (0.22 + 0.5 * thorax.arms) * arm)
        layer.band(u_arm, 34 + arm, 25, 0.42)
        layer.band(u_arm, 34 + arm, 14, 0.26)
        head = np.linspace(0, 2 * np.pi, 14)
        layer.band(side * (shape.w + 42) + 12 * np.cos(head), 26 + 12 * np.sin(head), 20, 0.36)
        border = np.linspace(0, 1, 12)
        layer.band(
            side * (shape.w * (0.78 + 0.16 * border**2)), 18 + border * 125 - 10 * border**3, 3.0, 0.13
        )
    bone += layer.array(0.6)
    centre = thorax.spine_curve * np.sin(v / 120)
    x = np.abs(u - centre - 0.3 * shape.pose.turn)
    bodies = 0.75 + 0.25 * np.tanh(4 * np.cos(2 * np.pi * v / 23.0) + 1.6)
    column = np.clip((19 - x) / 2.5, 0, 1) * bodies + 0.7 * np.clip((4 - x) / 2, 0, 1) * (
        np.cos(2 * np.pi * v / 23 + 1) > 0.1
    )
    return bone + (0.42 * column).astype(np.float32)


def vessels(shape: Shape, margin: int, rng: np.random.Generator, upper: float) -> Grid:
    """What the pulmonary vessels add to the path (H, W): trees that branch from both hila.

    Args:
        shape: The thorax in its pose.
        margin: More pixels on every side.
        rng: The patient's own, so that two studies show the same tree.
        upper: 0 for a normal calibre of the upper-lobe vessels; 1 doubles it.
    """
    layer = Layer(shape, margin, 0.25)
    for side in (-1, 1):
        for u, v, width in _tree(shape, rng, side):
            more = 1 + upper * np.clip(1.1 - v.mean() / (0.5 * shape.h), 0, 1)
            layer.band(u, v, width * more, 0.0115 * width * more)
    return layer.array(0.45)


def airways(shape: Shape, margin: int, rng: np.random.Generator) -> Grid:
    """The same trees, thin and of unit value (H, W): air bronchograms, where an opacity makes them seen."""
    layer = Layer(shape, margin, 1.0)
    for side in (-1, 1):
        for u, v, width in _tree(shape, rng, side):
            if width > 1.2:
                layer.band(u + 3, v + 2, 0.55 * width + 0.6, 1.0)
    return layer.array(0.5)


def septal_lines(shape: Shape, margin: int, rng: np.random.Generator, amount: float) -> Grid:
    """Kerley's B lines (H, W): short, level, at the lower outer border of the lungs."""
    layer = Layer(shape, margin, 0.25)
    for side in (-1, 1):
        for level in rng.uniform(0.62, 1.02, size=rng.poisson(16 * amount)) * shape.h:
            edge = float(shape.lateral(level)) - rng.uniform(1, 5)
            t = np.linspace(0, 1, 4)
            u = side * (edge - rng.uniform(10, 20) * t)
            layer.band(u, level + rng.normal(0, 1.5) * t, 1.5, 0.05 + 0.07 * amount)
    return layer.array(0.4)


def _tree(
    shape: Shape, rng: np.random.Generator, side: int
) -> Iterable[tuple[np.ndarray, np.ndarray, float]]:
    """Branches (u, v, width) from the hilum outwards, wide ones first."""
    _, v0 = shape.hilum(side)
    headings = np.deg2rad(np.array([-78, -48, -15, 12, 38, 62, 84]) + rng.normal(0, 7, 7))
    u = np.full(7, side * (MEDIASTINUM + 6.0)) + shape.pose.turn
    v = v0 + np.linspace(-14, 16, 7)
    width, length = np.full(7, 7.0) * rng.uniform(0.75, 1.2, 7), np.full(7, 0.165 * shape.h)
    trees = []
    for _ in range(6):
        bend = rng.normal(0, 0.22, len(u))
        mid_u = u + side * np.cos(headings) * length * 0.5
        mid_v = v + np.sin(headings) * length * 0.5
        end_u = mid_u + side * np.cos(headings + bend) * length * 0.5
        end_v = mid_v + np.sin(headings + bend) * length * 0.5
        trees += [
            (np.array([u[i], mid_u[i], end_u[i]]), np.array([v[i], mid_v[i], end_v[i]]), float(width[i]))
            for i in range(len(u))
        ]
        spread = rng.uniform(0.22, 0.62, len(u))
        headings = np.concatenate([headings + bend + spread, headings + bend - spread])
        u, v = np.tile(end_u, 2), np.tile(end_v, 2)
        width = np.tile(width, 2) * rng.uniform(0.58, 0.8, 2 * len(width))
        length = np.tile(length, 2) * rng.uniform(0.65, 0.95, 2 * len(length))
    return trees[::-1]
