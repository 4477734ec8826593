"""Samples of a data set, and batches of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

from radgaze.gaze.frames import Frames
from radgaze.gaze.maps import mirrors_for
from radgaze.gaze.spec import GazeMaps
from radgaze.store.boxes import of_own_class, regions_of_own_class, with_area
from radgaze.store.mentions import of_class


@dataclass(frozen=True)
class Sample:
    """One case.

    Attributes:
        image: (1, S, S) float32 grey in [0, 1].
        label: (C,) float32, one 0 or 1 per class.
        gaze: Gaze map (1, S, S); None where the data set makes no maps.
        case_id, patient: Ids in the store.
        points: (K, 2) fixations as (x, y) in pixels of `image`, ordered by reading and then by time.
        weights: (K,) weight of each fixation; 0 for one that augmentation moved off the image.
        sigma: (2,) standard deviations (σy, σx) of the gaze map, in pixels of `image`.
        times: (K, 2) onset since the start of the reading, and duration, in seconds.
        order: (K,) int64, index of each fixation among all recorded ones, off-image ones included.
        recorded: Number of all recorded fixations.
        spec: Settings of its gaze map; None where the data set has no gaze.
        views: (K, 6) for each fixation σy, σx and x1, y1, x2, y2 of the part of the image that was shown, in
            pixels of `image`; None unless `GazeMaps.recorded`.
        boxes: (N, 4) boxes of findings as (x1, y1, x2, y2) in pixels of `image`; without area where
            augmentation moved a box off the image.
        box_class: (N,) int64, index of the class after which a box is named, −1 for none.
        regions: (M, S, S) uint8 of findings that are marked pixel by pixel: the share of each pixel that is
            inside, 255 for all of it; None for no regions.
        region_class: (M,) int64, like `box_class`.
        class_weights: (K, C) weight of each fixation in the gaze map of each class, where the data set has
            gaze by class (`GazeMaps.per`).
        stand_in: (S, S) uint8, a map that stands in for gaze (`GazeMaps.control`), 255 for 1; None for none.
        parts: (P, S, S) uint8, the parts of the data set (`store.parts`) as in `regions`; None for no parts.
        part_names: Their names.
        lungs: (1, S, S) uint8, the share of each pixel that is inside the lungs, 255 for all of it; None
            where the data set makes no lungs.
        draw: Number in [0, 2⁶³) from which random choices for the case follow.
    """

    image: Tensor
    label: Tensor
    gaze: Tensor | None
    case_id: str
    patient: int
    points: Tensor
    weights: Tensor
    sigma: Tensor
    times: Tensor
    order: Tensor
    recorded: int
    spec: GazeMaps | None = None
    views: Tensor | None = None
    boxes: Tensor = field(default_factory=lambda: torch.zeros(0, 4))
    box_class: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    regions: Tensor | None = None
    region_class: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))
    class_weights: Tensor | None = None
    stand_in: Tensor | None = None
    parts: Tensor | None = None
    part_names: tuple[str, ...] = ()
    lungs: Tensor | None = None
    draw: int = 0


@dataclass
class Batch:
    """A batch of cases, whose fixations, boxes and regions are padded to the largest number in the batch.

    Attributes:
        image: (B, 1, S, S) float32 grey in [0, 1].
        label: (B, C) float32.
        points: (B, K, 2) in pixels of `image`.
        weights: (B, K), 0 for padding.
        sigma: (B, 2) standard deviations (σy, σx) of the gaze maps, in pixels of `image`.
        times: (B, K, 2) onset and duration, in seconds.
        order: (B, K) int64, index among all recorded fixations; −1 for padding.
        recorded: (B,) int64, number of all recorded fixations.
        boxes: (B, N, 4) boxes of findings as (x1, y1, x2, y2) in pixels of `image`; without area for padding.
        box_class: (B, N) int64, index of the class after which a box is named, −1 for none.
        regions: (B, M, S, S) uint8 as in a sample, zeros for padding; M is 0 where no case has any.
        region_class: (B, M) int64, like `box_class`.
        has_gaze: (B,) bool, whether a fixation of weight above 0 is on the image, or boxes, regions or a map
            stand in for gaze (`GazeMaps.boxes`, `GazeMaps.control`).
        case_id, patient: Ids of each case.
        spec: Settings of the gaze maps; None for a data set without gaze.
        views: (B, K, 6) as in a sample, or None.
        class_weights: (B, K, C) as in a sample, 0 for padding, or None.
        parts: (B, P, S, S) uint8 as in a sample, or None.
        part_names: Names of the parts.
        lungs: (B, 1, S, S) uint8 as in a sample, or None.
        draw: (B,) int64 as in a sample, or None.
        mirrors: Number of mirrored copies that gaze maps need at the borders; computed in advance, to avoid
            a synchronisation with the device.
        stand_in: (B, S, S) uint8 as in a sample, zeros for a case without, or None.
    """

    image: Tensor
    label: Tensor
    points: Tensor
    weights: Tensor
    sigma: Tensor
    times: Tensor
    order: Tensor
    recorded: Tensor
    boxes: Tensor
    box_class: Tensor
    regions: Tensor
    region_class: Tensor
    has_gaze: Tensor
    case_id: list[str]
    patient: list[int]
    spec: GazeMaps | None = None
    views: Tensor | None = None
    class_weights: Tensor | None = None
    parts: Tensor | None = None
    part_names: tuple[str, ...] = ()
    lungs: Tensor | None = None
    draw: Tensor | None = None
    mirrors: int = 1
    stand_in: Tensor | None = None

    def __len__(self) -> int:
        return len(self.case_id)

    @property
    def readable(self) -> Tensor:
        """Whether a model may read the gaze map of each case, (B,) bool.

        It is of fixations on the image, or of a map that stands in for them; boxes and masks of findings are
        drawn by the label, and are no input.
        """
        looked = (self.weights > 0).any(1)
        if self.stand_in is None or self._spec().control not in ("mean", "lungs", "uniform"):
            return looked
        return looked | (self.stand_in > 0).flatten(1).any(1)

    def gaze_maps(self, size: int | tuple[int, int] | None = None, classes: Tensor | None = None) -> Tensor:
        """Make the gaze maps (B, 1, H, W), on the device of the batch.

        A case without gaze has a map of zeros, or a flat map in the reference mode. Where boxes stand in for
        gaze, a case without a fixation on the image has the map of its own boxes and regions. A map that
        stands in for gaze is the same for all classes.

        Args:
            size: Side, or (H, W), of the maps in pixels; None for the size of the images.
            classes: Class (B,) of each case whose gaze is drawn where there is any; −1 or None for all gaze.

        Raises:
            ValueError: The data set was made without gaze.
        """
        spec = self._spec()
        weights = self.weights if classes is None else of_class(self.weights, self.class_weights, classes)
        shape = tuple(self.image.shape[-2:])
        height, width = shape if size is None else (size, size) if isinstance(size, int) else size
        scale = self.sigma.new_tensor([height / shape[0], width / shape[1]])
        points, sigma = self.points * scale.flip(0), self.sigma * scale
        # At another size than that of the images, rounding may require one more copy.
        mirrors = self.mirrors + ((height, width) != shape)
        views = None if self.views is None else self.views * torch.cat([scale, scale.flip(0).repeat(2)])
        maps = spec.draw(points, weights, (height, width), sigma, mirrors=mirrors, views=views)
        if self.stand_in is not None:
            stand_ins = _resized(self.stand_in.float() / 255, (height, width))
            drawn = spec.draw_stand_ins(stand_ins, (height, width), sigma, mirrors=mirrors)
            return torch.where((stand_ins > 0).flatten(1).any(1).view(-1, 1, 1, 1), drawn, maps)
        if spec.boxes == "ignore" or not (self.boxes.shape[1] or self.regions.shape[1]):
            return maps
        boxes = self.own_boxes() * scale.flip(0).repeat(2)
        regions = None
        if self.regions.shape[1]:
            regions = _resized(self.own_regions().float() / 255, (height, width))
        of_boxes = spec.draw_boxes(boxes, (height, width), sigma, mirrors=mirrors, regions=regions)
        return torch.where((self.weights > 0).any(1).view(-1, 1, 1, 1), maps, of_boxes)

    def box_maps(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Make the maps of the boxes and regions of one class of each case, drawn like gaze maps.

        Args:
            classes: Index of the class of each case, (B,); boxes and regions named after another are left
                out, those of no class are not.

        Returns:
            Maps (B, 1, H, W) in [0, 1], zeros where there is nothing to draw; and which cases have any, (B,).
        """
        label = one_hot(classes, self.label.shape[1])
        boxes = of_own_class(self.boxes, self.box_class, label)
        regions = regions_of_own_class(self.regions, self.region_class, label)
        present = with_area(boxes).any(1) | (regions > 0).flatten(1).any(1)
        drawn = self._spec().draw_boxes(
            boxes,
            (self.image.shape[-2], self.image.shape[-1]),
            self.sigma,
            mirrors=self.mirrors,
            regions=regions.float() / 255 if self.regions.shape[1] else None,
        )
        return torch.where(present.view(-1, 1, 1, 1), drawn, 0), present

    def part_maps(self, name: str) -> tuple[Tensor, Tensor]:
        """Return the maps of a part, the share of each pixel inside, (B, 1, S, S), and who has it, (B,).

        Raises:
            ValueError: The data set was made without this part.
        """
        if self.parts is None or name not in self.part_names:
            raise ValueError(f"the data set was made without the part {name!r}")
        inside = self.parts[:, self.part_names.index(name)]
        return inside.unsqueeze(1).float() / 255, (inside > 0).flatten(1).any(1)

    def own_boxes(self) -> Tensor:
        """Return the boxes (B, N, 4), without area where named after a class that the case does not have."""
        return of_own_class(self.boxes, self.box_class, self.label)

    def own_regions(self) -> Tensor:
        """Return the union (B, S, S) uint8 of the regions, except those named after classes a case lacks."""
        return regions_of_own_class(self.regions, self.region_class, self.label)

    def frames(self, how: Frames) -> tuple[Tensor, Tensor]:
        """Make sequences of gaze maps, on the device of the batch, padded to the longest sequence.

        Args:
            how: Division of readings into frames.

        Returns:
            Maps (B, T, H, W) of the images' size, T ≥ 1; and whether each is a frame rather than padding,
            (B, T) bool. A case's frames come first; a case without gaze has none.

        Raises:
            ValueError: The data set was made without gaze.
        """
        spec = self._spec()
        frame, counts = how.place(self.weights, self.times, self.order, self.recorded)
        longest = max(1, min(how.most, int(counts.max())))
        height, width = self.image.shape[-2:]
        maps = spec.draw_frames(
            self.points,
            self.weights,
            frame,
            longest,
            (height, width),
            self.sigma,
            mirrors=self.mirrors,
            views=self.views,
        )
        return maps, torch.arange(longest, device=counts.device) < counts.unsqueeze(1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Copy the batch to another device; Lightning calls this."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Copy the batch to page-locked memory; torch's loader calls this."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _spec(self) -> GazeMaps:
        if self.spec is None:
            raise ValueError("the data set was made with gaze=None, so this batch has no gaze")
        return self.spec

    def _each(self, move: Callable[[Tensor], Tensor]) -> Batch:
        moved = copy(self)
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, Tensor):
                setattr(moved, each.name, move(value))
        return moved


