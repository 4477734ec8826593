"""An epoch of `radgaze train` from a store, beside bare steps on a batch in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import polars as pl
import torch
from torch import Tensor

from benchmarks.results import Cell, Result
from benchmarks.streaming import write_store
from radgaze import models
from radgaze.objectives import triangle
from radgaze.runs import settings
from radgaze.runs.config import Config
from radgaze.runs.memory import keep_memory_of
from radgaze.store.batch import Batch
from radgaze.store.store import Store
from radgaze.training import run_folder
from radgaze.training.checkpoints import Checkpoints
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.trainer import best_checkpoint, make_trainer

BOUND = 0.05
"""Largest share of the bare steps' time that data and logging may take."""


def run(
    *,
    experiments: tuple[str, ...] = ("baseline", "set3_guided"),
    encoder: str = "timm-efficientnet-b0",
    steps: int = 12,
    batch: int = 8,
    size: int = 224,
    side: int = 256,
    repeats: int = 5,
    threads: int = 1,
) -> Result:
    """Time epochs of each experiment, and as many bare steps after each.

    Args:
        experiments: Names of the experiments.
        encoder: Encoder, by its name in segmentation_models_pytorch.
        steps: Training steps in an epoch.
        batch: Cases in a step.
        size: Side of the model's images in pixels.
        side: Side of the stored images in pixels.
        repeats: Epochs that count; one before them warms up.
        threads: Number of torch threads.
    """
    torch.set_num_threads(threads)
    rows = []
    for name in experiments:
        config = settings.resolve(
            name,
            model={"encoder": encoder, "weights": "none"},
            input={"size": size},
            objective={"classification": "softmax"},
            optimisation={"batch_size": batch},
            trainer={"max_epochs": repeats + 1, "patience": 0, "accelerator": "cpu"},
        )
        with TemporaryDirectory() as folder:
            turns = _turns(config, _store(Path(folder) / "store", steps * batch, batch, side), Path(folder))
        rows.append(_row(name, turns))
    return Result(
        "An epoch of training from the store",
        "The training steps of an epoch as `radgaze train` runs them (Lightning, data module without "
        "workers, images from the store, gaze maps, logging, progress) from its start to the end of its last "
        "step, and bare steps of the same model: forward, heatmaps, loss, backward, clipping and AdamW on "
        "one batch in memory, with its gaze maps made before. They take turns in one run; overhead is the "
        "median of the turns' ratios − 1. Loading is the part of the epoch between two steps. Validation and "
        "history, which follow the last step, are not in the epoch's time.",
        rows,
        {
            "encoder": encoder,
            "steps": steps,
            "batch": batch,
            "size": size,
            "repeats": repeats,
            "threads": threads,
        },
        [
            f"The overhead is to be below {BOUND:.0%}, by the CPU's seconds: those of the wall clock depend "
            "on what else runs."
        ],
    )


@dataclass(frozen=True)
class Seconds:
    """A time by the wall clock and of the process's CPUs."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> Seconds:
        """The present time."""
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: Seconds) -> Seconds:
        """The time from another until this one."""
        return Seconds(self.wall - start.wall, self.cpu - start.cpu)


@dataclass
class Turn:
    """Times of an epoch, of the loading in it, of as many bare steps, and of what followed its last step."""

    epoch: Seconds
    loading: float
    bare: Seconds
    after: float


@dataclass
class Alternation(L.Callback):
    """Times each epoch, and takes as many bare steps after it.

    Attributes:
        bare: Takes one step on a batch.
        turns: The times.
    """

    bare: BareStep
    turns: list[Turn] = field(default_factory=list)
    _start: Seconds = field(default_factory=Seconds.now)
    _last: Seconds = field(default_factory=Seconds.now)
    _loading: float = 0.0
    _steps: int = 0

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._start = self._last = Seconds.now()
        self._loading, self._steps = 0.0, 0

    def on_train_batch_start(
        self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._loading += Seconds.now().since(self._last).cpu
        self.bare.keep(batch)

    def on_train_batch_end(self, *args: object, **kwargs: object) -> None:
        self._last, self._steps = Seconds.now(), self._steps + 1

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        begun = Seconds.now()
        after, epoch = begun.since(self._last), self._last.since(self._start)
        for _ in range(self._steps):
            self.bare.step()
        self.turns.append(Turn(epoch, self._loading, Seconds.now().since(begun), after.cpu))


class BareStep:
    """The training step on one batch in memory, whose gaze maps are made once.

    Args:
        config: Configuration of the run.
        classes: Number of classes.
    """

    def __init__(self, config: Config, classes: int) -> None:
        self.module = GazeGuided(models.create(config.model, classes, config.input.size), config, classes)
        self.module.train()
        rate = config.optimisation.learning_rate
        self.optimiser = torch.optim.AdamW(self.module.model.parameters(), rate)
        self.clip_at = config.optimisation.clip_at
        self.batch: Batch | None = None

    def keep(self, batch: Batch) -> None:
        """Keep the first batch."""
        if self.batch is None:
            self.batch = batch
            made = _constant(self.module._gaze(batch))
            self.module._gaze = made  # type: ignore[method-assign]

    def step(self) -> None:
        """Take a step."""
        assert self.batch is not None
        loss = triangle.total(self.module.terms(self.batch), self.module.config.objective, {})
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.module.model.parameters(), self.clip_at)
        self.optimiser.step()


def _constant(maps: Tensor) -> Callable[[Batch], Tensor]:
    def gaze(batch: Batch) -> Tensor:
        return maps

    return gaze


def _turns(config: Config, store: Store, folder: Path) -> list[Turn]:
    """Train with the loop of `radgaze train`; the first epoch, which warms up, is left out."""
    keep_memory_of(config.model)
    L.seed_everything(config.seed, workers=True, verbose=False)
    alternation = Alternation(BareStep(config, len(store.classes)))
    out = folder / "run"
    checkpoints = Checkpoints(out)
    best = best_checkpoint(config, checkpoints.folder)
    trainer = make_trainer(config, out, checkpoints, best, [alternation])
    run_folder.make(out, resume=False)
    network = models.create(config.model, len(store.classes), config.input.size)
    module = GazeGuided(network, config, len(store.classes))
    trainer.fit(module, datamodule=StoreData(store, config))
    return alternation.turns[1:]


def _store(path: Path, train: int, validate: int, side: int) -> Store:
    write_store(path, train + validate, side)
    table = path / "cases.parquet"
    splits = ["train"] * train + ["validate"] * validate
    pl.read_parquet(table).with_columns(split=pl.Series(splits)).write_parquet(table)
    return Store.open(path)


def _row(name: str, turns: list[Turn]) -> dict[str, Cell]:
    overhead = {
        clock: median(getattr(turn.epoch, clock) / getattr(turn.bare, clock) - 1 for turn in turns)
        for clock in ("cpu", "wall")
    }
    return {
        "experiment": name,
        "epoch (CPU s)": median(turn.epoch.cpu for turn in turns),
        "bare steps (CPU s)": median(turn.bare.cpu for turn in turns),
        "overhead (CPU, %)": 100 * overhead["cpu"],
        "of it loading (CPU s)": median(turn.loading for turn in turns),
        "epoch (s)": median(turn.epoch.wall for turn in turns),
        "bare steps (s)": median(turn.bare.wall for turn in turns),
        "overhead (wall, %)": 100 * overhead["wall"],
        "after the last step (CPU s)": median(turn.after for turn in turns),
        "within": "yes" if overhead["cpu"] < BOUND else "no",
    }
