"""A parametric thorax: the shape of one patient, and the thickness of tissue and air along X-rays.

Lengths are in millimetres in the patient's frame: u from the midline to the patient's left (to the right on
the image), v downwards from the apices of the lungs. The X-rays are parallel, so that the attenuation along a
ray is a sum of thicknesses along the third axis, each times a linear attenuation coefficient at about 70 keV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float32]

MU_SOFT = 0.0200
MU_LUNG = 0.0062
"""Linear attenuation coefficients of soft tissue and of aerated lung, in 1/mm."""

APEX = 47.0
MEDIASTINUM = 27.0
"""Distance of the apices from the midline, and half the width of the mediastinum, in mm."""


@dataclass(frozen=True)
class Thorax:
    """Shape of one patient, in mm. The heart's width follows from the cardiothoracic ratio of a study."""

    female: bool
    half_width: float  # of the thoracic cavity at its widest
    height: float  # apex to the right dome
    depth: float  # half the depth of the lungs
    wall: float  # tissue between lung and skin
    breast: float  # 0 none … 1 large
    spine_curve: float
    knob: float  # how far the aortic knob stands out
    heart_height: float  # height over width of the heart's ellipse
    arms: float  # how far the arms are turned out
    ribs: float  # how well the ribs are calcified
    texture: int  # seed of vessels and parenchyma

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Thorax:
        female = bool(rng.random() < 0.48)
        habitus = float(np.clip(rng.normal(0.5, 0.22), 0.0, 1.0))
        return cls(
            female=female,
            half_width=float(np.clip(rng.normal(131 if female else 143, 8), 112, 162)),
            height=float(np.clip(rng.normal(236 if female else 254, 14), 200, 285)),
            depth=float(rng.normal(78, 6)),
            wall=14 + 26 * habitus + float(rng.normal(0, 2)),
            breast=float(np.clip(rng.normal(0.55, 0.25), 0, 1)) if female else max(0.0, habitus - 0.75),
            spine_curve=float(rng.normal(0, 4)),
            knob=float(np.clip(rng.normal(11, 3.5), 3, 20)),
            heart_height=float(rng.uniform(0.80, 0.98)),
            arms=float(rng.uniform(0, 1)),
            ribs=float(rng.uniform(0.7, 1.25)),
            texture=int(rng.integers(2**31)),
        )


