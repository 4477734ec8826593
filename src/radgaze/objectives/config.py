"""The settings of the objective. Free of torch, so that the command line starts quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Self

from radgaze.options import FieldError, option
from radgaze.sections import Section


class Map(StrEnum):
    """The three maps of one image."""

    MASK = "mask"
    GAZE = "gaze"
    HEATMAP = "heatmap"


class Edge(StrEnum):
    """An edge of the triangle of maps, named as its field of `ObjectiveConfig`."""

    summary: str
    """Description of a run with this edge, as the end of a sentence."""

    MASK_GAZE = "mask_gaze", "its mask was pulled towards the gaze map"
    HEATMAP_GAZE = "heatmap_gaze", "its own heatmap was pulled towards the gaze map"
    MASK_HEATMAP = "mask_heatmap", "its mask was pulled towards its heatmap"

    def __new__(cls, name: str, summary: str) -> Self:
        member = str.__new__(cls, name)
        member._value_ = name
        member.summary = summary
        return member

    @property
    def ends(self) -> tuple[Map, Map]:
        """The two maps that the edge compares."""
        first, second = self.value.split("_")
        return Map(first), Map(second)

    @property
    def label(self) -> str:
        """Its name on a page, such as "mask–gaze"."""
        return "–".join(self.ends)

    @property
    def predicted(self) -> Map:
        """The map that learns from the other one; between mask and heatmap, both learn."""
        return self.ends[0]


@dataclass
class EdgeConfig(Section):
    """One edge of the triangle of maps.

    Attributes:
        weight: Weight of the edge in the map loss; 0 disables the edge.
        distance: Name of a map distance, see `objectives.distances`.
    """

    weight: float = option(0.0, at_least=0)
    distance: str = "bce"


@dataclass
class HeatmapConfig(Section):
    """The settings of the heatmap H, and of its scale beside the gaze map.

    Attributes:
        generator: Name of a heatmap generator, see `attribution.names()`.
        readout: Reduction over channels; by default that of the generator, in most cases "absolute".
        target: Class whose score is explained, and whose map is the mask if each class has one: "true" (the
            label; if there are several, one drawn in each step) or "predicted".
        match: Method that smooths a speckled gradient map before it is compared with gaze: "blur" by the
            gaze map's Gaussian, "pool" both to a coarse grid of cells, or "none".
        cells: Number of cells of that grid along each side.
        normalise: Scaling of the matched map to [0, 1], constant in the backward pass: by its "max", by
            "minmax", or by a high "quantile".
        margin: Margin ε in [0, 0.5): the scaled map is mapped to [ε, 1 − ε], so that cross-entropy does not
            treat its maximum, which is always 1, as certain (see `objectives.matching.match`).
        compiled: Whether the rules of the generator are compiled. This takes some seconds at the start and
            needs a C++ compiler; without one, a warning is given and they are not compiled.
        scales: Pyramid: factors of coarsening over which the distance is averaged, 1 being the map itself.
    """

    generator: str = "guided_backprop"
    readout: str | None = None
    target: Literal["true", "predicted"] = "true"
    match: Literal["blur", "pool", "none"] = "blur"
    cells: int = option(14, at_least=1)
    normalise: Literal["max", "minmax", "quantile"] = "max"
    margin: float = option(0.02, at_least=0, below=0.5)
    compiled: bool = False
    scales: tuple[int, ...] = option((1,), at_least=1)

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A number is out of range, or there is no scale.
        """
        super().check()
        if not self.scales:
            raise FieldError("scales", "must have at least one value, got none")


@dataclass
class ObjectiveConfig(Section):
    """loss = γ · classification + (1 − γ) · Σ weight · distance(edge).

    Attributes:
        gamma: Share γ of the classification in the loss, in [0, 1].
        classification: "softmax": cross-entropy over exclusive classes; "sigmoid": binary cross-entropy per
            class (as the seed did); "auto": sigmoid if the store's classes do not exclude each other,
            otherwise softmax. The run's config.yaml states the choice.
        mask_gaze: Edge M–G, the decoder's mask, or a model's own map of the class, to the gaze map.
        heatmap_gaze: Edge H–G, the classifier's own heatmap to the gaze map.
        mask_heatmap: Edge M–H.
        heatmap: Settings of H.
    """

    gamma: float = option(0.41731, at_least=0, at_most=1)
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
