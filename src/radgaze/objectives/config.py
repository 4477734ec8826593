"""The settings of the objective. This module does not import torch, so that the command line starts fast."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Literal, Self

from radgaze.methods import generators
from radgaze.objectives import schedules
from radgaze.options import FieldError, check_choice, option
from radgaze.sections import Section, Value


class Map(StrEnum):
    """Maps of one image: mask, gaze, heatmap, the boxes and regions of findings, and parts of the image."""

    MASK = "mask"
    GAZE = "gaze"
    HEATMAP = "heatmap"
    BOXES = "boxes"
    LUNGS = "lungs"
    EXPLAINED = "explained"


PARTS = (Map.LUNGS, Map.EXPLAINED)
"""Parts of the image that masks of the store mark, see `store.parts`."""

GIVEN = (Map.GAZE, Map.BOXES, *PARTS)
"""Maps that come with the data, and do not learn; not every case has each."""


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


Balance = Literal["given", "start"]

Keep = Literal["own", "both"]
"""Parts of an image that an exchange of pixels keeps, see `objectives.exchange`."""

Partner = Literal["any", "other_class", "same_class"]
"""Cases among which an exchange of pixels draws a partner."""


@dataclass
class WeightConfig(Section):
    """The weight of a term of the loss.

    Attributes:
        weight: Weight of the term in the map loss; 0 disables the term.
        balance: "given" takes the weight as it is; "start" multiplies it by the ratio of the mean
            classification loss to the mean of the term, over the first ten steps in which the term has cases.
        schedule: Factor of the weight over the training, such as "linear(0 -> 1, until 0.3)"; docs/methods.md
            lists the kinds of schedules.
        options: Options of the term's distance or kind, by name.
    """

    weight: float = option(0.0, at_least=0)
    _: KW_ONLY
    balance: Balance = option("given", omitted=True)
    schedule: str = option(schedules.CONSTANT, omitted=True)
    options: dict[str, Value] = option({}, omitted=True)

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: The weight is out of range, or the schedule cannot be parsed.
        """
        super().check()
        schedules.check("schedule", self.schedule)


@dataclass
class EdgeConfig(WeightConfig):
    """One edge of the triangle of maps.

    Attributes:
        distance: Name of a distance between maps; docs/methods.md lists them with their options.
    """

    distance: str = "bce"


@dataclass
class TermConfig(WeightConfig):
    """A further term of the loss, beside the edges of the triangle.

    Attributes:
        kind: Name of the kind of term; docs/methods.md lists them with their options.
    """

    weight: float = option(1.0, at_least=0)
    kind: str = "edge"


