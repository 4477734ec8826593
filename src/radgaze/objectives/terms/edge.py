"""A distance of two maps as a term of the loss."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives import distances
from radgaze.objectives.config import GIVEN, EdgeConfig, Map
from radgaze.objectives.config import Edge as TriangleEdge
from radgaze.objectives.matching import pyramid
from radgaze.objectives.step import Step
from radgaze.objectives.terms.base import Term, register
from radgaze.options import FieldError, option
from radgaze.sections import Value


@register("edge")
@dataclass(frozen=True)
class Edge(Term):
    """The distance between two maps.

    Attributes:
        first: Name of the predicted map, which is trained: "mask", "heatmap", or a further heatmap.
        second: Name of its target: "gaze", "boxes" (boxes and masks of findings), "lungs" (masks of both
            lungs), "explained" (places that an earlier run used, see `radgaze pseudo`), "mask", "heatmap", or
            a further heatmap. A target that is predicted is trained as well.
        within: Name of a third map by which the distance weights pixels; None means no weighting.
        distance: Name of a distance between maps, see `objectives.distances`.
        parameters: Options of the distance, by name.
    """

    first: str = Map.HEATMAP.value
    second: str = Map.GAZE.value
    within: str | None = None
    distance: str = option("kl", choices=lambda: tuple(distances.REGISTRY))
    parameters: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first in GIVEN:
            raise FieldError("first", f"must be a map that learns, not {self.first}")
        distances.check(self.distance, self.parameters, within=self.within is not None)

    @classmethod
    def of_triangle(cls, edge: TriangleEdge, config: EdgeConfig) -> Edge:
        """An edge of the triangle."""
        first, second = edge.ends
        return cls(first.value, second.value, None, config.distance, config.options)

    @property
    def maps(self) -> tuple[str, ...]:
        return (self.first, self.second, *(() if self.within is None else (self.within,)))

    @property
    def summary(self) -> str:
        within = "" if self.within is None else f", within {in_words(self.within)}"
        effect = distances.find(self.distance).effect or "was compared with"
        return f"{in_words(self.first)} {effect} {in_words(self.second)}{within} ({self.distance})"

    def values(self, step: Step) -> Tensor:
        distance = distances.find(self.distance)
        p, q = _raw(self, step) if distance.raw else _matched(self, step)
        per_scale = []
        for scale in _scales(self, step):
            parameters: dict[str, object] = dict(self.parameters)
            first, second = pyramid(p, q, scale)
            if self.within is not None:
                parameters["within"] = _resized(step.raw(self.within), first)
            per_scale.append(distance(first, second, **parameters))
        return torch.stack(per_scale).mean(0)


def _raw(edge: Edge, step: Step) -> tuple[Tensor, Tensor]:
    p = step.raw(edge.first)
    q = step.gaze_for(edge.first) if edge.second == Map.GAZE else step.raw(edge.second)
    return p, _resized(q, p)


def _matched(edge: Edge, step: Step) -> tuple[Tensor, Tensor]:
    """Both maps in [0, 1], of one size; gaze is pooled like the heatmap that it is compared with."""
    first, second = edge.first, edge.second
    if second in (Map.GAZE, Map.BOXES):
        return step.matched(first) if step.is_heatmap(first) else (step.raw(first), step.gaze_for(first))
    p = step.matched(first)[0] if step.is_heatmap(first) else step.raw(first)
    q = step.matched(second)[0] if step.is_heatmap(second) else step.raw(second)
    if not step.is_heatmap(first):
        return _pooled(p, q), q
    return p, _resized(q, p)


def _scales(edge: Edge, step: Step) -> tuple[int, ...]:
    heatmap = next((name for name in (edge.first, edge.second) if step.is_heatmap(name)), None)
    return (1,) if heatmap is None else tuple(step.config.heatmap_config(heatmap).scales)


def _resized(map_: Tensor, like: Tensor) -> Tensor:
    return map_ if map_.shape == like.shape else _pooled(map_, like)


def _pooled(map_: Tensor, like: Tensor) -> Tensor:
    rows, columns = like.shape[-2:]
    return F.adaptive_avg_pool2d(map_, (rows, columns))


def in_words(name: str) -> str:
    """The name of a map in a sentence."""
    words = {
        Map.GAZE.value: "the gaze map",
        Map.BOXES.value: "the map of boxes",
        Map.LUNGS.value: "the lungs",
        Map.EXPLAINED.value: "the places that earlier runs used",
        Map.MASK.value: "its mask",
        Map.HEATMAP.value: "its own heatmap",
    }
    return words.get(name, f"its heatmap “{name.replace('_', ' ')}”")
