"""Make the explanations of a batch of images with a run's model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from radgaze.attribution.generator import Generator
from radgaze.evaluation.referral.perturbation import given
from radgaze.evaluation.referral.selective import Decision, Referral
from radgaze.explaining.explanation import Explanation, Maps
from radgaze.explaining.inputs import Subject
from radgaze.objectives.triangle import probabilities
from radgaze.runs.run import Run


@dataclass(frozen=True)
class Explainer:
    """A run's model with the methods that explain it.

    Attributes:
        run: The run.
        model: Model of the run, in evaluation mode.
        generators: The generators, by method.
        target: Class that is explained: "predicted", the name of a class, or "all".
        referral: The run's rule for accepting predictions; None where it has none.
    """

    run: Run
    model: nn.Module
    generators: Mapping[str, Generator]
    target: str
    referral: Referral | None

    def __call__(self, subjects: Sequence[Subject], advance: Callable[[int], object]) -> list[Explanation]:
        """Explain a batch of images.

        Args:
            subjects: The images; of a model that reads gaze, only images whose further inputs have one shape.
            advance: Function that is called with the number of images after each method.
        """
        run, device = self.run, next(self.model.parameters()).device
        images = torch.stack([subject.image for subject in subjects]).to(device)
        inputs = zip(*(subject.other_inputs for subject in subjects), strict=True)
        other_inputs = tuple(torch.cat(parts).to(device) for parts in inputs)
        with torch.inference_mode():
            output = self.model(images, *other_inputs)
            scores = probabilities(output.logits, run.config.objective.classification).double().cpu().numpy()
        decisions: list[Decision | None] = [None] * len(subjects)
        if self.referral is not None:
            decisions = [
                *self.referral.decide(given(self.referral, self.model, images, scores, other_inputs))
            ]
        targets = self._targets(torch.from_numpy(scores.argmax(1)))
        mask = None
        if len(targets) == 1:
            with torch.inference_mode():
                mask = output.mask_of(targets[0].to(device))
        maps = self._maps(images, other_inputs, targets, advance)
        return [
            Explanation(
                subject,
                dict(zip(run.classes, scores[i].tolist(), strict=True)),
                tuple(run.classes[int(index[i])] for index in targets),
                maps[i],
                None if mask is None else mask[i, 0].float().sigmoid().cpu().numpy(),
                decisions[i],
            )
            for i, subject in enumerate(subjects)
        ]

    def _maps(
        self,
        images: Tensor,
        other_inputs: tuple[Tensor, ...],
        targets: Sequence[Tensor],
        advance: Callable[[int], object],
    ) -> list[Maps]:
        """Heatmaps of each image, by method and class."""
        maps: list[Maps] = [{} for _ in images]
        for name, generator in self.generators.items():
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
