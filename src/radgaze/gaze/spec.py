"""Settings of gaze maps, which turn fixations on an image into points, weights and sigma on a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from radgaze.errors import UserError
from radgaze.gaze.boxes import box_maps
from radgaze.gaze.maps import Normalise, normalised, static_maps, temporal_maps, viewed_maps
from radgaze.gaze.reference import reference_points, viridis_grey

Control = Literal["none", "shuffled", "shuffled_in_class", "mean", "lungs", "uniform", "box"]

TYPICAL = 0.05
"""Approximate size of a degree of visual angle on a screen, as a share of an image's long side."""


@dataclass(frozen=True)
class Geometry:
    """The position of an image on a map: x_map = x·scale_x + shift_x, in pixels, and the same for y.

    Attributes:
        rows, columns: Size of the original image in pixels.
        scale_x, scale_y: Map pixels per image pixel.
        shift_x, shift_y: Position of the image's left and top edge in map pixels.
    """

    rows: int
    columns: int
    scale_x: float
    scale_y: float
    shift_x: float = 0.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class GazeMaps:
    """The settings of gaze maps.

    Attributes:
        weight: Weight of a fixation: its duration, 1 ("count"), or as in the data set authors' maps
            ("reference", see `reference_map`: counts at whole pixels, min–max, and the grey values of a
            viridis picture).
        sigma: Standard deviation of the Gaussian, in `unit`.
        unit: Unit of `sigma`: image pixels, degrees of visual angle, or a share of the image's long side.
        pixels_per_degree: Image pixels per degree of visual angle, for `unit="degrees"`; None for the value
            recorded with each fixation, whose Gaussian is then cut to the part shown (`viewed_maps`).
        normalise: Scale of a map (`static_maps`); the reference mode always uses "minmax".
        boxes: Whether boxes, ellipses and masks of findings replace gaze where a case has none
            ("attention"), or not ("ignore").
        per: Gaze that the heatmap of a class is compared with: that of the whole reading ("case"), or, where
            a report mentions the class, that of the fixations that belong to it ("class").
        control: What stands in for the gaze on a case, "none" for nothing; see `radgaze.store.controls`.

    Raises:
        UserError: A value is out of range or an unknown word, or settings contradict each other.
    """

    weight: Literal["duration", "count", "reference"] = "duration"
    sigma: float = 150.0
    unit: Literal["pixels", "degrees", "share"] = "pixels"
    pixels_per_degree: float | None = None
    normalise: Normalise = "max"
    boxes: Literal["ignore", "attention"] = "ignore"
    per: Literal["case", "class"] = "case"
    control: Control = "none"

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            if (word := getattr(self, name)) not in words:
                raise UserError(f"gaze maps: {name} must be one of {', '.join(words)}, got {word!r}")
        if not self.sigma > 0:
            raise UserError(f"gaze maps: sigma must be greater than 0, got {self.sigma}")
        if self.pixels_per_degree is not None and not self.pixels_per_degree > 0:
            raise UserError(
                f"gaze maps: pixels_per_degree must be greater than 0, got {self.pixels_per_degree}"
            )
        if self.recorded and self.weight == "reference":
            raise UserError("gaze maps: those of the reference have one sigma, in pixels or as a share")

    @property
    def recorded(self) -> bool:
        """Whether the angular resolution and the part shown recorded with each fixation are used."""
        return self.unit == "degrees" and self.pixels_per_degree is None

    def place(self, points: Tensor, durations: Tensor, geometry: Geometry) -> tuple[Tensor, Tensor, Tensor]:
        """Place one reading's fixations on the map.

        Args:
            points: Fixations (K, 2) as (x, y) in image pixels.
            durations: Durations (K,) in seconds.
            geometry: Position of the image on the map.

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
        """Return the standard deviation in pixels of the original image.

        With `recorded` each fixation has its own size of a degree; that is then `TYPICAL`, for cases without
        fixations.
        """
        if self.unit == "degrees":
            if self.pixels_per_degree is None:
                return self.sigma * TYPICAL * max(geometry.rows, geometry.columns)
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
        """Draw the maps (B, 1, H, W) of placed fixations.

        Args:
            points: Fixations (B, K, 2) in map pixels.
            weights: Weights (B, K).
            size: Size (H, W) of the maps.
            sigma: Standard deviations (B, 2) as (σy, σx) in map pixels.
            mirrors: Number of mirrored copies on each side, see `static_maps`.
            views: With `recorded`, σy, σx and x1, y1, x2, y2 of the part shown for each fixation, (B, K, 6),
                in map pixels.

        Raises:
            ValueError: `views` is None with `recorded`.
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
        """Draw the maps (B, T, H, W) of placed fixations, each frame normalised separately.

        The arguments are those of `draw` and, for frames, of `temporal_maps`.

        Raises:
            ValueError: `views` is None with `recorded`.
        """
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
        """Draw the maps (B, 1, H, W) of placed boxes and regions, scaled like those of fixations.

        The arguments are those of `box_maps`.
        """
        reference = self.weight == "reference"
        normalise: Normalise = "minmax" if reference else self.normalise
        maps = box_maps(boxes, size, sigma, normalise=normalise, mirrors=mirrors, regions=regions)
        return viridis_grey(maps) if reference else maps

    def draw_stand_ins(
        self, stand_ins: Tensor, size: tuple[int, int], sigma: Tensor, *, mirrors: int | None = None
    ) -> Tensor:
        """Draw the maps (B, 1, H, W) of what stands in for gaze (`control`), scaled like gaze maps.

        Boxes and lungs are smoothed by the Gaussian; the mean of gaze maps is smooth as it is. A constant map
        is 1 everywhere, also where augmentation has moved the image away.

        Args:
            stand_ins: Maps (B, H, W) in [0, 1]; zeros for a case without.
            size: As for `draw`.
            sigma: As for `draw`.
            mirrors: As for `draw`.
        """
        if self.control == "uniform":
            return (stand_ins > 0).flatten(1).any(1).view(-1, 1, 1, 1).to(stand_ins).expand(-1, 1, *size)
        if self.control != "mean":
            none = stand_ins.new_zeros(len(stand_ins), 0, 4)
            return self.draw_boxes(none, size, sigma, mirrors=mirrors, regions=stand_ins)
        if self.weight == "reference":
            return viridis_grey(normalised(stand_ins.unsqueeze(1), "minmax"))
        return normalised(stand_ins.unsqueeze(1), self.normalise)


_WORDS: dict[str, tuple[str, ...]] = {
    name: get_args(hint) for name, hint in get_type_hints(GazeMaps).items() if get_origin(hint) is Literal
}
"""The words that each setting may be."""


def _views(views: Tensor | None) -> tuple[Tensor, Tensor]:
    if views is None:
        raise ValueError("views are needed for maps by the angular resolution recorded with each fixation")
    return views[..., :2], views[..., 2:]
