"""Findings of a disease, of random severity, and the attenuation that they add."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from radgaze.simulation.anatomy import MU_LUNG, MU_SOFT, Grid, Pose, Shape, Thorax
from radgaze.simulation.strokes import airways, septal_lines

COARSE = 4
"""Spacing in pixels at which clouds are computed, since they have no finer detail."""


@dataclass(frozen=True)
class Opacity:
    """A focal consolidation: an ellipse (in mm) with a ragged edge; `contrast` is its added attenuation."""

    u: float
    v: float
    radius_u: float
    radius_v: float
    angle: float
    contrast: float
    side: int


@dataclass(frozen=True)
class Findings:
    """Findings of a study.

    Attributes:
        severity: Severity of the disease, 0 to 1; 0 only for Normal.
        ratio: Cardiothoracic ratio.
        upper: Relative widening of the upper-lobe vessels.
        haze: Attenuation added at the right and the left hilum.
        septal: Strength of septal lines.
        effusion: Height of the fluid on the right and on the left, in mm.
        opacities: Focal consolidations.
    """

    severity: float
    ratio: float
    upper: float = 0.0
    haze: tuple[float, float] = (0.0, 0.0)
    septal: float = 0.0
    effusion: tuple[float, float] = (0.0, 0.0)
    opacities: tuple[Opacity, ...] = field(default=())

    @classmethod
    def draw(cls, rng: np.random.Generator, diagnosis: str, thorax: Thorax, pose: Pose) -> Findings:
        magnified = 0.015 if pose.supine else 0.0
        if diagnosis == "CHF":
            return _failure(rng, magnified)
        if diagnosis == "pneumonia":
            ratio = float(np.clip(rng.normal(0.455 + magnified, 0.034), 0.37, 0.56))
            opacities = _opacities(rng, Shape(thorax, pose, ratio))
            return cls(
                severity=max(opacity.contrast for opacity in opacities), ratio=ratio, opacities=opacities
            )
        return cls(severity=0.0, ratio=float(np.clip(rng.normal(0.449 + magnified, 0.031), 0.36, 0.54)))


def _failure(rng: np.random.Generator, magnified: float) -> Findings:
    severity = float(rng.beta(1.4, 1.7))
    ratio = 0.503 + 0.085 * severity * rng.uniform(0.5, 1.4) + magnified
    haze = 0.58 * severity * rng.uniform(0.35, 1.2)
    lean = rng.uniform(0.75, 1.25)
    fluid = [
        float(rng.uniform(6, 14 + 48 * severity)) if rng.random() < 0.15 + 0.5 * severity else 0.0
        for _ in (0, 1)
    ]
    return Findings(
        severity=severity,
        ratio=float(np.clip(ratio, 0.503, 0.68)),
        upper=float(1.1 * severity * rng.uniform(0.4, 1.2)),
        haze=(float(haze * lean), float(haze * (2 - lean))),
        septal=float(severity * rng.uniform(0, 1.3)),
        effusion=(fluid[0], fluid[1]),
    )


def _opacities(rng: np.random.Generator, shape: Shape) -> tuple[Opacity, ...]:
    width = shape.pose.width / shape.pose.scale
    opacities = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.50, 0.32, 0.18]))):
        side = int(rng.choice([-1, 1]))
        diameter = rng.uniform(0.08, 0.155) * width
        stretch = rng.uniform(0.75, 1.3)
        radius_u, radius_v = diameter / 2 * stretch, diameter / 2 / stretch
        v = rng.uniform(0.16, 0.98) * shape.h
        inner, outer = float(shape.medial(v, side)), float(shape.lateral(v))
        out = inner + rng.uniform(0.18, 0.80) * (outer - inner)
        v = min(v, float(shape.dome(side * out, side)) - 0.45 * radius_v)
        contrast = float(np.clip(rng.lognormal(np.log(0.62), 0.55), 0.14, 1.5))
        opacities.append(
            Opacity(side * out, v, radius_u, radius_v, float(rng.uniform(0, np.pi)), contrast, side)
        )
    return tuple(opacities)


def regions(findings: Findings, shape: Shape) -> list[tuple[str, float, float, float, float]]:
    """Return the abnormal regions, on which gaze dwells, as (name, u1, v1, u2, v2) in mm."""
    boxes = [("opacity", *_box(o.u, o.v, *_reach(o))) for o in findings.opacities]
    if findings.ratio > 0.5 and findings.severity > 0 and not findings.opacities:
        boxes.append(("heart", *shape.heart_box))
        for side, haze, fluid in zip((-1, 1), findings.haze, findings.effusion, strict=True):
            if haze > 0.1:
                u, v = shape.hilum(side)
                boxes.append(("haze", *_box(u + side * 18, v, 34, 46)))
            if fluid > 0:
                low = shape.h + shape.angle
                inner, outer = sorted((side * 0.55 * shape.w, side * (shape.w + 4)))
                boxes.append(("effusion", inner, low - fluid - 14, outer, low))
    return boxes


def _reach(o: Opacity) -> tuple[float, float]:
    """Half the width and height of the ellipse's bounding box, in mm."""
    c, s = np.cos(o.angle), np.sin(o.angle)
    return float(np.hypot(o.radius_u * c, o.radius_v * s)), float(np.hypot(o.radius_u * s, o.radius_v * c))


