"""The result of a run for one image, as its objects state it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radgaze.clinic.objects.source import Source
from radgaze.clinic.objects.threshold import Thresholds
from radgaze.evaluation.referral.selective import Decision
from radgaze.gaze.spec import Geometry


@dataclass(frozen=True)
class Model:
    """A model, as objects identify it.

    Attributes:
        version: Version of radgaze.
        weights: SHA-256 of the weights; of a vote, of its runs' weights.
        experiment: Name of the experiment.
        method: Method of the heatmap, with how it was smoothed, in words.
        thresholds: Thresholds of the binary regions.
        temperature: Temperature of the run's calibration; None where it was not calibrated.
    """

    version: str
    weights: str
    experiment: str
    method: str
    thresholds: Thresholds
    temperature: float | None


@dataclass(frozen=True)
class Reading:
    """The result of a model for an image.

    Attributes:
        source: The image.
        geometry: Position of the upright image on the maps.
        model: The model.
        probabilities: Probability of each class.
        calibrated: Probability of each class after temperature scaling; None where the run was not
            calibrated.
        predicted: The predicted classes.
        decision: Whether the prediction is accepted; None where the run has no rule.
        heatmaps: Smoothed heatmap (S, S) of each class, in [0, 1].
        mask: The decoder's mask (S, S) of the most probable class, in [0, 1]; None without a decoder.
        uids: UIDs, by level and kind, see `identity.uid`.
    """

    source: Source
    geometry: Geometry
    model: Model
    probabilities: Mapping[str, float]
    calibrated: Mapping[str, float] | None
    predicted: tuple[str, ...]
    decision: Decision | None
    heatmaps: Mapping[str, NDArray[np.float32]]
    mask: NDArray[np.float32] | None
    uids: UidsOf


@dataclass(frozen=True)
class UidsOf:
    """UIDs of the objects of an image; see `identity.uid`.

    Attributes:
        image: SOP Instance UID of the image.
        settings: What the objects depend on.
    """

    image: str
    settings: Mapping[str, str | float | bool | None]

    def __call__(self, level: str, kind: str) -> str:
        """Make the UID of a level of a kind of object."""
        from radgaze.clinic.objects.identity import uid

        return uid(level, self.image, kind, self.settings)
