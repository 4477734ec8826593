"""Faithfulness: does the model use what a map points at?"""

from __future__ import annotations

from collections.abc import Mapping
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
    side = x.shape[-1]
    baseline = faithfulness.blurred(x, BLUR * side)
    deletion = faithfulness.deletion(probability, x, maps, baseline, steps=options.steps).area
    insertion = faithfulness.insertion(probability, x, maps, baseline, steps=options.steps).area
    n = max(1, round(options.share * side**2))
    sensitivity = faithfulness.sensitivity_n(logit, x, maps, n=n, samples=options.subsets, seed=options.seed)
    return {
        "deletion": floats(deletion),
        "insertion": floats(insertion),
        "insertion_minus_deletion": floats(insertion - deletion),
        "sensitivity_n": floats(sensitivity),
    }


def _logits(audited: AuditedMaps, batch: CaseBatch, images: Tensor) -> Tensor:
    turns = len(images) // len(batch)
    with torch.inference_mode():
        logits: Tensor = audited.model(images, *(repeated(values, turns) for values in batch.also)).logits
    return logits.float()


def _of_class(scores: Tensor, batch: CaseBatch) -> Tensor:
    return scores.gather(1, repeated(batch.predicted, len(scores) // len(batch))[:, None])[:, 0]