def _box(u: float, v: float, half_u: float, half_v: float) -> tuple[float, float, float, float]:
    return u - half_u, v - half_v, u + half_u, v + half_v


def added_path(
    findings: Findings,
    shape: Shape,
    margin: int,
    u: np.ndarray,
    v: np.ndarray,
    air: Grid,
    rng: np.random.Generator,
) -> Grid | None:
    """Compute the attenuation (H, W) that the disease adds; None without a disease.

    Args:
        findings: Findings of the study.
        shape: The thorax in its pose.
        margin: Additional pixels on each side.
        u: Horizontal coordinates of shape (1, W), in mm.
        v: Vertical coordinates of shape (H, 1), in mm.
        air: Thickness of the lungs, of shape (H, W), in mm; disease is limited to them.
        rng: Random generator of the study.
    """
    if not findings.severity:
        return None
    full = (v.shape[0], u.shape[1])
    cu, cv = u[:, ::COARSE], v[::COARSE]
    inside = np.clip(air / (1.1 * shape.thorax.depth), 0, 1)
    rough = cloud(rng, (cv.shape[0], cu.shape[1]), 13 * shape.pose.scale / COARSE)
    fine = cloud(rng, (cv.shape[0], cu.shape[1]), 5 * shape.pose.scale / COARSE)
    added = np.zeros((cv.shape[0], cu.shape[1]), np.float32)
    for side, haze in zip((-1, 1), findings.haze, strict=True):
        if haze:
            hu, hv = shape.hilum(side)
            blob = np.exp(-0.5 * (((cu - hu - side * 22) / 34) ** 2 + ((cv - hv - 14) / 52) ** 2))
            added += haze * blob * np.clip(1 + 0.3 * rough + 0.15 * fine, 0.1, None)
            added += 0.22 * haze * np.clip(cv / shape.h, 0, 1) * (cu * side > 0)
    for opacity in findings.opacities:
        c, s = np.cos(opacity.angle), np.sin(opacity.angle)
        a = (c * (cu - opacity.u) + s * (cv - opacity.v)) / opacity.radius_u
        b = (-s * (cu - opacity.u) + c * (cv - opacity.v)) / opacity.radius_v
        r = np.sqrt(a * a + b * b) + 0.16 * rough + 0.06 * fine
        f = np.clip((1.4 - r) / 0.8, 0, 1)
        added += opacity.contrast * f * f * (3 - 2 * f) * (1 + 0.18 * fine)
    path: Grid = resize(added, full) * inside
    if findings.opacities:
        path *= 1 - 0.22 * airways(shape, margin, np.random.default_rng(shape.thorax.texture))
    if findings.septal:
        path += septal_lines(shape, margin, rng, findings.septal) * inside
    for side, height in zip((-1, 1), findings.effusion, strict=True):
        if height:
            path += _fluid(shape, u, v, air - path / (MU_SOFT - MU_LUNG), side, height)
    return path


def _fluid(
    shape: Shape, u: np.ndarray, v: np.ndarray, air: np.ndarray, side: int, height: float
) -> np.ndarray:
    """Attenuation of an effusion: fluid replaces lung below a meniscus that rises at the lateral wall."""
    s = np.clip(u * side / shape.w, 0, 1)
    surface = shape.h + shape.angle - height * (0.62 + 0.75 * s**4) - 2
    share = np.clip((v - surface) / 11 + 0.35, 0, 1) * (u * side > 0)
    fluid: np.ndarray = (MU_SOFT - MU_LUNG) * np.clip(air, 0, None) * share
    return fluid


def cloud(rng: np.random.Generator, size: tuple[int, int], grain: float) -> Grid:
    """Draw smooth noise (H, W), mean 0 and standard deviation about 1, with features `grain` pixels wide."""
    small = [max(2, int(np.ceil(n / max(grain, 1.0))) + 1) for n in size]
    return resize(1.4 * rng.standard_normal(small, dtype=np.float32), size)


def resize(field: np.ndarray, size: tuple[int, int]) -> Grid:
    """Resize a field to (H, W), bicubically."""
    image = Image.fromarray(np.ascontiguousarray(field, np.float32), mode="F")
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.float32)
