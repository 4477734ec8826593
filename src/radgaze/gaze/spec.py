"""What a gaze map is made of: from fixations on an image to points, weights and sigma on a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from radgaze.errors import UserError
from radgaze.gaze.boxes import box_maps
from radgaze.gaze.maps import Normalise, static_maps, temporal_maps, viewed_maps
from radgaze.gaze.reference import reference_points, viridis_grey

TYPICAL = 0.05
"""Of an image's long side: what a degree of visual angle takes, about, before a screen."""


@dataclass(frozen=True)
class Geometry:
    """Where an image lies on a map: x_map = x·scale_x + shift_x, in pixels, and the same for y.

    Attributes:
        rows, columns: Size of the original image.
    """

    rows: int
    columns: int
    scale_x: float
    scale_y: float
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class GazeMaps:
    """How gaze maps are made.

    Attributes:
        weight: What a fixation counts: its duration, 1 ("count"), or as in the data set authors' maps
            ("reference", see `reference_map`: counts at whole pixels, min–max, and the grey values of a
            viridis picture).
        sigma: Width of the Gaussian, in `unit`.
        unit: Image pixels, degrees of visual angle, or a share of the image's long side.
        pixels_per_degree: Image pixels per degree of visual angle, for `unit="degrees"`; None there for what
            was recorded with each fixation, whose Gaussian is then cut to what was shown (`viewed_maps`).
        normalise: How a map is brought to a common scale (`static_maps`); the reference mode has its own.
        boxes: Whether boxes, ellipses and masks of findings stand in for gaze where a case has none
            ("attention"), or not ("ignore").
    """

    weight: Literal["duration", "count", "reference"] = "duration"
    sigma: float = 150.0
    unit: Literal["pixels", "degrees", "share"] = "pixels"
    pixels_per_degree: float | None = None
    normalise: Normalise = "max"
    boxes: Literal["ignore", "attention"] = "ignore"

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise UserError(f"gaze maps: sigma is {self.sigma}; it must be greater than 0")
        if self.pixels_per_degree is not None and not self.pixels_per_degree > 0:
            raise UserError(
                f"gaze maps: pixels_per_degree is {self.pixels_per_degree}; it must be greater than 0"
            )
        if self.recorded and self.weight == "reference":
            raise UserError("gaze maps: those of the reference have one sigma, in pixels or as a share")

    @property
    def recorded(self) -> bool:
        """Whether each fixation's own angular resolution counts, and what was shown."""
        return self.unit == "degrees" and self.pixels_per_degree is None

    def place(self, points: Tensor, durations: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
        """Put one reading's fixations on the map.

        Args:
            points: (K, 2) as (x, y) in image pixels.
            durations: (K,) in seconds.

        Returns:
            Points (K, 2) in map pixels, weights (K,), and sigma (2,) as (σy, σx) in map pixels.
        """
        weights = durations if self.weight == "duration" else torch.ones_like(durations)
        if self.weight == "reference":
            points, weights = reference_points(points)
        scale = points.new_tensor([geometry.scale_x, geometry.scale_y])
        shift = points.new_tensor([geometry.shift_x, geometry.shift_y])
        return points * scale + shift, weights, self.image_sigma(geometry) * scale.flip(0)

    def image_sigma(self, geometry: Geometry) -> float:
        """Sigma in pixels of the original image; where each fixation has its own, a share that stands for it
        where there is none."""
        if self.unit == "degrees":
            if self.pixels_per_degree is None:
                return TYPICAL * max(geometry.rows, geometry.columns)
            return self.sigma * self.pixels_per_degree
        return self.sigma * max(geometry.rows, geometry.columns) if self.unit == "share" else self.sigma

    def draw(
        self,
        points: Tensor,
        weights: Tensor,
        size: tuple[int, int],
        sigma: Tensor,
        *,
        mirrors: int | None = None,
        views: Tensor | None = None,
    ) -> Tensor:
        """The maps (B, 1, H, W) of placed fixations: points (B, K, 2), weights (B, K), sigma (B, 2).

        Where each fixation's own resolution counts, views (B, K, 6) are σy, σx and x1, y1, x2, y2 of what was
        shown, in map pixels.
        """
        if self.recorded:
            sigma_of, shown = _views(views)
            return viewed_maps(points, weights, size, sigma_of, shown, normalise=self.normalise)
        if self.weight == "reference":
            return viridis_grey(
                static_maps(points, weights, size, sigma, normalise="minmax", mirrors=mirrors)
            )
        return static_maps(points, weights, size, sigma, normalise=self.normalise, mirrors=mirrors)

    def draw_frames(
        self,
        points: Tensor,
        weights: Tensor,
        frame: Tensor,
        frames: int,
        size: tuple[int, int],
        sigma: Tensor,
        *,
        mirrors: int | None = None,
        views: Tensor | None = None,
    ) -> Tensor:
        """The maps (B, T, H, W) of placed fixations, each frame normalised alone; see `temporal_maps`."""
        if self.recorded:
            sigma_of, shown = _views(views)
            return viewed_maps(
                points, weights, size, sigma_of, shown, frame, frames, normalise=self.normalise
            )
        if self.weight == "reference":
            maps = temporal_maps(
                points, weights, frame, frames, size, sigma, normalise="minmax", mirrors=mirrors
            )
            return viridis_grey(maps)
        return temporal_maps(
            points, weights, frame, frames, size, sigma, normalise=self.normalise, mirrors=mirrors
        )

    def draw_boxes(
        self,
        boxes: Tensor,
        size: tuple[int, int],
        sigma: Tensor,
        *,
        mirrors: int | None = None,
        regions: Tensor | None = None,
    ) -> Tensor:
        """The maps (B, 1, H, W) of placed boxes (B, N, 4) and regions (B, H, W), scaled and coloured as those
        of fixations are.
        """
        reference = self.weight == "reference"
        normalise: Normalise = "minmax" if reference else self.normalise
        maps = box_maps(boxes, size, sigma, normalise=normalise, mirrors=mirrors, regions=regions)
        return viridis_grey(maps) if reference else maps


def _views(views: Tensor | None) -> tuple[Tensor, Tensor]:
    if views is None:
        raise ValueError("the fixations' own angular resolution counts: `views` are needed")
    return views[..., :2], views[..., 2:]
