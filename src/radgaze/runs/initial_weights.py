"""RUN/initial_weights.json: the weights that a run's encoder started from, and the input that it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze import records
from radgaze.errors import UserError
from radgaze.models.weight_sources import is_path
from radgaze.records import Record, optional

if TYPE_CHECKING:
    from radgaze.models.config import ModelConfig
    from radgaze.runs.run import Run

FILE = "initial_weights.json"


@dataclass(frozen=True)
class InitialWeights(Record):
    """The initial weights of a run.

    Attributes:
        weights: Setting `model.weights`, of a path its last part.
        encoder: Setting `model.encoder`.
        input: Input of the encoder in words, see `Scale.words`; empty where it is not known.
        stated_by: What states this input, see `StatedInput`; empty where it is not known.
        taken: What was taken from a file or a hub, in words; None for other weights.
        tag: Tag of timm's usual weights for the encoder, if it started from them; None for other weights.
    """

    weights: str
    encoder: str
    input: str = ""
    stated_by: str = ""
    taken: str | None = optional()
    tag: str | None = optional()


def of_settings(config: ModelConfig) -> InitialWeights:
    """Describe the initial weights as far as settings tell."""
    named = config.weights
    if is_path(named):
        named = named.replace("\\", "/").rsplit("/", 1)[-1]
    return InitialWeights(named, config.encoder)


def write(weights: InitialWeights, run: Path) -> None:
    """Write the file of a run."""
    records.write(weights, run / FILE)


def read(run: Run) -> InitialWeights | None:
    """Read the initial weights of a run, of a vote those of its first run.

    Returns:
        What the file says, or the settings where there is none or it is damaged; None for a network whose
        encoder has no pretrained weights.
    """
    if run.config.model.has_own_encoder:
        return None
    folder = run.path if run.vote is None else run.path / run.vote.voters[0].path
    try:
        if (folder / FILE).is_file():
            return records.read(InitialWeights, folder / FILE, "remove it")
    except UserError:
        pass
    return of_settings(run.config.model)
