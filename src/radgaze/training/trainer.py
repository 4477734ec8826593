"""Lightning's trainer with the settings and callbacks of a run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

from radgaze.errors import UserError
from radgaze.runs import training_images
from radgaze.runs.config import Config, TrainerConfig
from radgaze.runs.history import HISTORY
from radgaze.training import loggers
from radgaze.training.callbacks import EpochBar, History, LateLogger, Patience, ShownImages
from radgaze.training.checkpoints import Checkpoints


def make_trainer(
    config: Config, out: Path, checkpoints: Checkpoints, best: ModelCheckpoint, others: Sequence[Callback]
) -> L.Trainer:
    """Make the trainer of a run.

    Args:
        config: Configuration of the run.
        out: Folder of the run.
        checkpoints: Reads and writes the run's checkpoints.
        best: Callback that keeps the best epoch's checkpoint.
        others: Further callbacks, called after the run's own.

    Raises:
        UserError: Lightning cannot train with these settings here.
    """
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    settings, optimisation = config.trainer, config.optimisation
    callbacks = [*_callbacks(config, out, checkpoints, best), *others]
    # Those of extras are made by a callback.
    logger = False if settings.logger in loggers.EXTRAS else loggers.make(config, out)

    def trainer(strategy: str | DDPStrategy) -> L.Trainer:
        return L.Trainer(
            max_epochs=settings.max_epochs,
            accelerator=accelerator(settings),
            devices=settings.devices,
            num_nodes=settings.num_nodes,
            strategy=strategy,
            use_distributed_sampler=False,  # `StoreData` does it
            precision=precision(settings, config.protocol),  # type: ignore[arg-type]  # Lightning's Literal
            gradient_clip_val=None if optimisation.clip == "none" else optimisation.clip_at,
            gradient_clip_algorithm=None if optimisation.clip == "none" else optimisation.clip,
            logger=logger,
            callbacks=list(callbacks),  # Lightning may add to them
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic="warn",
            default_root_dir=out,
            plugins=[checkpoints],
        )

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "GPU available but not used")  # as the settings say
            made = trainer(settings.strategy)
            if isinstance(made.strategy, DDPStrategy) and settings.strategy in ("auto", "ddp"):
                # The decoder is not used where no edge has a mask. Statistics are synchronised as they are
                # made; sent before each batch, they would wait for processes that have no batch left to
                # validate.
                return trainer(DDPStrategy(find_unused_parameters=True, broadcast_buffers=False))
            return made
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"the settings of `trainer` cannot be used here: {reason}") from error


def best_checkpoint(config: Config, folder: Path) -> ModelCheckpoint:
    """Make the callback that keeps the checkpoint of the epoch with the highest AUC, or of all epochs."""
    every = config.trainer.keep_checkpoints == "all"
    return ModelCheckpoint(
        folder,
        "epoch-{epoch:03d}" if every else "best",
        monitor=f"{config.selection}/auc",
        mode="max",
        save_top_k=-1 if every else 1,
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )


def accelerator(settings: TrainerConfig) -> str:
    """Choose the value of Lightning's `accelerator`.

    "auto" means a GPU of CUDA if there is one, and otherwise the CPU, as it does for the device of other
    verbs; Lightning's own "auto" would also take Apple's GPUs.
    """
    if settings.accelerator != "auto":
        return settings.accelerator
    return "cuda" if torch.cuda.is_available() else "cpu"


def precision(settings: TrainerConfig, protocol: str) -> str:
    """Choose the value of Lightning's `precision`.

    "auto" means "32-true" under the faithful protocol or without a GPU, otherwise "bf16-mixed" or, if the GPU
    does not support it, "16-mixed".
    """
    if settings.precision != "auto":
        return settings.precision
    if protocol == "faithful":
        return "32-true"  # as the published code trained
    if settings.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


def _callbacks(config: Config, out: Path, checkpoints: Checkpoints, best: ModelCheckpoint) -> list[Callback]:
    callbacks: list[Callback] = [
        EpochBar(config.experiment, config.selection),
        History(out / HISTORY),
        ShownImages(out / training_images.FILE),
        best,
        # Every epoch, as `save_last` would not; after `best`, whose state it holds.
        ModelCheckpoint(checkpoints.folder, "last", enable_version_counter=False),
    ]
    if config.trainer.logger in loggers.EXTRAS:
        late = partial(loggers.make, config, out)
        callbacks.append(LateLogger(late, loggers.hyperparameters(config)))
    patience = config.trainer.patience
    if patience:
        callbacks.append(
            Patience(f"{config.selection}/auc", mode="max", patience=patience, check_finite=False)
        )
    return callbacks
