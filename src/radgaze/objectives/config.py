"""What is learned. Free of torch, so that the command line can show it quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Self

from radgaze.sections import Section, within


class Map(StrEnum):
    """The three maps of one image."""

    MASK = "mask"
    GAZE = "gaze"
    HEATMAP = "heatmap"


class Edge(StrEnum):
    """An edge of the triangle of maps, named as its field of `ObjectiveConfig`."""

    summary: str
    """What a run with this edge learned, as the end of a sentence."""

    MASK_GAZE = "mask_gaze", "its decoder learned to draw the gaze map"
    HEATMAP_GAZE = "heatmap_gaze", "its own heatmap was pulled towards the gaze map"
    MASK_HEATMAP = "mask_heatmap", "its decoder learned to draw its heatmap"

    def __new__(cls, name: str, summary: str) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.summary = summary
        return member

    @property
    def ends(self) -> tuple[Map, Map]:
        """The two maps that it compares."""
        first, second = self.value.split("_")
        return Map(first), Map(second)

    @property
    def label(self) -> str:
        """Its name on a page, such as "mask–gaze"."""
        return "–".join(self.ends)

    @property
    def predicted(self) -> Map:
        """The map that learns; the other one is what it learns from. Of mask and heatmap, both learn."""
        return self.ends[0]


@dataclass
class EdgeConfig(Section):
    """One edge of the triangle of maps.

    Attributes:
        weight: Its share of the map loss; 0 leaves it out.
        distance: Name of a map distance, see `objectives.distances`.
    """

    weight: float = within("[0, inf)", 0.0)
    distance: str = "bce"


@dataclass
class HeatmapConfig(Section):
    """How the heatmap H is made and brought to the scale of the gaze map.

    Attributes:
        generator: Name of a heatmap generator, see `attribution.names()`.
        readout: Its reduction over channels; by default the generator's own, as a rule "absolute".
        target: The class whose score is read out, and whose map the mask is where each class has one: "true"
            (the label; of several, one drawn at every step) or "predicted".
        match: How a speckled gradient map is brought to the smoothness of gaze before the two are compared:
            "blur" by the gaze map's own Gaussian, "pool" to a coarse grid of cells both, or "none".
        cells: Cells of that grid along a side.
        normalise: Scale that brings the matched map to [0, 1], constant in the backward: by its "max", by
            "minmax", or by a high "quantile".
        margin: ε in [0, 0.5): the scaled map is drawn into [ε, 1 − ε], so that cross-entropy does not take
            its maximum, which is always 1, for certainty (see `objectives.matching.match`).
        compiled: Whether its rules are compiled, which takes some seconds at the start and needs a C++
            compiler; without one they are not, and a warning says so.
        scales: A pyramid: the distance is averaged over these factors of coarsening, 1 being the map itself.
    """

    generator: str = "guided_backprop"
    readout: str | None = None
    target: Literal["true", "predicted"] = "true"
    match: Literal["blur", "pool", "none"] = "blur"
    cells: int = within("[1, inf)", 14)
    normalise: Literal["max", "minmax", "quantile"] = "max"
    margin: float = within("[0, 0.5)", 0.02)
    compiled: bool = False
    scales: tuple[int, ...] = within("[1, inf)", (1,))


@dataclass
class ObjectiveConfig(Section):
    """loss = γ · classification + (1 − γ) · Σ weight · distance(edge).

    Attributes:
        gamma: γ in [0, 1].
        classification: "softmax" cross-entropy over exclusive classes, "sigmoid" binary cross-entropy per
            class (the seed's), or "auto": softmax, but sigmoid where the store's classes do not exclude each
            other. A run's own config.yaml says which it was.
        mask_gaze: Edge M–G, the decoder's mask, or a model's own map of the class, to the gaze map.
        heatmap_gaze: Edge H–G, the classifier's own heatmap to the gaze map.
        mask_heatmap: Edge M–H.
        heatmap: How H is made.
    """

    gamma: float = within("[0, 1]", 0.41731)
    classification: Literal["auto", "softmax", "sigmoid"] = "auto"
    mask_gaze: EdgeConfig = field(default_factory=EdgeConfig)
    heatmap_gaze: EdgeConfig = field(default_factory=EdgeConfig)
    mask_heatmap: EdgeConfig = field(default_factory=EdgeConfig)
    heatmap: HeatmapConfig = field(default_factory=HeatmapConfig)

    @property
    def edges(self) -> dict[Edge, EdgeConfig]:
        """The edges that have weight."""
        edges: dict[Edge, EdgeConfig] = {edge: getattr(self, edge.value) for edge in Edge}
        return {edge: config for edge, config in edges.items() if config.weight}

    def compares(self, end: Map) -> bool:
        """Whether an edge with weight ends there."""
        return any(end in edge.ends for edge in self.edges)
