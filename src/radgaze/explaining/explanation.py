"""The explanation of one image: its probabilities and its maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radgaze.evaluation.referral.selective import Decision
from radgaze.predicting.inputs import Subject

Maps = dict[tuple[str, str], NDArray[np.float32]]
"""Heatmaps (S, S) in [0, 1], by method and class."""


@dataclass(frozen=True)
class Explanation:
    """The explanation of one image.

    Attributes:
        subject: The image.
        probabilities: Probability of each class.
        targets: The classes whose maps were made.
        maps: The heatmaps.
        mask: Probabilities of the decoder's mask, (S, S); None for a model without a decoder, and for several
            explained classes.
        decision: Whether the prediction is accepted; None where the run has no rule for it
            (`selective.Referral`).
    """

    subject: Subject
    probabilities: dict[str, float]
    targets: tuple[str, ...]
    maps: Maps
    mask: NDArray[np.float32] | None
    decision: Decision | None

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])