def _resized(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize regions (B, S, S)."""
    if regions.shape[-2:] == size:
        return regions
    return interpolate(regions[:, None], size, mode="bilinear", antialias=True)[:, 0]


def _padded(values: Sequence[Tensor | None], longest: int) -> Tensor | None:
    """Stack values (K, …) of the fixations of samples, padded with zeros; None where there are none."""
    present = [value for value in values if value is not None]
    if not present:
        return None
    padded = present[0].new_zeros(len(values), longest, *present[0].shape[1:])
    for i, value in enumerate(present):
        padded[i, : len(value)] = value
    return padded


def _stacked(maps: Sequence[Tensor | None]) -> Tensor | None:
    """Stack maps of samples, with zeros for those without; None where none has any."""
    shape = next((each for each in maps if each is not None), None)
    if shape is None:
        return None
    return torch.stack([torch.zeros_like(shape) if each is None else each for each in maps])


def _regions(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Regions (B, M, S, S) of samples, padded by zeros, and their classes (B, M), padded by −1."""
    many = max(len(sample.region_class) for sample in samples)
    side = samples[0].image.shape[-2:]
    regions = torch.zeros(len(samples), many, *side, dtype=torch.uint8)
    region_class = samples[0].region_class.new_full((len(samples), many), -1)
    for i, sample in enumerate(samples):
        if sample.regions is not None:
            regions[i, : len(sample.regions)] = sample.regions
            region_class[i, : len(sample.regions)] = sample.region_class
    return regions, region_class


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad and stack samples to a batch."""
    longest = max(len(sample.weights) for sample in samples)
    points = samples[0].points.new_zeros(len(samples), longest, 2)
    weights = samples[0].weights.new_zeros(len(samples), longest)
    times = samples[0].times.new_zeros(len(samples), longest, 2)
    order = samples[0].order.new_full((len(samples), longest), -1)
    for i, sample in enumerate(samples):
        points[i, : len(sample.points)] = sample.points
        weights[i, : len(sample.weights)] = sample.weights
        times[i, : len(sample.times)] = sample.times
        order[i, : len(sample.order)] = sample.order
    views = _padded([sample.views for sample in samples], longest)
    class_weights = _padded([sample.class_weights for sample in samples], longest)
    most = max(len(sample.boxes) for sample in samples)
    boxes = samples[0].boxes.new_zeros(len(samples), most, 4)
    box_class = samples[0].box_class.new_full((len(samples), most), -1)
    for i, sample in enumerate(samples):
        boxes[i, : len(sample.boxes)] = sample.boxes
        box_class[i, : len(sample.boxes)] = sample.box_class
    regions, region_class = _regions(samples)
    label, spec = torch.stack([sample.label for sample in samples]), samples[0].spec
    has_gaze = (weights > 0).any(1)
    if spec is not None and spec.boxes == "attention":
        has_gaze = has_gaze | with_area(of_own_class(boxes, box_class, label)).any(1)
        has_gaze = has_gaze | (regions_of_own_class(regions, region_class, label) > 0).flatten(1).any(1)
    stand_in = _stacked([sample.stand_in for sample in samples])
    if stand_in is not None:
        has_gaze = has_gaze | (stand_in > 0).flatten(1).any(1)
    sigma = torch.stack([sample.sigma for sample in samples])
    parts = [sample.parts for sample in samples if sample.parts is not None]
    lungs = [sample.lungs for sample in samples if sample.lungs is not None]
    return Batch(
        image=torch.stack([sample.image for sample in samples]),
        label=label,
        points=points,
        weights=weights,
        sigma=sigma,
        times=times,
        order=order,
        recorded=torch.tensor([sample.recorded for sample in samples]),
        boxes=boxes,
        box_class=box_class,
        regions=regions,
        region_class=region_class,
        has_gaze=has_gaze,
        case_id=[sample.case_id for sample in samples],
        patient=[sample.patient for sample in samples],
        spec=spec,
        views=views,
        class_weights=class_weights,
        parts=torch.stack(parts) if parts else None,
        part_names=samples[0].part_names,
        lungs=torch.stack(lungs) if lungs else None,
        draw=torch.tensor([sample.draw for sample in samples]),
        mirrors=mirrors_for(float(sigma.max()), min(samples[0].image.shape[-2:])),
        stand_in=stand_in,
    )
