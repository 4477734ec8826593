"""A parametric thorax: the shape of one patient, and the X-ray path through it.

Lengths are millimetres in the patient's frame: u to the patient's left from the midline (to the right on
the image), v downwards from the apices of the lungs. The X-rays run in parallel, so a path is a sum of
thicknesses along the third axis, each times a linear attenuation coefficient at about 70 keV.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float32]

MU_SOFT = 0.0200
MU_LUNG = 0.0062
"""Linear attenuation of soft tissue and of aerated lung, 1/mm."""

APEX = 47.0
MEDIASTINUM = 27.0
"""Distance of the apices from the midline, and half the width of the mediastinum, mm."""


@dataclass(frozen=True)
class Thorax:
    """One patient's shape, mm. The heart's width is set from the cardiothoracic ratio of the study."""

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
            height=float(np.clip(rng.normal(222 if female else 238, 14), 190, 270)),
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
    """One exposure of the patient: how deep the breath, how the patient stands before the detector.

    The detector's pixel (x, y) sees u = (x − origin_x)/scale, v = (y − origin_y)/scale before the tilt, which
    turns the picture about its middle.
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
        need = 2 * (thorax.half_width + thorax.wall) + 24
        field = max(need * (1.0 if portrait else 1.17), 345.0 if portrait else 405.0) * rng.uniform(
            0.96, 1.06
        )
        scale = width / field
        breath = float(np.clip(rng.normal(0.96, 0.055), 0.80, 1.06))
        tall = height / scale
        above = float(np.clip((tall - thorax.height * breath - 55) * rng.uniform(0.35, 0.6), 18, 90))
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
        """Detector pixels (x, y) of points in the patient's frame, the tilt included."""
        x = np.asarray(u) * self.scale + self.origin_x - self.width / 2
        y = np.asarray(v) * self.scale + self.origin_y - self.height / 2
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        return c * x - s * y + self.width / 2, s * x + c * y + self.height / 2


