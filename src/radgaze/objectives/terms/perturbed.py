"""Terms that compare the network's outputs on perturbed images with those on the images themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from radgaze.attribution.engine.capture import full
from radgaze.draws import uniform_maps
from radgaze.objectives.config import GIVEN, Keep, Map, Partner
from radgaze.objectives.exchange import ExchangeCases, exchange
from radgaze.objectives.perturbations import (
    RANDOM,
    Fill,
    at_least,
    cut_out,
    extreme_pixels,
    replaced,
    soft_mask,
    widened,
    windows,
)
from radgaze.objectives.step import MissingError, Outputs, Step
from radgaze.objectives.terms.base import Term, register
from radgaze.objectives.terms.edge import in_words
from radgaze.options import FieldError, option

Perturbation = Literal["erase", "keep", "erase_lowest", "erase_highest", "zoom", "exchange"]
Comparison = Literal["probability", "divergence", "classification", "features"]

_DONE: dict[str, str] = {
    "erase": "erased where {} is high",
    "keep": "erased where {} is low",
    "erase_lowest": "erased where {} is lowest",
    "erase_highest": "erased where {} is highest",
    "zoom": "cut down to where {} is highest",
    "exchange": "exchanged for another case's where {} is low",
}

PURPOSE, NOISE = 101, 102
"""Numbers of the draws of partners and of noise; those of changed training images are others."""

MULTIPLE = 32
"""Number of which the sides of enlarged windows are multiples, as encoders require."""

_WORDS: dict[str, str] = {
    "probability": "a low probability of the class",
    "divergence": "the same probabilities",
    "classification": "the right class",
    "features": "the same features",
}


@register("perturbed")
@dataclass(frozen=True)
class Perturbed(Term):
    """A measure of the network's outputs on images that are perturbed by one of their maps.

    Attributes:
        by: Name of the map: "gaze", "boxes", "lungs", "explained", "mask", "heatmap", or a further heatmap.
            With a map that comes with the data, the term is the mean over the cases that have it.
        perturbation: Part of the image that is replaced: "erase" where the map is high, by a soft mask
            through which the map gets a gradient; "keep" where it is low, by the same mask; "erase_lowest" or
            "erase_highest" a share of the pixels, without a gradient to the map; "zoom" everything but the
            window with the highest mean of the map, which is enlarged, without a gradient either; or
            "exchange" the pixels that `counterfactual: {kind: exchange}` replaces, those outside of the
            region where the map is at least `threshold`, without a gradient to the map.
        fill: Replacement, see `objectives.perturbations.filling`: "black", the image's "mean", the image
            after a "blur", "uniform" noise between the image's minimum and maximum, the replaced pixels in
            random order ("shuffle"), or the image of the "other_case". It has no effect on "zoom" and
            "exchange".
        steepness: Steepness ω of the soft mask.
        threshold: Share of the map's maximum at which the soft mask is 1/2.
        hard: Whether "erase" and "keep" use a mask of 0 and 1, without a gradient to the map, in place of the
            soft one.
        share: Share of the pixels that "erase_lowest" and "erase_highest" replace.
        sides: Sides of the windows of "zoom" as shares of the image's; the term is the mean over the windows.
        counts: Number of windows of each side, which overlap by a quarter of their union at most; by default
            one of each.
        enlarged: Side of the enlarged windows as a share of the image's, rounded up to a multiple of 32
            pixels.
        dilation: Width by which the region of "exchange" grows, as a share of the image's side.
        feather: Width of the border outside of it in which the exchange sets in, as a share of the side.
        keep: What stays with "exchange": the case's "own" region, or "both", also its pixels in the region
            of its partner.
        partner: Partner of "exchange": "any" other case of the batch, or one of "other_class" or
            "same_class", see `objectives.exchange`. The term of a case without one is 0.
        compare: Measure of the outputs, which training decreases: "probability" of the class that the
            heatmap explains, or of the true class for other maps; "divergence", the Kullback–Leibler
            divergence of the class probabilities from those on the image; "classification", the
            classification loss; or "features", the Euclidean distance between the pooled deepest features and
            those on the image.
    """

    runs_again: ClassVar[bool] = True

    by: str = Map.HEATMAP.value
    perturbation: Perturbation = "erase"
    fill: Fill = "black"
    steepness: float = option(10.0, above=0)
    threshold: float = option(0.5, at_least=0, at_most=1)
    hard: bool = False
    share: float = option(0.5, above=0, below=1)
    sides: tuple[float, ...] = option((0.5,), above=0, at_most=1)
    counts: tuple[int, ...] = option((), at_least=1)
    enlarged: float = option(1.0, above=0, at_most=1)
    dilation: float = option(0.0, at_least=0, at_most=0.5)
    feather: float = option(0.0, at_least=0, at_most=0.5)
    keep: Keep = "both"
    partner: Partner = "any"
    compare: Comparison = "probability"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.sides:
            raise FieldError("sides", "must have at least one value, got none")
        if self.counts and len(self.counts) != len(self.sides):
            raise FieldError("counts", f"must have {len(self.sides)} values, one for each of `sides`")

    @property
    def has_edge(self) -> bool:
        """Whether a pixel is in the region or not, by `threshold`."""
        return self.perturbation == "exchange" or (self.hard and self.perturbation in ("erase", "keep"))

    @property
    def maps(self) -> tuple[str, ...]:
        return (self.by,)

    @property
    def summary(self) -> str:
        done = _DONE[self.perturbation].format(in_words(self.by))
        return f"it was made to give {_WORDS[self.compare]} for images {done}"

    def values(self, step: Step) -> Tensor:
        images, map_ = step.run.images.detach(), step.raw(self.by)
        compare = _COMPARISONS[self.compare]
        if self.perturbation == "exchange":
            twin, exchanged = self.exchanged(step, images, map_)
            return torch.where(exchanged, compare(step.run.again(twin), step, self.by), 0)
        zoom = self.perturbation == "zoom"
        perturbed = self.zoomed(images, map_) if zoom else [self.masked(step, images, map_)]
        if self.by in GIVEN and not zoom:
            has = step.has(self.by).view(-1, 1, 1, 1)
            perturbed = [torch.where(has, each, images) for each in perturbed]
        return torch.stack([compare(step.run.again(each), step, self.by) for each in perturbed]).mean(0)

    def masked(self, step: Step, images: Tensor, map_: Tensor) -> Tensor:
        """Replace parts of images (B, 1, H, W) according to a map (B, 1, h, w)."""
        if self.perturbation in ("erase", "keep"):
            mask = soft_mask(map_, self.steepness, self.threshold)
            mask = mask.detach().ge(0.5).to(mask) if self.hard else mask
            mask = 1 - mask if self.perturbation == "keep" else mask
        else:
            mask = extreme_pixels(map_, self.share, highest=self.perturbation == "erase_highest")
        noise = None
        if self.fill in RANDOM and step.run.draw is not None:
            noise = uniform_maps(step.run.draw, NOISE, (images.shape[-2], images.shape[-1]))
        return replaced(images, mask, self.fill, noise)

    def exchanged(self, step: Step, images: Tensor, map_: Tensor) -> tuple[Tensor, Tensor]:
        """Exchange the pixels of images (B, 1, H, W) outside of where a map is high for another case's.

        Returns:
            The images, and which of them are exchanged, (B,) bool.
        """
        run = step.run
        if run.patient is None or run.draw is None:
            raise MissingError(
                "the patients and draws of the cases, of which partners are drawn, are missing"
            )
        if map_.shape[-2:] != images.shape[-2:]:
            map_ = F.interpolate(map_, images.shape[-2:], mode="bilinear", align_corners=False)
        inside = at_least(map_, self.threshold)
        has_region = inside.flatten(1).any(1)
        retained = widened(inside, self.dilation, self.feather)
        cases = ExchangeCases(images, retained, has_region, step.labels, run.patient, run.draw)
        twins, has_partner = exchange(cases, partner=self.partner, keep=self.keep, purpose=PURPOSE)
        return twins, has_region & has_partner

    def zoomed(self, images: Tensor, map_: Tensor) -> list[Tensor]:
        """Cut the windows with the highest mean of a map (B, 1, h, w) out of images, and enlarge them."""
        if map_.shape[-2:] != images.shape[-2:]:
            map_ = F.interpolate(map_, images.shape[-2:], mode="bilinear", align_corners=False)
        size = [MULTIPLE * max(1, math.ceil(self.enlarged * side / MULTIPLE)) for side in images.shape[-2:]]
        counts = self.counts or (1,) * len(self.sides)
        return [
            cut_out(images, window, size)
            for share, count in zip(self.sides, counts, strict=True)
            for window in windows(map_, share, count)
        ]


def _probability(outputs: Outputs, step: Step, by: str) -> Tensor:
    classes = step.run.classes(step.config.heatmap_config(by).explained if step.is_heatmap(by) else "true")
    p = _log_probabilities(outputs.logits, step)[0].exp()
    return p.gather(1, classes[:, None])[:, 0]


def _divergence(outputs: Outputs, step: Step, by: str) -> Tensor:
    """KL(f(x) ‖ f(x̃)), differentiated with respect to both (Ismail et al. 2021, eq. 2)."""
    p, q = (_log_probabilities(each.logits, step) for each in (step.run.outputs, outputs))
    parts = torch.stack([a.exp() * (a - b) for a, b in zip(p, q, strict=True)]).sum(0)
    return parts.mean(1) if step.config.classification == "sigmoid" else parts.sum(1)


def _classification(outputs: Outputs, step: Step, by: str) -> Tensor:
    logits = full(outputs.logits)
    if step.config.classification == "sigmoid":
        return F.binary_cross_entropy_with_logits(logits, step.labels.to(logits), reduction="none").mean(1)
    return F.cross_entropy(logits, step.labels.argmax(1), reduction="none")


def _features(outputs: Outputs, step: Step, by: str) -> Tensor:
    before, after = step.run.outputs.features, outputs.features
    if before is None or after is None:
        raise MissingError("the model has no encoder of stages, whose features could be compared")
    difference = full(before).mean((2, 3)) - full(after).mean((2, 3))
    return (difference.square().sum(1) + torch.finfo(torch.float32).eps).sqrt()


def _log_probabilities(logits: Tensor, step: Step) -> tuple[Tensor, ...]:
    """Logarithms (B, C) of the class probabilities and, of classes that do not exclude each other, also of
    their complements."""
    logits = full(logits)
    if step.config.classification == "sigmoid":
        return F.logsigmoid(logits), F.logsigmoid(-logits)
    return (logits.log_softmax(1),)


_COMPARISONS = {
    "probability": _probability,
    "divergence": _divergence,
    "classification": _classification,
    "features": _features,
}
