"""Faithfulness: does the model use what a map points at?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from radgaze.evaluation.audit.aspects.aspect import Aspect, Measured, Panel, register
from radgaze.evaluation.audit.aspects.subject import Figures, Subject, floats, repeated
from radgaze.evaluation.audit.sampling import Lot
from radgaze.evaluation.metrics import faithfulness
from radgaze.evaluation.metrics.metric import Metric
from radgaze.objectives.triangle import probabilities

BLUR = 0.1
"""σ of the blur that takes an image's details away, as a share of its side."""


@register
class Faithfulness(Aspect):
    name = "faithfulness"
    question = "Does the model use what the map points at?"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "deletion": Metric(
            title="deletion",
            words="Mean probability of the class while the image is blurred from the map's highest pixels "
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
            words="Both in one: what is pointed at is needed, and is enough.",
            bounds=(-1.0, 1.0),
        ),
        "sensitivity_n": Metric(
            title="sensitivity-n",
            words="Correlation of the map's sum over random sets of pixels with what the score loses without "
            "them.",
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
        "Deletion and insertion show the model images that it was not trained on, and what it makes of them "
        "is part of the figure.",
    )

    def measure(self, subject: Subject) -> Measured:
        return Measured([(lot.case_ids, _figures(subject, lot)) for lot in subject.probed])

    def how(self, settings: Mapping[str, Any]) -> str:
        return (
            f"Deletion and insertion: {settings['steps']} steps; the blur has a σ of {settings['blur']:.2f} "
            f"of the image's side. Sensitivity-n: {settings['subsets']} sets of {settings['share']:.0%} of "
            "the pixels."
        )


def _figures(subject: Subject, lot: Lot) -> Figures:
    """How the class score follows what the maps of a lot point at.

    Deletion and insertion are of the class's probability, sensitivity-n of its logit. What is deleted becomes
    the blurred image, which insertion starts from.
    """

    def probability(images: Tensor) -> Tensor:
        return _of_class(probabilities(_logits(subject, lot, images), subject.classification), lot)

    def logit(images: Tensor) -> Tensor:
        return _of_class(_logits(subject, lot, images), lot)

    x, maps, effort, side = lot.images, subject.maps_of(lot), subject.effort, lot.images.shape[-1]
    baseline = faithfulness.blurred(x, BLUR * side)
    deletion = faithfulness.deletion(probability, x, maps, baseline, steps=effort.steps).area
    insertion = faithfulness.insertion(probability, x, maps, baseline, steps=effort.steps).area
    n = max(1, round(effort.share * side**2))
    sensitivity = faithfulness.sensitivity_n(logit, x, maps, n=n, samples=effort.subsets, seed=effort.seed)
    return {
        "deletion": floats(deletion),
        "insertion": floats(insertion),
        "insertion_minus_deletion": floats(insertion - deletion),
        "sensitivity_n": floats(sensitivity),
    }


def _logits(subject: Subject, lot: Lot, images: Tensor) -> Tensor:
    turns = len(images) // len(lot)
    with torch.inference_mode():
        logits: Tensor = subject.model(images, *(repeated(a, turns) for a in lot.also)).logits
    return logits.float()


def _of_class(scores: Tensor, lot: Lot) -> Tensor:
    return scores.gather(1, repeated(lot.predicted, len(scores) // len(lot))[:, None])[:, 0]
