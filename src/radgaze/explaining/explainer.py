"""Make the explanations of a batch of images with a run's model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze.attribution.generator import Generator
from radgaze.evaluation.referral.perturbation import given
from radgaze.evaluation.referral.selective import Decision, Referral
from radgaze.explaining.explanation import Explanation, Maps
from radgaze.explaining.inputs import Subject
from radgaze.models.output import Output
from radgaze.objectives.triangle import probabilities
from radgaze.runs import vote
from radgaze.runs.run import Run


@dataclass(frozen=True)
class Voice:
    """A trained run with the methods that explain its model.

    Attributes:
        run: The run.
        model: Model of the run, in evaluation mode.
        generators: The generators, by method.
    """

    run: Run
    model: nn.Module
    generators: Mapping[str, Generator]

    def predict(self, images: Tensor, other_inputs: tuple[Tensor, ...]) -> tuple[Output, NDArray[np.float64]]:
        """The model's output for images, and their probabilities (B, C)."""
        with torch.inference_mode():
            output: Output = self.model(images, *other_inputs)
            scores = probabilities(output.logits, self.run.config.objective.classification)
        return output, scores.double().cpu().numpy()


@dataclass(frozen=True)
class Explainer:
    """A run with the methods that explain it: its own model, or those of the runs that it is the vote of.

    Attributes:
        run: The run.
        voices: The trained runs, each with its model; all with the same methods.
        target: Class that is explained: "predicted", a class, or "all".
        referral: The run's rule for accepting predictions, or None.
    """

    run: Run
    voices: Sequence[Voice]
    target: str
    referral: Referral | None

    def __call__(self, subjects: Sequence[Subject], advance: Callable[[int], object]) -> list[Explanation]:
        """Explain a batch of images.

        Args:
            subjects: The images; of a model that reads gaze, only images whose further inputs have one shape.
            advance: Function that is called with the number of images after each method of each model.
        """
        run, device = self.run, next(self.voices[0].model.parameters()).device
        images = torch.stack([subject.image for subject in subjects]).to(device)
        inputs = zip(*(subject.other_inputs for subject in subjects), strict=True)
        other_inputs = tuple(torch.cat(parts).to(device) for parts in inputs)
        outputs, of_each = zip(*(voice.predict(images, other_inputs) for voice in self.voices), strict=True)
        scores = vote.probabilities(run.vote, np.stack(of_each))
        decisions: list[Decision | None] = [None] * len(subjects)
        if self.referral is not None:
            model = self.voices[0].model
            decisions = [*self.referral.decide(given(self.referral, model, images, scores, other_inputs))]
        targets = self._targets(torch.from_numpy(scores.argmax(1)))
        mask = self._masks(outputs, targets[0].to(device)) if len(targets) == 1 else None
        maps = self._maps(images, other_inputs, targets, advance)
        return [
            Explanation(
                subject,
                dict(zip(run.classes, scores[i].tolist(), strict=True)),
                tuple(run.classes[int(index[i])] for index in targets),
                maps[i],
                None if mask is None else mask[i],
                decisions[i],
            )
            for i, subject in enumerate(subjects)
        ]

    def _masks(self, outputs: Sequence[Output], target: Tensor) -> NDArray[np.float32] | None:
        """The masks (B, S, S) of a class for each image, combined; None where a model has none."""
        with torch.inference_mode():
            masks = [output.mask_of(target) for output in outputs]
        made = [mask[:, 0].float().sigmoid().cpu().numpy() for mask in masks if mask is not None]
        if len(made) < len(masks):
            return None
        rule = "mean" if self.run.vote is None else self.run.vote.rule
        return made[0] if len(made) == 1 else vote.combined(rule, np.stack(made)).astype(np.float32)

    def _maps(
        self,
        images: Tensor,
        other_inputs: tuple[Tensor, ...],
        targets: Sequence[Tensor],
        advance: Callable[[int], object],
    ) -> list[Maps]:
        """Heatmaps of each image, by method and class; the mean over the models."""
        of_each = [self._maps_of(voice, images, other_inputs, targets, advance) for voice in self.voices]
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
        voice: Voice,
        images: Tensor,
        other_inputs: tuple[Tensor, ...],
        targets: Sequence[Tensor],
        advance: Callable[[int], object],
    ) -> list[Maps]:
        maps: list[Maps] = [{} for _ in images]
        for name, generator in voice.generators.items():
            for index in targets:
                heatmaps = generator(images, index.to(images.device), also=other_inputs)
                planes = heatmaps.float().cpu().numpy()[:, 0]
                for of_image, k, plane in zip(maps, index.tolist(), planes, strict=True):
                    of_image[name, self.run.classes[k]] = plane
            advance(len(images))
        return maps

    def _targets(self, predicted: Tensor) -> list[Tensor]:
        """Indices (B,) of the explained class of each image, once per explained class."""
        if self.target == "predicted":
            return [predicted]
        classes = self.run.classes if self.target == "all" else (self.target,)
        return [torch.full_like(predicted, self.run.classes.index(name)) for name in classes]