@dataclass
class HeatmapConfig(Section):
    """The settings of the heatmap H, and of how it is matched with the gaze map.

    Attributes:
        generator: Name of a heatmap generator; docs/heatmaps.md lists them.
        readout: Reduction over channels, such as "norm"; docs/heatmaps.md lists them. None means the
            generator's own, in most cases "absolute".
        target: Class whose score is explained, and whose map is the mask if each class has one: "true" (the
            label; if there are several, one drawn in each step, the same for all heatmaps), "predicted",
            "runner_up" (the most probable class that the case does not have), "contrast" (the score of "true"
            less that of "runner_up", as in Simpson et al. 2019), or "all": Σ_k log p_k over all classes (Ross
            et al. 2017), or Σ_k (log p_k + log(1 − p_k)) where classes do not exclude each other.
        match: Method that smooths a speckled gradient map before it is compared with gaze: "blur" filters it
            by the Gaussian of the gaze map, "pool" averages both maps over the cells of a coarse grid, and
            "none" leaves it as it is.
        cells: Number of cells of that grid along each side.
        normalise: Scaling of the matched map to [0, 1], constant in the backward pass: by its maximum
            ("max"), its minimum and maximum ("minmax"), or its 99th percentile ("quantile").
        margin: Margin ε in [0, 0.5): the scaled map is mapped to [ε, 1 − ε], so that cross-entropy does not
            treat its maximum, which is always 1, as certain.
        compiled: Whether the rules of the generator are compiled. This takes some seconds at the start and
            needs a C++ compiler; without one, a warning is given and they are not compiled.
        scales: Scales over which the distance is averaged: at scale s both maps are average-pooled over
            s × s pixels, and 1 means the maps themselves.
        layer: Layer at which the map is made: a dotted name of the model's modules, or "1/16" and the like,
            the last feature maps of that share of the image's side. None means the images or, for
            class-activation maps, the feature maps that the classifier pools.
        channel_weights: Whether the weights of the channels in CAM and Grad-CAM are differentiated ("exact"),
            or constant in the backward pass ("held"), as in GAIN (Li et al. 2018, section 3.1).
        attention_gradients: Whether the gradients that weight attention in `relevance` are constant in the
            backward pass ("held"), as in RobustViT (Chefer et al. 2022), or differentiated ("exact").
    """

    generator: str = "guided_backprop"
    readout: str | None = None
    target: Literal["true", "predicted", "runner_up", "contrast", "all"] = "true"
    match: Literal["blur", "pool", "none"] = "blur"
    cells: int = option(14, at_least=1)
    normalise: Literal["max", "minmax", "quantile"] = "max"
    margin: float = option(0.02, at_least=0, below=0.5)
    compiled: bool = False
    scales: tuple[int, ...] = option((1,), at_least=1)
    layer: str | None = option(None, omitted=True)
    channel_weights: Literal["exact", "held"] = option("exact", omitted=True)
    attention_gradients: Literal["held", "exact"] = option("held", omitted=True)

    @property
    def explained(self) -> str:
        """The target whose class stands for the heatmap: "true" where its score is of several classes."""
        return "true" if self.target in ("contrast", "all") else self.target

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A number is out of range, or there is no scale or no such generator.
        """
        super().check()
        if not self.scales:
            raise FieldError("scales", "must have at least one value, got none")
        check_choice("generator", self.generator, generators())


@dataclass
class ObjectiveConfig(Section):
    """loss = γ · classification + (1 − γ) · Σ weight · term; terms are the triangle's edges and further ones.

    Attributes:
        gamma: Share γ of the classification in the loss, in [0, 1].
        classification: "softmax": cross-entropy over exclusive classes; "sigmoid": binary cross-entropy per
            class (as in the published code); "auto": sigmoid if the store's classes do not exclude each
            other, otherwise softmax. The run's config.yaml states the choice.
        mask_gaze: Edge M–G, between the decoder's mask, or a model's own map of the class, and the gaze map.
        heatmap_gaze: Edge H–G, between the classifier's own heatmap and the gaze map.
        mask_heatmap: Edge M–H, between mask and heatmap.
        heatmap: Settings of H.
        gamma_schedule: Factor of γ over the training, such as "linear(0.9 -> 0.1)"; docs/methods.md lists the
            kinds of schedules.
        heatmaps: Further heatmaps by name, each with the settings of H; terms refer to them by that name.
        terms: Further terms of the loss by name.
    """

    gamma: float = option(0.41731, at_least=0, at_most=1)
    classification: Literal["auto", "softmax", "sigmoid"] = "auto"
    mask_gaze: EdgeConfig = field(default_factory=EdgeConfig)
    heatmap_gaze: EdgeConfig = field(default_factory=EdgeConfig)
    mask_heatmap: EdgeConfig = field(default_factory=EdgeConfig)
    heatmap: HeatmapConfig = field(default_factory=HeatmapConfig)
    gamma_schedule: str = option(schedules.CONSTANT, omitted=True)
    heatmaps: dict[str, HeatmapConfig] = option({}, omitted=True)
    terms: dict[str, TermConfig] = option({}, omitted=True)

    def check(self) -> None:
        """Check the values.

        Raises:
            FieldError: A value is out of range, a schedule cannot be parsed or makes γ exceed 1, or a
                heatmap or term has a reserved name.
        """
        super().check()
        schedules.check("gamma_schedule", self.gamma_schedule)
        highest = self.gamma * schedules.parse(self.gamma_schedule).highest
        if highest > 1:
            raise FieldError(
                "gamma_schedule", f"must leave γ at most 1; {self.gamma_schedule!r} makes it {highest:g}"
            )
        for section, taken in (
            ("heatmaps", tuple(Map)),
            ("terms", (*Edge, "loss", "classification", "gamma")),
        ):
            for name in getattr(self, section):
                if name in taken:
                    raise FieldError(
                        f"{section}.{name}", f"is the name of a {section[:-1]} that exists; take another"
                    )

    @property
    def edges(self) -> dict[Edge, EdgeConfig]:
        """The edges of the triangle that have weight."""
        edges: dict[Edge, EdgeConfig] = {edge: getattr(self, edge.value) for edge in Edge}
        return {edge: config for edge, config in edges.items() if config.weight}

    @property
    def weights(self) -> dict[str, WeightConfig]:
        """The edges and further terms that have weight, by name."""
        terms = {name: config for name, config in self.terms.items() if config.weight}
        return {**{edge.value: config for edge, config in self.edges.items()}, **terms}

    def heatmap_config(self, name: str) -> HeatmapConfig:
        """The settings of a heatmap: H, or a further one."""
        return self.heatmap if name == Map.HEATMAP else self.heatmaps[name]
