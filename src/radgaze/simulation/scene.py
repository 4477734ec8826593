"""The image of a case with its confounders, and with others in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from radgaze.simulation.anatomy import Shape
from radgaze.simulation.border import border
from radgaze.simulation.detector import processed
from radgaze.simulation.device import device
from radgaze.simulation.kinds import KINDS, VARIANTS
from radgaze.simulation.marker import REACH, marker, marker_about
from radgaze.simulation.overlay import Box, Mask, Overlay, Pixels
from radgaze.simulation.places import outside_the_lungs, within_the_lungs_or_heart
from radgaze.simulation.plan import STREAM_CONFOUNDER, Case, stream

Variants = Mapping[str, str]
"""Variant of each kind of confounder that an image has."""

ORDER = ("device", "border", "marker")
"""Order in which overlays are painted; the processing of `detector` comes before them, so that an overlay
changes only the pixels that it covers."""


@dataclass(frozen=True)
class Rendered:
    """An image with confounders.

    Attributes:
        pixels: The image (H, W), of 12 bits.
        shown: The image before anything was painted over it, to which the window of the display belongs.
        masks: Pixels (H, W) of each kind of confounder that it has, where nothing hides it.
        boxes: Box (x1, y1, x2, y2), in pixels, of each kind of confounder that it has.
    """

    pixels: Pixels
    shown: Pixels
    masks: Mapping[str, Mask]
    boxes: Mapping[str, Box]


@dataclass(frozen=True)
class Scene:
    """Patient, disease and noise of a case, which are rendered with one or another confounder.

    All variants of a kind share their random numbers, and a device or marker its place, so that they do not
    tell the class.

    Attributes:
        base: The image (H, W) without any confounder.
        shape: The thorax in its pose.
        case: The case.
        seed: Random seed of the data set.
        jitter: Distance (x, y) of a marker from its outermost place, where it has one.
    """

    base: Pixels
    shape: Shape
    case: Case
    seed: int
    jitter: npt.NDArray[np.float64]
    _places: dict[str, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)

    def render(self, variants: Variants) -> Rendered:
        """Render the scene with variants of confounders."""
        image = self.base
        if "detector" in variants:
            image = processed(image, variants["detector"], self._rng("detector"))
        shown, full = image, float(image.max())
        overlays = {kind: self._overlay(kind, variants[kind]) for kind in ORDER if kind in variants}
        masks: dict[str, Mask] = {}
        for kind, overlay in overlays.items():
            image = overlay.painted(image, full)
            hidden = overlay.hidden(image.shape)
            masks = {below: mask & ~hidden for below, mask in masks.items()}
            masks[kind] = overlay.mask(image.shape)
        boxes = {kind: overlay.box for kind, overlay in overlays.items()}
        if "detector" in variants:
            masks["detector"] = np.ones(image.shape, np.bool_)
            boxes["detector"] = (0.0, 0.0, float(image.shape[1]), float(image.shape[0]))
        return Rendered(image, shown, masks, boxes)

    def _overlay(self, kind: str, variant: str) -> Overlay:
        shape = self.base.shape
        if kind == "border":
            return border(variant, shape, self._rng(kind))
        if kind == "device":
            # Each device is drawn from a stream of its own; the place is that of all.
            form = self._rng(kind, 1 + VARIANTS[kind].index(variant))
            return device(variant, shape, self._place(kind), form)
        if "marker" in dict(self.case.confounders):
            return marker_about(variant, shape, self._place(kind))
        return marker(variant, shape, self.jitter)

    def _place(self, kind: str) -> tuple[float, float]:
        if kind not in self._places:
            rng = self._rng(kind)
            long = max(self.base.shape)
            self._places[kind] = (
                within_the_lungs_or_heart(self.shape, rng)
                if kind == "device"
                else outside_the_lungs(self.shape, (REACH[0] * long, REACH[1] * long), rng)
            )
        return self._places[kind]

    def _rng(self, kind: str, *key: int) -> np.random.Generator:
        return stream(self.seed, STREAM_CONFOUNDER, KINDS.index(kind), 1, self.case.index, *key)
