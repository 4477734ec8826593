"""Terms on the network's further outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from radgaze.objectives.step import MissingError, Step
from radgaze.objectives.terms.base import Term, register


@register("auxiliary")
@dataclass(frozen=True)
class Auxiliary(Term):
    """The classification loss of an auxiliary classifier's scores."""

    @property
    def summary(self) -> str:
        return "a second classifier on the same encoder learned the labels"

    def values(self, step: Step) -> Tensor:
        logits = step.run.outputs.aux_logits
        if logits is None:
            raise MissingError("the model has no auxiliary classifier")
        if step.config.classification == "sigmoid":
            targets = step.labels.float()
            return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(1)
        return F.cross_entropy(logits.float(), step.labels.argmax(1), reduction="none")
