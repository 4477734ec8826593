"""A run as the page needs it: the prediction of one image, and one of its maps at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from radgaze import models
from radgaze.attribution import presets
from radgaze.attribution.generator import Generator
from radgaze.evaluation.metrics.multilabel import THRESHOLD
from radgaze.evaluation.referral.selective import Decision
from radgaze.explaining.explainer import Explainer
from radgaze.explaining.methods import generators
from radgaze.explaining.smoothing import smooth
from radgaze.objectives.triangle import probabilities
from radgaze.predicting.inputs import Preparation, Subject
from radgaze.predicting.predictor import Predictor
from radgaze.runs.run import Run
from radgaze.store.placement import Frame

MASK = "mask"
"""Name of the decoder's mask among the methods."""


@dataclass(frozen=True)
class Reading:
    """The prediction of one image.

    Attributes:
        probabilities: Probability of each class, (C,).
        of_each: Probabilities of each run of a vote, (V, C); V is 1 for a run that is no vote.
        calibrated: Probabilities after temperature scaling, (C,); None where the run has no temperature.
        predicted: The predicted classes.
        decision: Whether the prediction is accepted; None where the run has no rule for it.
    """

    probabilities: NDArray[np.float64]
    of_each: NDArray[np.float64]
    calibrated: NDArray[np.float64] | None
    predicted: tuple[str, ...]
    decision: Decision | None


@dataclass(frozen=True)
class Network:
    """A run with its models; its methods compute, and belong in the thread that does.

    Attributes:
        predictor: The run with its models.
        preparation: The way from an image to the input of its models.
        methods: Titles of the methods that apply to all of its models, by name; the mask is the last.
        one_class: Whether each case has exactly one class.
    """

    predictor: Predictor
    preparation: Preparation
    methods: dict[str, str]
    one_class: bool
    _generators: dict[str, list[dict[str, Generator]]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, path: Path | str, device: str = "auto") -> Network:
        """Load the models of a run.

        Raises:
            UserError: The folder is not a run, a model is damaged, or the device is not available.
        """
        run = Run.open(path)
        predictor = Predictor.of(run, device)
        of_each = [presets(models.scoring(model), run.config.input.size) for model in predictor.models]
        methods = {
            name: preset.title
            for name, preset in of_each[0].items()
            if all(name in others for others in of_each)
        }
        size = run.config.input.size
        nothing = Subject(
            "", torch.zeros(1, size, size), (), None, None, None, Frame(size, size, size), "pad"
        )
        if not run.config.model.reads_gaze and _has_mask(predictor, nothing):
            methods[MASK] = "decoder's mask"
        return cls(predictor, Preparation.of(run), methods, run.exclusive)

    @property
    def run(self) -> Run:
        """The run."""
        return self.predictor.run

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.run.classes

    def read(self, subject: Subject) -> Reading:
        """Predict an image."""
        predicted = self.predictor([subject])
        kind, rule = self.run.config.objective.classification, self.predictor.referral
        of_each = np.concatenate(
            [probabilities(output.logits, kind).cpu().double().numpy() for output in predicted.outputs]
        )
        row = predicted.probabilities[0]
        if self.one_class:
            names: tuple[str, ...] = (self.classes[int(row.argmax())],)
        else:
            names = tuple(name for name, p in zip(self.classes, row, strict=True) if p >= THRESHOLD)
        return Reading(
            row,
            of_each,
            None if rule is None else rule.calibrated(predicted.probabilities)[0],
            names,
            None if predicted.decisions is None else predicted.decisions[0],
        )

    def map_of(
        self, subject: Subject, method: str, target: str, *, smoothed: bool = False
    ) -> NDArray[np.float32]:
        """Make the map (S, S) of an image, in [0, 1].

        Args:
            subject: The image.
            method: Name of one of `methods`.
            target: Class that is explained.
            smoothed: Whether a heatmap is smoothed as in the run's report; the mask is not.
        """
        index = torch.tensor([self.classes.index(target)])
        if method == MASK:
            mask = self.predictor.masks(self.predictor([subject]).outputs, index)
            assert mask is not None
            plane: NDArray[np.float32] = mask[0]
            return plane
        explainer = Explainer(self.predictor, self._made(method), target)
        made = explainer.maps(*self.predictor.inputs([subject]), [index], _not_told)
        heatmap: NDArray[np.float32] = made[0][method, target]
        return smooth(heatmap[None], subject, self.run.config)[0] if smoothed else heatmap

    def _made(self, method: str) -> Sequence[dict[str, Generator]]:
        """The generator of a method for each model."""
        if method not in self._generators:
            self._generators[method] = [
                generators([method], models.scoring(model), seed=0, reference=None)
                for model in self.predictor.models
            ]
        return self._generators[method]


def _has_mask(predictor: Predictor, subject: Subject) -> bool:
    return predictor.masks(predictor([subject]).outputs, torch.zeros(1, dtype=torch.int64)) is not None


def _not_told(images: int) -> None:
    """Take no notice of the progress."""
