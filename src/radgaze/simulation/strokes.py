"""Bones and vessels: curves in the patient's frame, drawn as bands into layers of attenuation."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from radgaze.simulation.anatomy import MEDIASTINUM, Grid, Shape

LEVELS = 255.0


class Layer:
    """Layer of added attenuation (H, W) into which bands are drawn; where two cross, the later one is kept.

    Args:
        shape: The thorax in its pose.
        margin: Additional pixels on each side.
        full: Attenuation of the highest of 256 levels.
    """

    def __init__(self, shape: Shape, margin: int, full: float) -> None:
        pose = shape.pose
        self._size = (pose.width + 2 * margin, pose.height + 2 * margin)
        self._scale = pose.scale
        self._origin = np.array([pose.origin_x + margin, pose.origin_y + margin])
        self._full = full
        self._image = Image.new("L", self._size)
        self._draw = ImageDraw.Draw(self._image)

    def bands(self, points: np.ndarray, widths: np.ndarray, values: np.ndarray) -> None:
        """Draw polylines.

        Args:
            points: Points (N, K, 2) of N polylines, in mm.
            widths: Widths (N,) in mm.
            values: Attenuation (N,) that they add.
        """
        pixels = widths * self._scale
        # Bands thinner than a pixel are drawn one pixel wide, with a lower value.
        ink = (
            np.round(np.clip(values / self._full * LEVELS, 0, 255) * np.minimum(pixels, 1))
            .astype(int)
            .tolist()
        )
        thick = np.maximum(1, np.round(pixels)).astype(int).tolist()
        drawn = (points * self._scale + self._origin).reshape(len(points), 2 * points.shape[1]).tolist()
        for line, fill, width in zip(drawn, ink, thick, strict=True):
            self._draw.line(line, fill=fill, width=width)

    def band(self, u: np.ndarray, v: np.ndarray, width: float, value: np.ndarray | float) -> None:
        """Draw one polyline of a width in mm; `value` is its attenuation, or that of each of its pieces."""
        points = np.stack(np.broadcast_arrays(u, v), axis=1)
        pieces = np.stack([points[:-1], points[1:]], axis=1)
        many = np.ones(len(pieces))
        self.bands(pieces, width * many, value * many)

    def disc(self, u: float, v: float, radius: float, value: float) -> None:
        """Fill a disc with an attenuation; centre and radius are in mm."""
        (x, y), r = np.array([u, v]) * self._scale + self._origin, radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=round(value / self._full * LEVELS))

    def array(self, blur: float, *others: Layer) -> Grid:
        """Return the sum of this layer and others, (H, W), with edges blurred over `blur` mm."""
        image = self._image
        for other in others:
            image = ImageChops.add(image, other._image)
        soft = image.filter(ImageFilter.BoxBlur(max(0.5, 1.3 * blur * self._scale)))
        return np.asarray(soft, np.float32) * np.float32(self._full / LEVELS)


def bones(shape: Shape, margin: int, u: np.ndarray, v: np.ndarray) -> Grid:
    """Compute the attenuation (H, W) that bones add: ribs, clavicles, shoulder blades, arms, spine."""
    layers = [Layer(shape, margin, 0.9) for _ in range(3)]
    _ribs(shape, layers[0], "posterior")
    _ribs(shape, layers[1], "anterior")
    _shoulders(shape, layers[2])
    return layers[0].array(0.55, *layers[1:]) + _spine(shape, u, v)


def _ribs(shape: Shape, layer: Layer, part: str) -> None:
    """Draw eleven tilted hoops; attenuation is higher where a rib runs along the rays."""
    thorax = shape.thorax
    spacing = shape.h / 9.3
    for rib in range(11):
        if part == "posterior":
            angle = np.pi * np.linspace(0.06, 0.52, 26)
        else:
            angle = np.pi * np.linspace(0.50, min(0.76, 0.80 - 0.02 * rib), 20)
        level, drop = -14 + rib * spacing, 52 + 4.5 * rib if rib else 30
        reach = float(shape.lateral(np.clip(level + 0.45 * drop, 24, None))) + 4
        hoop_v = level + drop * (1 - np.cos(angle)) / 2 - 9 * np.sin(2 * angle) * (angle < np.pi / 2)
        hoop = np.stack([reach * np.sin(angle), hoop_v, 1.1 * thorax.depth * np.cos(angle)])
        step = np.diff(hoop, axis=1)
        along = np.linalg.norm(step, axis=0) / np.maximum(np.hypot(step[0], step[1]), 1e-3)
        if part == "posterior":
            wide, value = 9.5, 0.105 * thorax.ribs * np.minimum(along, 1.7)
        else:
            wide, value = 11.0, 0.075 * thorax.ribs * np.minimum(along, 1.7) * np.linspace(1, 0.4, len(along))
        for side in (-1, 1):
            hoop_u = side * (8 + (reach - 8) * np.sin(angle))
            # A tube, whose cortex is denser than its interior.
            for width, share in ((wide, 1.15), (wide - 1.6, 1.45), (wide - 3.4, 1.05)):
                layer.band(hoop_u, hoop_v, width, share * value)


def _shoulders(shape: Shape, layer: Layer) -> None:
    thorax = shape.thorax
    for side in (-1, 1):
        t = np.linspace(0, 1, 16)
        rise = -12 + 5 * np.sin(shape.pose.tilt * 40)
        u = side * (17 + (shape.w + 20 - 17) * t)
        v = 30 + (rise - 30) * t + 6 * np.sin(2 * np.pi * t)
        layer.band(u, v, 12.5, 0.24 * thorax.ribs)
        layer.band(u, v, 7.5, 0.17 * thorax.ribs)
        arm = np.array([0.0, 260.0])
        u = side * (shape.w + 47 + (0.22 + 0.5 * thorax.arms) * arm)
        layer.band(u, 34 + arm, 25, 0.42)
        layer.band(u, 34 + arm, 14, 0.26)
        layer.disc(side * (shape.w + 44), 28, 23, 0.34)
        blade = np.linspace(0, 1, 12)
        layer.band(side * shape.w * (0.78 + 0.16 * blade**2), 18 + 125 * blade - 10 * blade**3, 3.0, 0.13)


def _spine(shape: Shape, u: np.ndarray, v: np.ndarray) -> Grid:
    """Attenuation of vertebral bodies, with discs between them, and of spinous processes in the middle."""
    added = np.zeros((v.shape[0], u.shape[1]), np.float32)
    near = np.flatnonzero(np.abs(u[0]) < 45)
    columns = slice(near[0], near[-1] + 1)
    centre = shape.thorax.spine_curve * np.sin(v / 120) + 0.3 * shape.pose.turn
    x = np.abs(u[:, columns] - centre)
    bodies = 0.75 + 0.25 * np.tanh(4 * np.cos(2 * np.pi * v / 23.0) + 1.6)
    processes = 1 / (1 + np.exp(-6 * np.cos(2 * np.pi * v / 23 + 1)))
    added[:, columns] = np.clip((19 - x) / 2.5, 0, 1) * bodies + 0.6 * np.exp(-((x / 4) ** 4)) * processes
    return np.float32(0.24) * added


def vessels(shape: Shape, margin: int, rng: np.random.Generator, upper: float) -> Grid:
    """Compute the attenuation (H, W) that the pulmonary vessels add: trees that branch from both hila.

    Args:
        shape: The thorax in its pose.
        margin: Additional pixels on each side.
        rng: Random generator of the patient, so that two studies show the same trees.
        upper: Relative widening of the upper-lobe vessels: 0 for a normal calibre, 1 for twice that.
    """
    layer = Layer(shape, margin, 0.25)
    for side in (-1, 1):
        points, widths = _tree(shape, rng, side)
        more = widths * (1 + upper * np.clip(1.1 - points[:, :, 1].mean(axis=1) / (0.5 * shape.h), 0, 1))
        layer.bands(points, more, 0.017 * more)
    return layer.array(0.45)


def airways(shape: Shape, margin: int, rng: np.random.Generator) -> Grid:
    """Draw air bronchograms (H, W), visible within opacities: the trees of `vessels`, thin and of value 1."""
    layer = Layer(shape, margin, 1.0)
    for side in (-1, 1):
        points, widths = _tree(shape, rng, side)
        wide = widths > 1.2
        layer.bands(points[wide] + (3, 2), 0.55 * widths[wide] + 0.6, np.ones(wide.sum()))
    return layer.array(0.5)


def septal_lines(shape: Shape, margin: int, rng: np.random.Generator, amount: float) -> Grid:
    """Draw Kerley B lines (H, W): short horizontal lines at the lower outer border of the lungs."""
    layer = Layer(shape, margin, 0.25)
    for side in (-1, 1):
        level = rng.uniform(0.62, 1.02, size=rng.poisson(16 * amount)) * shape.h
        outer = shape.lateral(level) - rng.uniform(1, 5, len(level))
        inner = outer - rng.uniform(10, 20, len(level))
        ends = np.stack([side * outer, level, side * inner, level + rng.normal(0, 1.5, len(level))], axis=1)
        many = np.ones(len(level))
        layer.bands(ends.reshape(-1, 2, 2), 1.5 * many, (0.05 + 0.07 * amount) * many)
    return layer.array(0.4)


def _tree(shape: Shape, rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Branches (N, 3, 2) from the hilum outwards and their widths (N,), in mm, thin ones first."""
    _, v0 = shape.hilum(side)
    heading = np.deg2rad(np.array([-78, -48, -15, 12, 38, 62, 84]) + rng.normal(0, 7, 7))
    start = np.stack(
        [np.full(7, side * (MEDIASTINUM + 6.0)) + shape.pose.turn, v0 + np.linspace(-14, 16, 7)], 1
    )
    width, length = 7.0 * rng.uniform(0.75, 1.2, 7), np.full(7, 0.165 * shape.h)
    branches, widths = [], []
    for _ in range(6):
        turned = heading + rng.normal(0, 0.22, len(heading))
        middle = start + length[:, None] / 2 * np.stack([side * np.cos(heading), np.sin(heading)], 1)
        end = middle + length[:, None] / 2 * np.stack([side * np.cos(turned), np.sin(turned)], 1)
        branches.append(np.stack([start, middle, end], axis=1))
        widths.append(width)
        spread = rng.uniform(0.22, 0.62, len(heading))
        heading = np.concatenate([turned + spread, turned - spread])
        start = np.concatenate([end, end])
        width = np.tile(width, 2) * rng.uniform(0.58, 0.8, 2 * len(width))
        length = np.tile(length, 2) * rng.uniform(0.65, 0.95, 2 * len(length))
    return np.concatenate(branches[::-1]), np.concatenate(widths[::-1])