@dataclass(frozen=True)
class Pose:
    """Pose of the patient in one exposure: depth of the breath, and position before the detector.

    The pixel (x, y) of the detector shows u = (x − origin_x)/scale, v = (y − origin_y)/scale before the tilt,
    which rotates the image about its centre.
    """

    width: int
    height: int
    scale: float  # px per mm
    origin_x: float
    origin_y: float
    tilt: float  # radians
    turn: float  # mm by which a turned patient's heart and mediastinum shift
    breath: float  # 1 is full inspiration
    supine: bool  # antero-posterior view: the heart is magnified

    @classmethod
    def draw(cls, rng: np.random.Generator, thorax: Thorax, pixels: int) -> Pose:
        portrait = bool(rng.random() < 0.55)
        long, short = pixels, round(pixels * float(rng.choice([0.8325, 0.8197, 0.86])))
        width, height = (short, long) if portrait else (long, short)
        breath = float(np.clip(rng.normal(0.96, 0.055), 0.80, 1.06))
        lungs = thorax.height * breath + 44 * breath + 15  # down to the costophrenic angles
        broad = (2 * (thorax.half_width + thorax.wall) + 24) * (1.0 if portrait else 1.17)
        field = max(broad, 345.0 if portrait else 405.0, (lungs + 35) * width / height)
        scale = width / (field * float(rng.uniform(0.98, 1.06)))
        spare = height / scale - lungs
        above = float(np.clip(spare * rng.uniform(0.4, 0.7), 15, 95))
        return cls(
            width=width,
            height=height,
            scale=scale,
            origin_x=width / 2 + float(rng.normal(0, 6)) * scale,
            origin_y=above * scale,
            tilt=float(np.deg2rad(rng.normal(0, 1.3))),
            turn=float(rng.normal(0, 4)),
            breath=breath,
            supine=bool(rng.random() < 0.4),
        )

    def to_pixels(self, u: npt.ArrayLike, v: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Convert points in the patient's frame to detector pixels (x, y), including the tilt."""
        x = np.asarray(u) * self.scale + self.origin_x - self.width / 2
        y = np.asarray(v) * self.scale + self.origin_y - self.height / 2
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return c * x - s * y + self.width / 2, s * x + c * y + self.height / 2


class Shape:
    """A thorax in a pose: its contours as functions of u and v, and the thickness of its air and tissue."""

    def __init__(self, thorax: Thorax, pose: Pose, ratio: float) -> None:
        self.thorax, self.pose, self.ratio = thorax, pose, ratio
        self.w = thorax.half_width * (0.985 + 0.015 * pose.breath)
        self.h = thorax.height * pose.breath
        self.heart_left, self.heart_right = self._heart_reach()

    # contours

    def lateral(self, v: npt.ArrayLike) -> np.ndarray:
        """Return the distance of the lung's outer border from the midline at height v."""
        t = np.clip(np.asarray(v, np.float32) / (0.80 * self.h), 0, 1)
        below = np.clip(np.asarray(v, np.float32) / self.h - 0.85, 0, None)
        distance: np.ndarray = APEX + (self.w - APEX) * (1 - (1 - t) ** 2.5) ** 0.58 - 6 * below
        return distance

    def medial(self, v: npt.ArrayLike, side: int) -> np.ndarray:
        """Return the distance of the lung's inner border from the midline at height v; side is −1 for the
        right lung, +1 for the left."""
        v = np.asarray(v, np.float32)
        a = 1 - np.clip(v / 42, 0, 1)
        border = APEX - (APEX - MEDIASTINUM) * np.sqrt(np.clip(1 - a * a, 0, 1))
        t = v / self.h
        if side > 0:
            border = border + self.thorax.knob * _bump(t, 0.24, 0.075) + 5 * _bump(t, 0.40, 0.08)
        else:
            border = border + 4 * _bump(t, 0.25, 0.2) + 4 * _bump(t, 0.75, 0.2)
        turned: np.ndarray = border + side * self.pose.turn
        return turned

    def dome(self, u: npt.ArrayLike, side: int) -> np.ndarray:
        """Return the height v of the diaphragm at u; it descends outwards to the costophrenic angle, and
        inwards to the heart."""
        out = np.asarray(u, np.float32) * side
        top = 0.48 * self.w
        s = (out - top) / (self.w - top)
        level = self.h if side < 0 else self.h + 11
        height: np.ndarray = level + np.where(s > 0, self.angle * np.abs(s) ** 2.3, 15 * np.abs(s) ** 2)
        return height

    @property
    def angle(self) -> float:
        """Depth of the costophrenic angles below the domes, in mm."""
        return 44.0 * self.pose.breath

    def _heart_reach(self) -> tuple[float, float]:
        """Extent of the heart from the midline to the left and to the right, in mm."""
        width = self.ratio * 2 * self.w
        left = width * 0.66 + self.pose.turn
        return left, width - left

    @property
    def heart_box(self) -> tuple[float, float, float, float]:
        """Box (u1, v1, u2, v2) of the heart."""
        width = self.heart_left + self.heart_right
        tall = min(width * self.thorax.heart_height, 0.66 * self.h)
        bottom = self.h + 16
        return -self.heart_right, bottom - tall, self.heart_left, bottom

    def hilum(self, side: int) -> tuple[float, float]:
        return side * (MEDIASTINUM + 15) + self.pose.turn, (0.44 if side < 0 else 0.405) * self.h

    # thickness

    def grids(self, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return u (1, W) and v (H, 1) of the pixel centres, with `margin` more pixels on each side."""
        x = np.arange(-margin, self.pose.width + margin, dtype=np.float32) + 0.5
        y = np.arange(-margin, self.pose.height + margin, dtype=np.float32) + 0.5
        return (
            ((x - self.pose.origin_x) / self.pose.scale)[None],
            ((y - self.pose.origin_y) / self.pose.scale)[:, None],
        )

    def lungs(self, u: np.ndarray, v: np.ndarray) -> Grid:
        """Compute the thickness of both lungs (H, W), in mm, without subtracting the heart."""
        air = np.zeros((v.shape[0], u.shape[1]), np.float32)
        depth = self.thorax.depth * 2 * np.clip(0.42 + 0.9 * v / self.h, 0.3, 1.0)
        for side in (-1, 1):
            cols = np.flatnonzero(u[0] * side > 0)
            rows = np.flatnonzero((v[:, 0] > 0) & (v[:, 0] < self.h + self.angle + 15))
            if not cols.size or not rows.size:
                continue
            cut = np.s_[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
            uu, vv = u[:, cut[1]] * side, v[cut[0]]
            inner, outer = self.medial(vv, side), self.lateral(vv)
            s = np.clip((uu - inner) / np.maximum(outer - inner, 1e-3), 0, 1)
            profile = np.sqrt(np.clip(1 - (1 - s) ** 12, 0, 1)) * np.clip(1 - s**3.4, 0, 1) ** 0.55
            above = np.clip((self.dome(uu * side, side) - vv) / 1.8 + 0.5, 0, 1)
            behind = 0.16 * np.exp(-np.clip(vv - self.dome(uu * side, side), 0, None) / 16)
            air[cut] = depth[cut[0]] * profile * np.maximum(above, behind)
        return air

    def heart(self, u: np.ndarray, v: np.ndarray) -> Grid:
        """Compute the thickness of the heart (H, W), in mm; the left border is convex down to the apex, the
        right one rounder."""
        u1, v1, u2, v2 = self.heart_box
        t = np.clip((v - v1) / (v2 - v1), 0, 1)
        left = u2 * np.where(t < 0.76, 0.30 + 0.70 * np.sin(t / 0.76 * np.pi / 2) ** 1.25, _round(t, 0.76))
        right = -u1 * np.where(t < 0.60, 0.45 + 0.55 * np.sin(t / 0.60 * np.pi / 2) ** 0.9, _round(t, 0.60))
        x = np.abs((u - (left - right) / 2) / ((left + right) / 2))
        deep = 118 * np.sqrt(np.clip(1 - x**2.4, 0, 1)) * np.clip(t / 0.22, 0, 1) ** 0.7
        return (deep * (v < v2)).astype(np.float32)

    def body(self, u: np.ndarray, v: np.ndarray) -> Grid:
        """Compute the thickness of the whole body (H, W), in mm: trunk, shoulders, neck, arms, breasts."""
        thorax = self.thorax
        skin = self.lateral(np.clip(v, 20, None)) + thorax.wall + 3
        skin = skin + (self.w + thorax.wall - skin) * np.clip(v / (0.9 * self.h), 0, 1) * 0.3
        shoulder = self.w + 55 + 25 * thorax.arms
        slope = np.clip((v + 82) / 84, 0, 1)
        outer = 54 + (shoulder - 54) * (0.25 * slope + 0.75 * slope**2.2)
        axilla = 1 / (1 + np.exp((v - 70) / 13))
        outer = np.where(v < 2, outer, skin + (shoulder - skin) * axilla)
        squareness = 2.3 + 2.7 * np.clip((v + 20) / 150, 0, 1)
        deepest = thorax.depth + 24 + 0.75 * thorax.wall
        half = deepest * np.clip(0.60 + 0.5 * v / self.h, 0.50, 1.05)
        x = np.minimum(np.abs(u) / outer, 1.0)
        body = 2 * half * np.clip(1 - x**squareness, 0, 1) ** 0.43
        arm_u, arm_v = self.w + 45, 28.0
        for side in (-1, 1):
            lean = (0.22 + 0.5 * thorax.arms) * side
            distance = (u - side * arm_u - lean * (v - arm_v)) / np.hypot(1, lean)
            arm = 1.9 * np.sqrt(np.clip(39.0**2 - distance**2, 0, None)) * np.clip((v - arm_v) / 40 + 1, 0, 1)
            body = np.maximum(body, arm)
            if thorax.breast > 0.05:
                size = 48 + 26 * thorax.breast
                centre = (0.84 + 0.10 * thorax.breast) * self.h
                a = (u - side * 0.60 * self.w) / size
                b = (v - centre) / (0.75 * size)
                hangs = np.clip((v - centre) / (1.5 * size) + 1, 0, 1)  # thin above, a sharp fold below
                breast = np.clip(1 - a * a - np.where(b < 0, 0.4 * b, b) ** 2, 0, 1) ** 0.45
                body = body + (12 + 42 * thorax.breast) * breast * hangs**1.5 * (body > 20)
        thickness: Grid = body.astype(np.float32)
        return thickness

    def boxes(self) -> dict[str, tuple[float, float, float, float]]:
        """Return boxes (u1, v1, u2, v2) of the 17 structures named in bounding_boxes.csv, by name."""
        h, w, low = self.h, self.w, self.h + self.angle
        boxes: dict[str, tuple[float, float, float, float]] = {
            "cardiac silhouette": self.heart_box,
            "upper mediastinum": (-42.0, -5.0, MEDIASTINUM + self.thorax.knob + 6, 0.42 * h),
            "trachea": (-12.0, -45.0, 12.0, 0.33 * h),
        }
        for side, name in ((-1, "right"), (1, "left")):

            def across(
                inner: float, outer: float, top: float, bottom: float, side: int = side
            ) -> tuple[float, float, float, float]:
                left, right = sorted((side * inner, side * outer))
                return left, top, right, bottom

            inner = MEDIASTINUM - 4
            boxes |= {
                f"{name} lung": across(inner, w, 0, low),
                f"{name} upper lung zone": across(inner, 0.93 * w, 0.08 * h, 0.38 * h),
                f"{name} mid lung zone": across(inner, w, 0.38 * h, 0.66 * h),
                f"{name} lower lung zone": across(inner, w, 0.66 * h, low),
                f"{name} hilar structures": across(inner, inner + 48, 0.3 * h, 0.56 * h),
                f"{name} costophrenic angle": across(w - 26, w + 4, low - 26, low + 8),
                f"{name} clavicle": across(12, w + 18, -16, 22),
            }
        return boxes


def _bump(t: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-(((t - centre) / width) ** 2))


def _round(t: np.ndarray, widest: float) -> np.ndarray:
    """Relative extent of a border that turns inwards below its widest place."""
    return 1 - 0.38 * np.clip((t - widest) / (1 - widest), 0, 1) ** 2
