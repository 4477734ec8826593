"""One training step as the terms of the loss see it: maps, outputs, and the model to run again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from radgaze.attribution.engine.capture import full
from radgaze.objectives.config import GIVEN, PARTS, Map, ObjectiveConfig
from radgaze.objectives.matching import match


class MissingError(ValueError):
    """A map or an output that a term needs is missing; the message names it."""


@dataclass(frozen=True)
class Maps:
    """The maps of one batch, each (B, 1, H, W), or None where there is none.

    Attributes:
        gaze: Gaze maps in [0, 1]; rows of cases without gaze are ignored.
        has_gaze: Which cases have gaze, (B,) bool.
        sigma: Standard deviations (σy, σx) of the gaze maps in pixels, (B, 2).
        mask: Mask logits of the decoder.
        heatmap: Raw heatmaps H: neither smoothed nor scaled.
        further: Raw further heatmaps, by name.
        gaze_of: Gaze maps of the class that a map explains, by the name of that map; a map without an entry
            is compared with `gaze`.
        boxes: Maps of the boxes and regions of findings in [0, 1], drawn like gaze maps.
        has_boxes: Which cases have any, (B,) bool.
        parts: Maps of the parts of the image in [0, 1], and which cases have the part, (B,) bool, by name.
    """

    gaze: Tensor
    has_gaze: Tensor
    sigma: Tensor
    mask: Tensor | None = None
    heatmap: Tensor | None = None
    further: Mapping[str, Tensor] = field(default_factory=dict)
    gaze_of: Mapping[str, Tensor] = field(default_factory=dict)
    boxes: Tensor | None = None
    has_boxes: Tensor | None = None
    parts: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Outputs:
    """Outputs of one forward pass of the network.

    Attributes:
        logits: Class scores (B, C).
        aux_logits: Class scores (B, C) of an auxiliary classifier, or None.
        features: The deepest feature maps (B, K, h, w), or None if the network has no encoder with stages.
    """

    logits: Tensor
    aux_logits: Tensor | None = None
    features: Tensor | None = None


@dataclass(frozen=True)
class ForwardPass:
    """The forward pass of a step, and the network, to run it on perturbed images.

    Attributes:
        images: Images (B, 1, H, W) in [0, 1].
        outputs: Outputs on them.
        classes: Function of a heatmap's target, such as "true", that returns the class (B,) it explains.
        again: Function that runs the network on other images (B, 1, h, w) in its current mode. In training
            mode, batch norm uses the statistics of these images, and its running statistics do not change.
        patient: Number of the patient of each case, (B,) int64, or None where no term needs it.
        draw: Key of the random choices for each case, (B,) int64, see `radgaze.draws`, or None.
    """

    images: Tensor
    outputs: Outputs
    classes: Callable[[str], Tensor]
    again: Callable[[Tensor], Outputs]
    patient: Tensor | None = None
    draw: Tensor | None = None


@dataclass(frozen=True)
class Step:
    """One training step.

    Attributes:
        maps: Maps of the batch.
        labels: Labels (B, C), 0 or 1.
        config: Settings of the objective.
        forward: The forward pass, or None where no term needs it.
        counted: Cases that count for the term that is computed, (B,) bool, or None for all of them. The maps
            of other cases then get no gradient: it may be NaN there, and 0 · NaN is NaN.
    """

    maps: Maps
    labels: Tensor
    config: ObjectiveConfig
    forward: ForwardPass | None = None
    counted: Tensor | None = None

    def for_cases_with(self, names: Sequence[str]) -> Step:
        """Make the same step for a term that takes only the cases that have all of some maps into account.

        Args:
            names: Names of the maps; those that every case has do not matter.

        Raises:
            MissingError: The maps of a part are missing.
        """
        has = [self.has(name) for name in names if name in GIVEN]
        return replace(self, counted=torch.stack(has).all(0) if has else None)

    def has(self, name: str) -> Tensor:
        """Which cases have a map of `GIVEN`, (B,) bool.

        Raises:
            MissingError: The maps of a part are missing.
        """
        return self._part(name)[1] if name in PARTS else self.maps.has_gaze

    def with_boxes_as_gaze(self) -> Step:
        """Make the same step with boxes and regions in place of gaze, for a term that uses them.

        Raises:
            MissingError: The maps of boxes are missing.
        """
        if self.maps.boxes is None or self.maps.has_boxes is None:
            raise MissingError("the boxes are missing")
        boxes, has_boxes = self.maps.boxes, self.maps.has_boxes
        return replace(self, maps=replace(self.maps, gaze=boxes, has_gaze=has_boxes, gaze_of={}))

    @property
    def seen(self) -> Tensor:
        """Which cases have gaze, (B, 1, 1, 1) bool."""
        return self.maps.has_gaze.view(-1, 1, 1, 1)

    @property
    def gaze(self) -> Tensor:
        """Gaze maps (B, 1, H, W) of the cases, 0 in cases without gaze."""
        return torch.where(self.seen, full(self.maps.gaze), 0)

    def gaze_for(self, name: str) -> Tensor:
        """Gaze maps (B, 1, H, W) that a map is compared with: those of the class that it explains, if any."""
        return torch.where(self.seen, full(self.maps.gaze_of.get(name, self.maps.gaze)), 0)

    @property
    def run(self) -> ForwardPass:
        """The forward pass.

        Raises:
            MissingError: It is missing.
        """
        if self.forward is None:
            raise MissingError("the forward pass is missing")
        return self.forward

    def raw(self, name: str) -> Tensor:
        """A map (B, 1, H, W) as it was made: gaze or a part in [0, 1], mask probabilities, or a raw heatmap.

        Raises:
            MissingError: The map is missing.
        """
        if name in (Map.GAZE, Map.BOXES):  # see `with_boxes_as_gaze`
            return self.gaze
        if name in PARTS:
            return full(self._part(name)[0])
        if name == Map.MASK:
            if self.maps.mask is None:
                raise MissingError("the mask is missing: the model has no decoder")
            return self._guarded(full(self.maps.mask).sigmoid())
        heat = self.maps.heatmap if name == Map.HEATMAP else self.maps.further.get(name)
        if heat is None:
            raise MissingError(f"the {name} is missing")
        return self._guarded(full(heat))

    def matched(self, name: str) -> tuple[Tensor, Tensor]:
        """A heatmap as its settings match it with gaze, and the gaze map, of one size and in [0, 1]."""
        return match(self.raw(name), self.gaze_for(name), self.maps.sigma, self.config.heatmap_config(name))

    def is_heatmap(self, name: str) -> bool:
        """Whether a map is a heatmap."""
        return name != Map.MASK and name not in GIVEN

    def _part(self, name: str) -> tuple[Tensor, Tensor]:
        if name not in self.maps.parts:
            raise MissingError(f"the {name} are missing")
        return self.maps.parts[name]

    def _guarded(self, predicted: Tensor) -> Tensor:
        if self.counted is None:
            return predicted
        return torch.where(self.counted.view(-1, 1, 1, 1), predicted, predicted.detach())
