"""The function that is exported: the predictions of a run, with mask, heatmap and reject rule."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from radgaze.attribution.generator import Generator
from radgaze.evaluation.referral.selective import Referral
from radgaze.models.output import Output
from radgaze.objectives.triangle import probabilities
from radgaze.runs.vote import HALF, Vote

LEAST = 1e-12
"""Lowest probability in an uncertainty score, as in `confidence.tempered`."""


@dataclass(frozen=True)
class Heatmaps:
    """The heatmap among the outputs.

    Attributes:
        name: Name of the method.
        generators: The generator of each model.
        target: Index of the class; None for the predicted one, and "all" for a map of each.
    """

    name: str
    generators: Sequence[Generator]
    target: int | str | None


@dataclass(frozen=True)
class Serving:
    """The function of images (B, 1, S, S) that is exported.

    Attributes:
        models: The run's model, or those of the runs that vote.
        kind: Function that turns logits into probabilities, "softmax" or "sigmoid".
        vote: The vote that the run is; None for one run.
        referral: The run's rule for accepting predictions; None without one, or where the rule moves the
            image first.
        heatmaps: The heatmap; None for none.
        masks: Whether every model makes a mask.
    """

    models: Sequence[nn.Module]
    kind: str
    vote: Vote | None
    referral: Referral | None
    heatmaps: Heatmaps | None
    masks: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs, in their order."""
        present = {
            "logits": self.vote is None,
            "mask": self.masks,
            "heatmap": self.heatmaps is not None,
            "uncertainty": self.referral is not None,
            "accept": self.referral is not None,
        }
        return ("probabilities", *(name for name, is_there in present.items() if is_there))

    def __call__(self, images: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs of images (B, 1, S, S) and of the further inputs, in the order of `names`."""
        with ExitStack() as stack:
            generators = () if self.heatmaps is None else self.heatmaps.generators
            reads = [
                stack.enter_context(generator.capture(model, create_graph=False))
                for generator, model in zip(generators, self.models, strict=bool(generators))
            ]
            outputs: list[Output] = [model(images, *others) for model in self.models]
            scores = self._scores(outputs)
            made = {"probabilities": scores, "logits": outputs[0].logits}
            predicted = scores.detach().argmax(1)
            if self.masks:
                made["mask"] = self._mask(outputs, predicted)
            if self.heatmaps is not None:
                targets = self._targets(predicted, scores.shape[1])
                of_each = [
                    torch.cat([read(output, target) for target in targets], 1)
                    for read, output in zip(reads, outputs, strict=True)
                ]
                made["heatmap"] = torch.stack(of_each).mean(0)
        if self.referral is not None:
            made["uncertainty"] = uncertainty(self.referral, scores.detach())
            made["accept"] = made["uncertainty"] <= self.referral.threshold
        return tuple(made[name].detach() for name in self.names)

    def _scores(self, outputs: Sequence[Output]) -> Tensor:
        of_each = torch.stack([probabilities(output.logits, self.kind) for output in outputs])
        if self.vote is None or self.vote.rule == "mean":
            return of_each.mean(0)
        thresholds = torch.tensor([voter.thresholds for voter in self.vote.voters], dtype=torch.float64)
        # A probability is compared in the precision of its threshold, as the vote does.
        return (of_each.double() > thresholds[:, None]).float().mean(0)

    def _mask(self, outputs: Sequence[Output], predicted: Tensor) -> Tensor:
        masks = [output.mask_of(predicted) for output in outputs]
        made = torch.stack([mask.float().sigmoid() for mask in masks if mask is not None])
        majority = self.vote is not None and self.vote.rule == "majority"
        return (made > HALF).float().mean(0) if majority else made.mean(0)

    def _targets(self, predicted: Tensor, classes: int) -> list[Tensor]:
        assert self.heatmaps is not None
        target = self.heatmaps.target
        if target is None:
            return [predicted]
        chosen = range(classes) if isinstance(target, str) else (target,)
        return [torch.full_like(predicted, k) for k in chosen]


def uncertainty(rule: Referral, p: Tensor) -> Tensor:
    """The uncertainty scores (B,) of probabilities (B, C), as `Referral.scores` computes them, in float64."""
    p = _tempered(p.double(), rule.temperature, rule.kind)
    if rule.kind == "softmax":
        return _SCORES[rule.score](p)
    return _SCORES[rule.score](torch.stack([p, 1 - p], -1)).amax(-1)


def _tempered(p: Tensor, temperature: float, kind: str) -> Tensor:
    if temperature == 1:
        return p
    p = p.clamp(LEAST, 1 - LEAST)
    if kind == "sigmoid":
        return ((p.log() - (1 - p).log()) / temperature).sigmoid()
    return (p.log() / temperature).softmax(-1)


def _alpha(p: Tensor) -> Tensor:
    g = p.square().sum(-1)
    return (1 - g) / g


def _beta(p: Tensor) -> Tensor:
    m = p.amax(-1)
    return (1 - m) / m


def _maximum(p: Tensor) -> Tensor:
    return 1 - p.amax(-1)


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp(min=LEAST).log()).sum(-1)


_SCORES = {"alpha": _alpha, "beta": _beta, "maximum": _maximum, "entropy": _entropy}
