"""A run's models and its rule for referring cases, applied to a batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from radgaze import models
from radgaze.devices import usable_device
from radgaze.errors import UserError, call
from radgaze.evaluation.referral.perturbation import given
from radgaze.evaluation.referral.selective import FILE, Decision, Referral
from radgaze.models.output import Output
from radgaze.objectives.triangle import probabilities
from radgaze.predicting.inputs import Subject
from radgaze.runs import vote
from radgaze.runs.run import Run


@dataclass(frozen=True)
class Predicted:
    """Output of a run's models for a batch of images.

    Attributes:
        outputs: Output of each model.
        probabilities: Probabilities (B, C) of the run: those of its model, or combined by its vote.
        decisions: Whether each prediction is accepted; None where the run has no rule for it.
    """

    outputs: tuple[Output, ...]
    probabilities: NDArray[np.float64]
    decisions: tuple[Decision, ...] | None


@dataclass(frozen=True)
class Predictor:
    """A run with its models in evaluation mode.

    Attributes:
        run: The run.
        models: Its own model, or those of the runs that it is the vote of.
        referral: The run's rule for accepting predictions, or None.
    """

    run: Run
    models: Sequence[nn.Module]
    referral: Referral | None

    @classmethod
    def of(cls, run: Run, device: str = "auto", *, masks: bool = True) -> Predictor:
        """Load the models of a run.

        Args:
            run: The run.
            device: Device of the models: cpu, cuda or auto.
            masks: Whether masks are needed; without them decoders are not computed.

        Raises:
            UserError: The device is not available, a model is damaged, or the rule is of other classes.
        """
        used = usable_device(device)
        loaded = [voter.model(used) for voter in run.voters]
        return cls(run, loaded if masks else [models.scoring(model) for model in loaded], _referral(run))

    def __call__(self, subjects: Sequence[Subject]) -> Predicted:
        """Predict a batch of images; of a model that reads gaze, whose further inputs have one shape."""
        images, other_inputs = self.inputs(subjects)
        outputs, kind = list[Output](), self.run.config.objective.classification
        with torch.inference_mode():
            for model in self.models:
                outputs.append(model(images, *other_inputs))
            of_each = [probabilities(output.logits, kind).cpu().double().numpy() for output in outputs]
        scores = vote.probabilities(self.run.vote, np.stack(of_each))
        decisions: tuple[Decision, ...] | None = None
        if self.referral is not None:
            scored = given(self.referral, self.models[0], images, scores, other_inputs)
            decisions = tuple(self.referral.decide(scored))
        return Predicted(tuple(outputs), scores, decisions)

    def inputs(self, subjects: Sequence[Subject]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the images (B, 1, S, S) and the further inputs of the models, on their device."""
        device = next(self.models[0].parameters()).device
        images = torch.stack([subject.image for subject in subjects]).to(device)
        parts = zip(*(subject.other_inputs for subject in subjects), strict=True)
        return images, tuple(torch.cat(part).to(device) for part in parts)

    def masks(self, outputs: Sequence[Output], target: Tensor) -> NDArray[np.float32] | None:
        """Return the masks (B, S, S) of a class for each image, combined; None where a model has none.

        Args:
            outputs: Output of each model.
            target: Index of the class of each image, (B,).
        """
        with torch.inference_mode():
            masks = [output.mask_of(target.to(output.logits.device)) for output in outputs]
        made = [mask[:, 0].float().sigmoid().cpu().numpy() for mask in masks if mask is not None]
        if len(made) < len(masks):
            return None
        rule = "mean" if self.run.vote is None else self.run.vote.rule
        return made[0] if len(made) == 1 else vote.combined(rule, np.stack(made)).astype(np.float32)


def _referral(run: Run) -> Referral | None:
    """The run's rule for accepting predictions."""
    referral = Referral.read(run.path)
    if referral is not None and referral.classes != run.classes:
        raise UserError(
            f"{run.path / FILE} is of other classes; choose again: {call('evaluate', run.path, reject=True)}"
        )
    return referral
