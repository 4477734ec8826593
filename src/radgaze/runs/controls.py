"""The controls of gaze in words; `radgaze.store.controls` makes them. Does not import torch."""

from __future__ import annotations

from collections.abc import Mapping

from radgaze.runs.config import Config

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


def unsuited(config: Config) -> str | None:
    """State why a run cannot have its control, as a rule for `gaze.control`; None where it can."""
    control, model = config.gaze.control, config.model
    if control == "none":
        return None
    if not config.uses_gaze:
        return f"{control} has no effect: neither the objective nor the model uses gaze; leave it out"
    if model.reads_frames and control not in SEQUENCES:
        return (
            f"cannot be {control}, a map: the model {model.architecture} reads fixations in their order; "
            f"give {' or '.join(SEQUENCES)}"
        )
    if model.reads_gaze and control == "box":
        return f"cannot be box: the label selects the boxes, and the model {model.architecture} would read it"
    return None
