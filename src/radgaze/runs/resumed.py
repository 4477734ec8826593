"""RUN/resumed.json: the stages of a training that was resumed with other settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from radgaze import records
from radgaze.errors import UserError
from radgaze.records import Record
from radgaze.runs.config import Config

FILE = "resumed.json"

FIELDS = ("max_epochs", "accelerator", "devices", "num_nodes", "precision")
"""Settings of the trainer that may change when a run is resumed, and on which the weights depend."""


@dataclass(frozen=True)
class Stage:
    """A stage of a training.

    Attributes:
        epochs: Number of epochs that were done when it began.
        settings: Settings of the trainer, see `FIELDS`.
    """

    epochs: int
    settings: dict[str, str]


@dataclass(frozen=True)
class Stages(Record):
    """The stages of a training, at least two."""

    stages: tuple[Stage, ...]

    @property
    def words(self) -> str:
        """The settings that changed, as "trainer.max_epochs=3, from epoch 4 on trainer.max_epochs=6"."""
        changed = [name for name in FIELDS if len({stage.settings.get(name) for stage in self.stages}) > 1]
        settings = [
            ", ".join(f"trainer.{name}={stage.settings.get(name, '?')}" for name in changed)
            for stage in self.stages
        ]
        later = [
            f"from epoch {stage.epochs + 1} on {each}"
            for stage, each in zip(self.stages[1:], settings[1:], strict=True)
        ]
        return ", ".join([settings[0], *later])


def read(run: Path) -> Stages | None:
    """Read the stages of a run; None where its settings never changed, and where the file is damaged."""
    try:
        return records.read(Stages, run / FILE, "remove it") if (run / FILE).is_file() else None
    except UserError:
        return None


def note(run: Path, epochs: int, before: Config, config: Config) -> Stages | None:
    """Record that a run is resumed, if settings on which its weights depend have changed.

    Args:
        run: Folder of the run.
        epochs: Number of epochs that are done.
        before: Configuration with which the run was trained until now.
        config: Configuration with which it goes on.

    Returns:
        The stages of the run, if the one that begins is a new one; else None.
    """
    recorded = read(run)
    stages = [Stage(0, _settings(before))] if recorded is None else list(recorded.stages)
    # Of a stage that was stopped before its first epoch was over, nothing is left.
    stages = [stage for stage in stages if stage.epochs < epochs]
    stage = Stage(epochs, _settings(config))
    begins = stage.settings != stages[-1].settings and epochs < config.trainer.max_epochs
    if begins:
        stages.append(stage)
    if len(stages) > 1:
        records.write(Stages(tuple(stages)), run / FILE)
    else:
        (run / FILE).unlink(missing_ok=True)
    return Stages(tuple(stages)) if begins else None


def _settings(config: Config) -> dict[str, str]:
    return {name: str(getattr(config.trainer, name)) for name in FIELDS}