class Shape:
    """A thorax in a pose: its contours as functions of u and v, the thickness of its air and tissue."""

    def __init__(self, thorax: Thorax, pose: Pose, ratio: float) -> None:
        self.thorax, self.pose, self.ratio = thorax, pose, ratio
        self.w = thorax.half_width * (0.985 + 0.015 * pose.breath)
        self.h = thorax.height * pose.breath
        self.heart_left, self.heart_right = self._heart_reach()

    # contours

    def lateral(self, v: npt.ArrayLike) -> np.ndarray:
        """Distance of the lung's outer border from the midline at height v."""
        t = np.clip(np.asarray(v, np.float32) / (0.80 * self.h), 0, 1)
        below = np.clip(np.asarray(v, np.float32) / self.h - 0.85, 0, None)
        return APEX + (self.w - APEX) * (1 - (1 - t) ** 2.5) ** 0.58 - 6 * below

    def medial(self, v: npt.ArrayLike, side: int) -> np.ndarray:
        """Distance of the lung's inner border from the midline at height v; side −1 right, +1 left."""
        v = np.asarray(v, np.float32)
        a = 1 - np.clip(v / 42, 0, 1)
        border = APEX - (APEX - MEDIASTINUM) * np.sqrt(np.clip(1 - a * a, 0, 1))
        t = v / self.h
        if side > 0:
            border = border + self.thorax.knob * _bump(t, 0.24, 0.075) + 5 * _bump(t, 0.40, 0.08)
        else:
            border = border + 4 * _bump(t, 0.25, 0.2) + 4 * _bump(t, 0.75, 0.2)
        return border + side * self.pose.turn

    def dome(self, u: npt.ArrayLike, side: int) -> np.ndarray:
        """Height v of the diaphragm at u, falling to the costophrenic angle outside, to the heart inside."""
        out = np.asarray(u, np.float32) * side
        top = 0.48 * self.w
        s = (out - top) / (self.w - top)
        level = self.h if side < 0 else self.h + 11
        return level + np.where(s > 0, self.angle * np.abs(s) ** 2.3, 15 * np.abs(s) ** 2)

    @property
    def angle(self) -> float:
        """How far the costophrenic angles lie below the domes, mm."""
        return 44.0 * self.pose.breath

    def _heart_reach(self) -> tuple[float, float]:
        """How far the heart reaches from the midline to the left and to the right, mm."""
        width = self.ratio * 2 * self.w
        left = width * 0.66 + self.pose.turn
        return left, width - left

    @property
    def heart_box(self) -> tuple[float, float, float, float]:
        """(u1, v1, u2, v2) of the heart."""
        width = self.heart_left + self.heart_right
        tall = min(width * self.thorax.heart_height, 0.62 * self.h)
        bottom = self.h + 16
        return -self.heart_right, bottom - tall, self.heart_left, bottom

    def hilum(self, side: int) -> tuple[float, float]:
        return side * (MEDIASTINUM + 15) + self.pose.turn, (0.44 if side < 0 else 0.405) * self.h

    # thickness

    def grids(self, margin: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """u (1, W) and v (H, 1) of the pixel centres, `margin` more pixels on every side."""
        x = np.arange(-margin, self.pose.width + margin, dtype=np.float32) + 0.5
        y = np.arange(-margin, self.pose.height + margin, dtype=np.float32) + 0.5
        return (
            ((x - self.pose.origin_x) / self.pose.scale)[None],
            ((y - self.pose.origin_y) / self.pose.scale)[:, None],
        )

    def lungs(self, u: np.ndarray, v: np.ndarray) -> Grid:
        """Thickness of both lungs (H, W), mm, the heart not yet taken out."""
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
            profile = np.sqrt(np.clip(1 - (1 - s) ** 12, 0, 1)) * np.sqrt(np.clip(1 - s**2.2, 0, 1))
            above = np.clip((self.dome(uu * side, side) - vv) / 1.8 + 0.5, 0, 1)
            behind = 0.16 * np.exp(-np.clip(vv - self.dome(uu * side, side), 0, None) / 16)
            air[cut] = depth[cut[0]] * profile * np.maximum(above, behind)
        return air

    def heart(self, u: np.ndarray, v: np.ndarray) -> Grid:
        """Thickness of the heart (H, W), mm: an ellipse, its apex drawn out to the lower left."""
        u1, v1, u2, v2 = self.heart_box
        middle, tall = (u1 + u2) / 2, v2 - v1
        low = np.clip((v - v1) / tall, 0, 1)
        # The widest place sinks towards the apex on the left and stays higher on the right.
        y = (v - (v1 + tall * 0.56)) / (tall * 0.5)
        lean = 14 * (low - 0.55)
        x = (u - middle - lean) / ((u2 - u1) / 2 - 2.5)
        q = np.abs(x) ** 2.1 + np.abs(y) ** 2.2
        return (112.0 * np.sqrt(np.clip(1 - q, 0, 1))).astype(np.float32)

    def body(self, u: np.ndarray, v: np.ndarray) -> Grid:
        """Thickness of the whole body (H, W), mm: trunk, shoulders, neck, arms, breasts."""
        thorax = self.thorax
        skin = self.lateral(np.clip(v, 20, None)) + thorax.wall + 3
        skin = skin + (self.w + thorax.wall - skin) * np.clip(v / (0.9 * self.h), 0, 1) * 0.3
        shoulder = self.w + 62 + 25 * thorax.arms
        blend = 1 / (1 + np.exp((v - 62) / 15))
        outer = skin + (shoulder - skin) * blend
        deepest = thorax.depth + 22 + 0.75 * thorax.wall
        half = deepest * np.clip(0.62 + 0.5 * v / self.h, 0.55, 1.05)
        top = -75 + np.clip((np.abs(u) - 50) / (shoulder - 50), 0, 1) ** 0.85 * 72
        ramp = np.clip((v - top) / 95, 0, 1)
        ramp = np.where(
            np.abs(u) < 50, np.maximum(ramp, 0.55 * np.sqrt(np.clip(1 - (u / 52) ** 2, 0, 1))), ramp
        )
        body = 2 * half * np.sqrt(np.clip(1 - (np.abs(u) / outer) ** 3.0, 0, 1)) * np.sqrt(ramp)
        arm_u, arm_v = self.w + 45, 28.0
        for side in (-1, 1):
            slope = (0.22 + 0.5 * thorax.arms) * side
            distance = (u - side * arm_u - slope * (v - arm_v)) / np.hypot(1, slope)
            arm = 1.7 * np.sqrt(np.clip(38.0**2 - distance**2, 0, None)) * np.clip((v - arm_v) / 40 + 1, 0, 1)
            body = np.maximum(body, arm)
            if thorax.breast > 0.05:
                size = 52 + 42 * thorax.breast
                x = (u - side * (0.58 * self.w)) / size
                y = (v - (0.86 + 0.08 * thorax.breast) * self.h) / (0.72 * size)
                y = np.where(y < 0, y * 0.55, y)
                body = body + 46 * thorax.breast * np.sqrt(np.clip(1 - x * x - y * y, 0, 1)) * (body > 20)
        return body.astype(np.float32)

    def boxes(self) -> dict[str, tuple[float, float, float, float]]:
        """(u1, v1, u2, v2) of the 17 structures named in bounding_boxes.csv."""
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
