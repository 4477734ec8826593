"""Simulated gaze of a radiologist: a search over lungs and heart that dwells on abnormal regions.

Durations are log-normal with a median of about a quarter of a second, samples are taken at 60 Hz, and the
tracker adds noise. There is no fixation on the burnt-in marker, which an ideal reader ignores; `readers` has
less ideal ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radgaze.simulation.anatomy import Shape

RATE = 60.0
SCREEN = (1920, 1080)
PIXELS_PER_DEGREE = 38.0
"""Samples per second, size of the screen in pixels, and screen pixels per degree of visual angle."""

Region = tuple[str, float, float, float, float]


@dataclass(frozen=True)
class Pads:
    """Black borders of the picture on the screen, and the image's size rounded up to even, in pixels."""

    top: int
    bottom: int
    left: int
    right: int
    width: int
    height: int

    @classmethod
    def of(cls, width: int, height: int) -> Pads:
        even = width + width % 2, height + height % 2
        shown = min(SCREEN[0] / even[0], SCREEN[1] / even[1])
        left = round((SCREEN[0] - even[0] * shown) / 2)
        top = round((SCREEN[1] - even[1] * shown) / 2)
        return cls(top, top, left, left, *even)

    def to_screen(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert image pixels to fractions of the screen (FPOGX, FPOGY)."""
        sx = self.left + x * (SCREEN[0] - self.left - self.right) / self.width
        sy = self.top + y * (SCREEN[1] - self.top - self.bottom) / self.height
        return sx / SCREEN[0], sy / SCREEN[1]

    def to_image(self, fx: np.ndarray, fy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute X_ORIGINAL and Y_ORIGINAL as the data set's authors did, as integers truncated towards 0.

        Outside the picture −1 is scaled like a coordinate, which is about −2 on real images. On a phantom
        smaller than the screen it would be truncated to 0, which is on the image, so it is at most −1 here.
        """
        sx, sy = fx * SCREEN[0], fy * SCREEN[1]
        per_x = self.width / (SCREEN[0] - self.left - self.right)
        per_y = self.height / (SCREEN[1] - self.top - self.bottom)
        inside = (sx > self.left) & (sx < SCREEN[0] - self.right)
        inside &= (sy > self.top) & (sy < SCREEN[1] - self.bottom)
        x = np.where(inside, ((sx - self.left) * per_x).astype(int), min(-1, int(-per_x)))
        y = np.where(inside, ((sy - self.top) * per_y).astype(int), min(-1, int(-per_y)))
        return x, y


@dataclass(frozen=True)
class Scan:
    """One reading: K fixations at x, y (fractions of the screen), their durations and the durations of the
    saccades before them, in seconds."""

    x: np.ndarray
    y: np.ndarray
    duration: np.ndarray
    saccade: np.ndarray


def read(
    shape: Shape,
    abnormal: Sequence[Region],
    marker: tuple[float, float, float, float] | None,
    rng: np.random.Generator,
) -> Scan:
    """Simulate the fixations of one radiologist on one image.

    Args:
        shape: The thorax in its pose.
        abnormal: Abnormal regions as (name, u1, v1, u2, v2), in mm.
        marker: Box (x1, y1, x2, y2) of the marker in pixels, on which there is no fixation; None for none to
            avoid.
        rng: Random generator of the reading.
    """
    boxes, dwell = _itinerary(shape, abnormal, rng)
    low, high = boxes[:, :2], boxes[:, 2:]
    spot = (low + high) / 2 + (high - low) * np.clip(rng.normal(0, 0.23, low.shape), -0.6, 0.6)
    x, y = shape.pose.to_pixels(spot[:, 0], spot[:, 1])
    pose = shape.pose
    pads = Pads.of(pose.width, pose.height)
    noise = 0.6 * PIXELS_PER_DEGREE * pads.width / (SCREEN[0] - pads.left - pads.right)
    drift = rng.normal(0, 0.35 * noise, 2)
    x = x + drift[0] + rng.normal(0, 0.6 * noise, len(x))
    y = y + drift[1] + rng.normal(0, 0.6 * noise, len(y))
    keep = np.ones(len(x), bool) if marker is None else ~_near(x, y, marker, 2.5 * noise)
    keep[:2] |= not keep.any()
    fx, fy = pads.to_screen(np.clip(x, 2, pose.width - 3), np.clip(y, 2, pose.height - 3))
    away = rng.random(len(x)) < rng.choice([0.0, 0.02, 0.06], p=[0.3, 0.5, 0.2])
    away[: len(away) // 3] = False  # fixations off the image are not at the beginning
    fx, fy = np.where(away, *_aside(rng, pads, fx)), np.where(away, rng.uniform(0.02, 1.03, len(fy)), fy)
    duration = np.clip(rng.lognormal(np.log(0.245), 0.50, len(x)) * dwell, 0.07, 2.2)
    saccade = rng.uniform(0.018, 0.07, len(x))
    return Scan(fx[keep], fy[keep], duration[keep], saccade[keep])


def _itinerary(
    shape: Shape, abnormal: Sequence[Region], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Places of the gaze in order: boxes (K, 4) in mm, and relative durations of the fixations (K,)."""
    named = shape.boxes()
    search = [
        named[name]
        for name, visits in (
            ("upper mediastinum", 2),
            ("right upper lung zone", 4),
            ("right mid lung zone", 4),
            ("right lower lung zone", 4),
            ("right hilar structures", 2),
            ("right costophrenic angle", 1),
            ("cardiac silhouette", 5),
            ("left upper lung zone", 4),
            ("left mid lung zone", 4),
            ("left lower lung zone", 4),
            ("left hilar structures", 2),
            ("left costophrenic angle", 1),
        )
        for _ in range(rng.poisson(visits * (1.0 if not abnormal else 0.72)))
    ]
    first = bool(rng.random() < 0.5)  # some begin on the other side, and the order is not strict
    order = np.argsort(np.arange(len(search)) * (1 if first else -1) + rng.normal(0, 5, len(search)))
    path = [(search[i], 1.0) for i in order]
    if not path:
        path = [(named["cardiac silhouette"], 1.0)]
    weight = {"opacity": 1.0, "heart": 0.9, "haze": 0.8, "effusion": 0.8}
    for name, u1, v1, u2, v2 in abnormal:
        visits = 1 + rng.poisson(weight[name] * 17 / np.sqrt(max(1, len(abnormal))))
        place = int(rng.integers(0, len(path) + 1))
        burst = max(1, visits // 2)  # several fixations when a region is found, and the others later
        path[place:place] = [((u1, v1, u2, v2), float(rng.uniform(1.2, 1.8)))] * burst
        for _ in range(visits - burst):
            path.insert(
                int(rng.integers(place, len(path) + 1)), ((u1, v1, u2, v2), float(rng.uniform(1.0, 1.5)))
            )
    return np.array([box for box, _ in path]), np.array([dwell for _, dwell in path])


def _near(x: np.ndarray, y: np.ndarray, box: tuple[float, float, float, float], margin: float) -> np.ndarray:
    x1, y1, x2, y2 = box
    return (x > x1 - margin) & (x < x2 + margin) & (y > y1 - margin) & (y < y2 + margin)


def _aside(rng: np.random.Generator, pads: Pads, fx: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions beside the picture, and the unchanged positions, as fractions of the screen's width."""
    share = max(pads.left, 40) / SCREEN[0]
    right = rng.random(len(fx)) < 0.5
    glance = np.where(
        right, 1 + 0.03 - rng.uniform(0, 0.9, len(fx)) * share, -0.03 + rng.uniform(0, 0.9, len(fx)) * share
    )
    return glance, fx
