"""A grid as values: its jobs and stores, and what its plans have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.reproduction.options import Matrix, Protocol, Selection
from radgaze.runs.config import Config

SPLITS = {"validation": "validate", "test": "test"}
"""The split whose AUC selects the checkpoint, as a run's configuration names it."""


@dataclass(frozen=True)
class Job:
    """One run of the grid.

    Attributes:
        experiment: Name of the experiment, with its control (`experiments.with_control`).
        number: Seed of the run; in a cross-validation, repetition · folds + fold.
        label: Label in messages, such as "seed 42".
        config: Resolved configuration of the run.
        store: Name of the store; empty in a grid on one store.
    """

    experiment: str
    number: int
    label: str = field(compare=False)
    config: Config = field(compare=False, repr=False)
    store: str = ""

    @property
    def row(self) -> str:
        """The experiment and its store, such as "baseline" or "marker/baseline"."""
        return f"{self.store}/{self.experiment}" if self.store else self.experiment

    @property
    def name(self) -> str:
        """Path of the run's folder below `runs`, such as "baseline/seed-42"."""
        return f"{self.row}/seed-{self.number}"

    @property
    def processes(self) -> int:
        """Number of processes that train together."""
        devices = self.config.trainer.devices
        return max(1, int(devices)) if str(devices).lstrip("-").isdecimal() else 1

    @property
    def gpus(self) -> int:
        """Number of GPUs to train on, 0 for the CPU; 1 where no number is configured, since more would
        enlarge the batches."""
        return 0 if self.config.trainer.accelerator == "cpu" else self.processes

    def __str__(self) -> str:
        return f"{self.row} {self.label}"


@dataclass(frozen=True)
class PlannedStore:
    """One of several stores of a grid.

    Attributes:
        identity: Identity of the preparation of the store, from its manifest.
        contents: Hashes of the store's contents, see `origin.contents`.
    """

    identity: Mapping[str, object]
    contents: Mapping[str, str]


@dataclass(frozen=True)
class Plan:
    """A whole grid.

    Attributes:
        protocol: The paper's ("faithful") or ours ("honest").
        selection: Split whose AUC selects the checkpoint.
        folds: Number of folds of the cross-validation; None without one.
        store: Absolute path of the store; empty where there are `stores`.
        identity: Identity of the preparation of the store, from its manifest.
        contents: Hashes of the store's contents, see `origin.contents`.
        overrides: Nested fields that replace those of every experiment.
        jobs: The runs, seed by seed, so that every experiment soon has a run.
        matrix: The paper's experiments on one store ("paper"), or experiments on several stores ("reasons").
        stores: The stores of the matrix "reasons", by absolute path.
    """

    protocol: Protocol
    selection: Selection
    folds: int | None
    store: str
    identity: Mapping[str, object]
    contents: Mapping[str, str]
    overrides: Mapping[str, object]
    jobs: tuple[Job, ...]
    matrix: Matrix = "paper"
    stores: Mapping[str, PlannedStore] = field(default_factory=dict)


def controlled(config: Config, controls: Sequence[str]) -> Iterator[str]:
    """Yield the names of an experiment with each of the controls that it can have, see `unsuited`.

    Raises:
        UserError: The configuration has a control itself.
    """
    if controls and config.gaze.control != "none":
        raise UserError("`controls` sets `gaze.control` of each run itself; leave one of the two out")
    if not controls:
        return
    from radgaze.runs.requirements import unsuited  # imports torch

    for control in dict.fromkeys(controls):
        gaze = replace(config.gaze, control=control)  # type: ignore[arg-type]  # the options check the name
        if unsuited(replace(config, gaze=gaze)) is None:
            yield experiments.with_control(config.experiment, control)


def check_overrides(overrides: Mapping[str, object]) -> None:
    """Check the fields that replace those of every experiment.

    Raises:
        UserError: A number is not finite.
    """
    for name, value in experiments.flat(overrides).items():
        if isinstance(value, float) and not isfinite(value):  # JSON has no such number
            raise UserError(f"`{name}` must be a finite number, got {value}")
