"""Make the explanations of a batch of images with a run's model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from radgaze.attribution.generator import Generator
from radgaze.explaining.explanation import Explanation, Maps
from radgaze.predicting.inputs import Subject
from radgaze.predicting.predictor import Predictor
from radgaze.runs import vote


@dataclass(frozen=True)
class Explainer:
    """A run with the methods that explain its own model, or those of the runs that it is the vote of.

    Attributes:
        predictor: The run with its models.
        generators: The generators of each model, by method; all models with the same methods.
        target: Class that is explained: "predicted", a class, or "all".
    """

    predictor: Predictor
    generators: Sequence[Mapping[str, Generator]]
    target: str

    def __call__(self, subjects: Sequence[Subject], advance: Callable[[int], object]) -> list[Explanation]:
        """Explain a batch of images.

        Args:
            subjects: The images; of a model that reads gaze, only images whose further inputs have one shape.
            advance: Function that is called with the number of images after each method of each model.
        """
        if not subjects:
            return []
        predicted, classes = self.predictor(subjects), self.predictor.run.classes
        scores = predicted.probabilities
        decisions = predicted.decisions or (None,) * len(subjects)
        targets = self._targets(torch.from_numpy(scores.argmax(1)))
        mask = self.predictor.masks(predicted.outputs, targets[0]) if len(targets) == 1 else None
        maps = self.maps(*self.predictor.inputs(subjects), targets, advance)
        return [
            Explanation(
                subject,
                dict(zip(classes, scores[i].tolist(), strict=True)),
                tuple(classes[int(index[i])] for index in targets),
                maps[i],
                None if mask is None else mask[i],
                decisions[i],
            )
            for i, subject in enumerate(subjects)
        ]

    def maps(
        self,
        images: Tensor,
        other_inputs: tuple[Tensor, ...],
        targets: Sequence[Tensor],
        advance: Callable[[int], object],
    ) -> list[Maps]:
        """Make the heatmaps of each image, by method and class; the mean over the models.

        Args:
            images: Images (B, 1, S, S), see `Predictor.inputs`.
            other_inputs: Further inputs of the models.
            targets: Indices (B,) of the explained class of each image, once per explained class.
            advance: Function that is called with the number of images after each method of each model.
        """
        of_each = [self._maps_of(each, images, other_inputs, targets, advance) for each in self.generators]
        if len(of_each) == 1:
            return of_each[0]
        return [
            {
                key: vote.mean(np.stack([maps[key] for maps in of_image])).astype(np.float32)
                for key in of_image[0]
            }
            for of_image in zip(*of_each, strict=True)
        ]

    def _maps_of(
        self,
        generators: Mapping[str, Generator],
        images: Tensor,
        other_inputs: tuple[Tensor, ...],
        targets: Sequence[Tensor],
        advance: Callable[[int], object],
    ) -> list[Maps]:
        maps: list[Maps] = [{} for _ in images]
        classes = self.predictor.run.classes
        for name, generator in generators.items():
            for index in targets:
                heatmaps = generator(images, index.to(images.device), also=other_inputs)
                planes = heatmaps.float().cpu().numpy()[:, 0]
                for of_image, k, plane in zip(maps, index.tolist(), planes, strict=True):
                    of_image[name, classes[k]] = plane
            advance(len(images))
        return maps

    def _targets(self, predicted: Tensor) -> list[Tensor]:
        """Indices (B,) of the explained class of each image, once per explained class."""
        if self.target == "predicted":
            return [predicted]
        classes = self.predictor.run.classes
        names = classes if self.target == "all" else (self.target,)
        return [torch.full_like(predicted, classes.index(name)) for name in names]
