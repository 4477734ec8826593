"""The controls of gaze in words; `radgaze.store.controls` makes them. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, str] = {
    "shuffled": "the gaze on a case of another patient",
    "shuffled_in_class": "the gaze on a case of another patient with the same classes",
    "mean": "the mean gaze of the training cases",
    "lungs": "the shape of the lungs",
    "uniform": "a constant map",
    "box": "the boxes and masks of the case's findings",
}
"""What stands in for the gaze on a case in training, by the name of the control."""

SEQUENCES = ("shuffled", "shuffled_in_class")
"""The controls that are fixations, in their order; the others are maps."""
