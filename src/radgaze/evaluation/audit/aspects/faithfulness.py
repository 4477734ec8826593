"""Faithfulness: does the model use what a map points at?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measurement, Panel, register
from radgaze.evaluation.audit.aspects.audited_maps import AuditedMaps, Figures, floats, repeated
from radgaze.evaluation.audit.results import AuditSettings
from radgaze.evaluation.audit.sampling import CaseBatch
from radgaze.evaluation.metrics import faithfulness
from radgaze.evaluation.metrics.metric import Metric
from radgaze.objectives.triangle import probabilities

BLUR = 0.1
"""Standard deviation of the blur that removes an image's details, as a share of its side."""


@register
class Faithfulness(Aspect):
    name = "faithfulness"
    question = "Does the model use what the map points at?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "deletion": Metric(
            title="deletion",
            words="Mean probability of the class while the image is blurred, from the map's highest pixels "
            "on.",
            higher_is_better=False,
            bounds=(0.0, 1.0),
        ),
        "insertion": Metric(
            title="insertion",
            words="Mean probability of the class while a blurred image becomes sharp from the map's highest "
            "pixels on.",
            bounds=(0.0, 1.0),
        ),
        "insertion_minus_deletion": Metric(
            title="insertion − deletion",
            words="High where the highlighted pixels are both necessary and sufficient for the class.",
            bounds=(-1.0, 1.0),
        ),
        "sensitivity_n": Metric(
            title="sensitivity-n",
            words="Correlation of the map's sum over random sets of pixels with the score lost without them.",
            chance=0.0,
            bounds=(-1.0, 1.0),
        ),
    }
    headline = "insertion_minus_deletion"
    panel = Panel("Faithfulness: {metric}")
    of_baselines = True
    probed = True
    done = "points at what the model uses"
    column = "faithfulness"
    settings: ClassVar[Mapping[str, float]] = {"blur": BLUR}
    limits = (
        "Deletion and insertion show the model images unlike those of its training, and how it handles them "
        "is part of the figure.",
    )

    def measure(self, audited: AuditedMaps) -> Measurement:
        return Measurement([(batch.case_ids, _figures(audited, batch)) for batch in audited.probed])

    def how(self, settings: AuditSettings) -> str:
        return (
            f"Deletion and insertion: {settings.steps} steps; the blur has a σ of "
            f"{settings.constants['blur']:.2f} of the image's side. Sensitivity-n: {settings.subsets} sets "
            f"of {settings.share:.0%} of the pixels."
        )


@dataclass(frozen=True)
class Reference:
    """Values of a batch that do not depend on a map.

    Attributes:
        baseline: The blurred images, of shape (B, 1, S, S).
        whole: Probability of the class given the images, of shape (B,).
        blurred: That given the blurred images.
        removed: Sets of pixels, and the drop of the logit without them.
    """

    baseline: Tensor
    whole: Tensor
    blurred: Tensor
    removed: faithfulness.Removals


def _figures(audited: AuditedMaps, batch: CaseBatch) -> Figures:
    """Measure how the class score depends on the pixels that the maps of a batch highlight.

    Deletion and insertion use the probability of the class, sensitivity-n its logit. A deleted pixel takes
    the value of the blurred image, from which insertion starts.
    """

    def probability(images: Tensor) -> Tensor:
        logits = _logits(audited, batch, images)
        return _of_class(probabilities(logits, audited.classification), batch)

    def logit(images: Tensor) -> Tensor:
        return _of_class(_logits(audited, batch, images), batch)

    x, maps, options = batch.images, audited.maps_of(batch), audited.options

    def reference() -> Reference:
        side = x.shape[-1]
        baseline = faithfulness.blurred(x, BLUR * side)
        n = min(max(1, round(options.share * side**2)), side**2 - 1)
        removed = faithfulness.removals(logit, x, n=n, samples=options.subsets, seed=options.seed)
        return Reference(baseline, probability(x), probability(baseline), removed)

    shared = audited.once((Faithfulness.name, batch.case_ids), reference)
    steps, ends = options.steps, (shared.whole, shared.blurred)
    deletion = faithfulness.deletion(probability, x, maps, shared.baseline, steps=steps, ends=ends).area
    insertion = faithfulness.insertion(
        probability, x, maps, shared.baseline, steps=steps, ends=ends[::-1]
    ).area
    return {
        "deletion": floats(deletion),
        "insertion": floats(insertion),
        "insertion_minus_deletion": floats(insertion - deletion),
        "sensitivity_n": floats(faithfulness.sensitivity(maps, shared.removed)),
    }


def _logits(audited: AuditedMaps, batch: CaseBatch, images: Tensor) -> Tensor:
    turns = len(images) // len(batch)
    with torch.inference_mode():
        logits: Tensor = audited.model(images, *(repeated(values, turns) for values in batch.also)).logits
    return logits.float()


def _of_class(scores: Tensor, batch: CaseBatch) -> Tensor:
    return scores.gather(1, repeated(batch.predicted, len(scores) // len(batch))[:, None])[:, 0]
