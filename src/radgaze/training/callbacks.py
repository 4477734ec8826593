"""Callbacks of a training: progress bar, history and early stopping."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import lightning as L
import polars as pl
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger

from radgaze.console import Bar, is_live, progress, say
from radgaze.runs import training_images
from radgaze.runs.controls import WORDS
from radgaze.runs.history import read_history
from radgaze.tables import write_csv
from radgaze.training.loggers import remove_links
from radgaze.training.module import GazeGuided


class EpochBar(L.Callback):
    """One progress bar over all steps, with the last epoch's loss and AUC on a split.

    Without a terminal, each epoch has a line.
    """

    def __init__(self, name: str, split: str = "validate") -> None:
        self.name, self.split = name, split
        self._stack = ExitStack()
        self._bar: Bar | None = None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        total = int(trainer.num_training_batches) * int(trainer.max_epochs or 0)
        if trainer.is_global_zero:
            self._bar = self._stack.enter_context(progress(f"Training {self.name}", total=total))
            self._bar.advance(trainer.global_step)

    def on_train_batch_end(self, trainer: L.Trainer, *args: object, **kwargs: object) -> None:
        if self._bar is not None:
            self._bar.advance()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self._bar is not None:
            metrics = trainer.callback_metrics
            loss, auc = (
                float(metrics.get(name, float("nan"))) for name in ("train/loss", f"{self.split}/auc")
            )
            epoch = f"{trainer.current_epoch + 1}/{trainer.max_epochs}"
            split = "" if self.split == "validate" else f"{self.split} "
            self._bar.describe(f"{self.name} {epoch}, loss {loss:.3f}, {split}AUC {auc:.3f}")
            if not is_live():
                self._bar.tell()

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._stack.close()
        self._bar = None

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self._stack.close()
        self._bar = None


class LateLogger(L.Callback):
    """Make a logger when training starts, and give it the run's settings.

    Some write files as soon as they are made, and the run's folder must be empty before.

    Args:
        make: Function that makes the logger.
        values: The settings.
    """

    def __init__(self, make: Callable[[], Logger | Literal[False]], values: Mapping[str, object]) -> None:
        self.make, self.values = make, dict(values)

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            made = self.make()
            trainer.logger = made or None

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.logger is not None:
            trainer.logger.log_hyperparams(self.values)  # starts those that start when they are first used
        self._remove_links(trainer)

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self._remove_links(trainer)

    def _remove_links(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            remove_links(Path(trainer.default_root_dir))


class History(L.Callback):
    """Write a row of `history.csv` after each epoch, so that none is lost when training stops."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._started = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        row: dict[str, float | int] = {"epoch": trainer.current_epoch}
        row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        row["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        row["seconds"] = time.perf_counter() - self._started
        table = pl.DataFrame([row])
        if self.path.is_file():
            before = read_history(self.path).filter(pl.col("epoch") < trainer.current_epoch)
            table = pl.concat([before, table], how="diagonal_relaxed")
        write_csv(table, self.path)


class ShownImages(L.Callback):
    """Write the first training images of a run that changes them, see `runs.training_images`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: L.Trainer, *args: object, **kwargs: object) -> None:
        module = trainer.lightning_module
        if isinstance(module, GazeGuided) and module.shown:
            training_images.write(module.shown, self.path)
            module.shown = []


class Begun(L.Callback):
    """Record whether the training loop has begun, which is after everything in a checkpoint was restored."""

    def __init__(self) -> None:
        self.true = False

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.true = True


class Patience(EarlyStopping):
    """Early stopping that checkpoints preserve: a run that it stopped trains no further epoch if resumed.

    The patience is that of the configuration, which may be another one than before.
    """

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        super().load_state_dict({**state_dict, "patience": self.patience})
        if self.wait_count < self.patience:
            self.stopped_epoch = 0

    def on_fit_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.wait_count >= self.patience:  # as the checkpoint has it
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.stopped_epoch and trainer.is_global_zero:
            say(
                f"stopped after epoch {self.stopped_epoch + 1} of {trainer.max_epochs}: for {self.patience} "
                f"epochs the AUC was no better than {float(self.best_score):.3f} (`trainer.patience`)"
            )


def announce(
    train: int,
    with_gaze: int,
    with_boxes: int,
    validate: int,
    gaze_turns: float | None = None,
    control: str = "none",
) -> None:
    """Print the numbers of cases.

    Args:
        train: Number of training cases.
        with_gaze: Number of training cases with gaze.
        with_boxes: Number of training cases with boxes or masks in place of gaze.
        validate: Number of validation cases.
        gaze_turns: Mean number of times that a case with gaze is drawn in an epoch; None if each case is
            drawn once.
        control: What stands in for gaze (`GazeConfig.control`).
    """
    if control != "none":
        say(
            f"{train:,} training cases; `gaze.control={control}`: on {with_gaze + with_boxes:,} of them, "
            f"{WORDS[control]} stands in for their own gaze; {validate:,} validation cases"
        )
        _say_turns(gaze_turns)
        return
    having = f"{with_gaze:,} of them with gaze"
    if with_boxes:
        only = f"{with_boxes:,} of them with boxes or masks"
        having = f"{having}, {with_boxes:,} with boxes or masks in its place" if with_gaze else only
    say(f"{train:,} training cases, {having}; {validate:,} validation cases")
    _say_turns(gaze_turns, "gaze" if with_gaze or not with_boxes else "boxes or masks")


def _say_turns(gaze_turns: float | None, what: str = "gaze") -> None:
    if gaze_turns is not None:
        say(f"an epoch shows those without {what} once, those with {what} {gaze_turns:.1f} times on average")
