"""Training a run, from a configuration to a folder."""

from __future__ import annotations

import logging
import shutil
import signal
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning as L
import polars as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed

from radgaze import attribution, models
from radgaze.console import say
from radgaze.errors import Stopped, UserError, shortened
from radgaze.files import clear_leftovers, stay_within
from radgaze.runs import origin, settings
from radgaze.runs.config import SELECTED_ON_TEST, Config, TrainerConfig
from radgaze.runs.data import open_store
from radgaze.runs.history import HISTORY, read_history
from radgaze.runs.prediction import predict
from radgaze.runs.run import PREDICTIONS, Run
from radgaze.store.store import Store
from radgaze.tables import write_parquet
from radgaze.training.callbacks import Begun, EpochBar, History, Patience, announce
from radgaze.training.checkpoints import FOLDER, LAST, Checkpoints, resumable
from radgaze.training.checks import check, check_gaze, check_network, check_unchanged
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.notices import of_model, of_store

OWN = {
    *("config.yaml", origin.FILE, HISTORY, FOLDER, "model", "tensorboard", PREDICTIONS),
    *("metrics.json", "agreement.parquet", "localisation.parquet", "curves.parquet", "selective.json"),
    *("decisions.parquet", *(f"rejection.{kind}" for kind in ("json", "md", "csv", "html"))),
    *("report.html", "figures"),
}
"""What training, evaluating and reporting write into a run's folder."""


def train(
    config: Config,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    predictions: bool = True,
) -> Run:
    """Train a run; leave its folder with configuration, best weights by validation AUC, history, predictions.

    Where several processes train, each calls this with the same arguments. The first alone writes the folder;
    the others return when training is over, and the folder may not be complete then (see `is_first`).

    Args:
        config: The run, resolved.
        out: Its folder.
        resume: Go on from the folder's last checkpoint.
        overwrite: Replace a run that is there.
        callbacks: Lightning's, beside the run's own and after them.
        predictions: Predict the validation and test cases when trained.

    Raises:
        UserError: The store, the folder or the configuration cannot be used.
        NonFiniteLossError: A term of the loss broke.
        Stopped: Ctrl-C; the best weights so far are kept, and `resume` goes on.
    """
    if resume:
        _check_folder(out)
    store = open_store(config)
    check(config, store)
    config = _with_classification(config, store)
    checkpoints = Checkpoints(out)
    best = _best(config, checkpoints.folder)
    training = Begun()
    trainer = _trainer(config, out, checkpoints, best, [*callbacks, training])
    _check_devices(config, trainer.world_size)
    last = checkpoints.newest(tell=trainer.is_global_zero) if resume else None
    if resume:
        origin.check(store, out, "it cannot be resumed: prepare the store as it was, or train anew")
    if trainer.is_global_zero:
        _tell_of_store(config, store)
        if resume:
            check_unchanged(settings.read(out / "config.yaml"), config)
        else:
            _check_new(out, overwrite)
    if not config.model.reads_gaze:  # its batches are as long as the gaze: no freed block fits the next one
        attribution.keep_freed_memory()
    L.seed_everything(config.seed, workers=True, verbose=False)
    # A checkpoint has all weights: what the encoder once started from is not fetched again.
    begun = replace(config.model, weights="none") if resume else config.model
    model = models.create(begun, len(store.classes), config.input.size)
    data = StoreData(store, config)
    little = check_gaze(config, data.train_cases)
    check_network(model, config, data.validation_cases)
    if trainer.is_global_zero:
        _make_folder(out, resume)  # not before all is known to fit: it may replace a run
        settings.write(config, out / "config.yaml")
        origin.write(store, out)
        _tell_of_data(config, data, little, trainer.world_size)
    module = GazeGuided(model, config, len(store.classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stopped = _fit(trainer, module, data, last, training)
    if not trainer.is_global_zero:
        return Run(out, config)
    if not checkpoints.load_best(model, best.best_model_path):
        if stopped:
            raise Stopped("before the first epoch was over; nothing is kept")
        raise UserError(f"{checkpoints.folder} has no weights of a best epoch (any more); train anew")
    models.save(model, config.model, store.classes, out / "model", size=config.input.size)
    if stopped:
        raise Stopped(
            f"the best weights so far are in {out / 'model'}; go on with: radgaze train --resume {out}"
        )
    if predictions:
        table = predict(model, store, config, device=_device(trainer, module))
        _write(table, out / "predictions.parquet")
    return Run.open(out)


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that trained together."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _check_devices(config: Config, processes: int) -> None:
    if processes > 1 and config.model.reads_gaze:
        # Its batch norms run as often as the longest reading of a process's own batch has frames.
        raise UserError("the temporal model trains on one device: give --trainer.devices 1")


def _device(trainer: L.Trainer, module: GazeGuided) -> str:
    """Where the model was trained, "cuda" or "cpu"."""
    on_gpu = next(module.parameters()).is_cuda or trainer.strategy.root_device.type == "cuda"
    return "cuda" if on_gpu else "cpu"


def _tell_of_store(config: Config, store: Store) -> None:
    """Notices that need nothing but the store."""
    for notice in of_store(config, store):
        say(notice)
    if config.selection == "test":
        say(f"Warning: --selection test. {SELECTED_ON_TEST}", bold=True)


def _tell_of_data(config: Config, data: StoreData, little: str | None, processes: int) -> None:
    """How much there is to train on, and what of it may be too little."""
    cases = data.train_cases
    turns = data.gaze_turns(processes)
    announce(len(cases), cases.with_gaze, cases.with_boxes_for_gaze, len(data.validation_cases), turns)
    for notice in (*of_model(config.model, cases), *filter(None, [little])):
        say(notice)


def _fit(trainer: L.Trainer, module: GazeGuided, data: StoreData, last: Path | None, training: Begun) -> bool:
    """Fit; True where the user stopped it."""
    alone = trainer.world_size == 1
    began = distributed.is_available() and distributed.is_initialized()
    if not alone and not trainer.is_global_zero:
        # Ctrl-C reaches all processes. The first stops the others; were they to go before it, it would be
        # left with a broken connection in the midst of a step.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trainer.fit(module, data, ckpt_path=None if last is None else str(last), weights_only=True)
    except UserError:
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "a batch of one case has no batch statistics at this --input.size: give "
            "--optimisation.batch_size 2 or more"
        ) from error
    except Exception as error:
        if last is None or training.true:
            raise
        raise UserError(f"{last} does not fit this run: {_first_line(error)}; train anew") from error
    except (KeyboardInterrupt, SystemExit):
        _end_children(trainer)
        return True
    if not alone and not began and distributed.is_initialized():
        # What follows happens in the first process alone, and must not wait for the others.
        distributed.destroy_process_group()
    return bool(trainer.interrupted)


def _end_children(trainer: L.Trainer) -> None:
    """End the processes that Lightning started, and have it forget them: else it would end this one, too."""
    children = getattr(trainer.strategy.launcher, "procs", [])
    ended = [*children]
    children.clear()
    for child in ended:
        child.kill()
        child.wait()


def _trainer(
    config: Config, out: Path, checkpoints: Checkpoints, best: ModelCheckpoint, others: Sequence[Callback]
) -> L.Trainer:
    wanted, optimisation = config.trainer, config.optimisation
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    callbacks: list[Callback] = [
        EpochBar(config.experiment, config.selection),
        History(out / HISTORY),
        best,
        # Every epoch, as `save_last` would not; after `best`, whose state it holds.
        ModelCheckpoint(checkpoints.folder, "last", enable_version_counter=False),
    ]
    if wanted.patience:
        callbacks.append(
            Patience(f"{config.selection}/auc", mode="max", patience=wanted.patience, check_finite=False)
        )
    callbacks += others

    def trainer(strategy: str | DDPStrategy) -> L.Trainer:
        return L.Trainer(
            max_epochs=wanted.max_epochs,
            accelerator=wanted.accelerator,
            devices=wanted.devices,
            num_nodes=wanted.num_nodes,
            strategy=strategy,
            use_distributed_sampler=False,  # `StoreData` does it
            precision=_precision(wanted, config.protocol),  # type: ignore[arg-type]
            gradient_clip_val=None if optimisation.clip == "none" else optimisation.clip_at,
            gradient_clip_algorithm=None if optimisation.clip == "none" else optimisation.clip,
            logger=TensorBoardLogger(out, name="", version="tensorboard")
            if wanted.logger == "tensorboard"
            else False,
            callbacks=list(callbacks),  # it may add to them
            num_sanity_val_steps=0,
            log_every_n_steps=10,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic="warn",
            default_root_dir=out,
            plugins=[checkpoints],
        )

    try:
        found = trainer(wanted.strategy)
        if isinstance(found.strategy, DDPStrategy) and wanted.strategy in ("auto", "ddp"):
            # The decoder is not used where no edge has a mask. Statistics are synchronised as they are made;
            # sent before each batch, they would wait for processes that have no batch left to validate.
            return trainer(DDPStrategy(find_unused_parameters=True, broadcast_buffers=False))
        return found
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        raise UserError(f"--trainer: {str(error).strip().splitlines()[0]}") from error


def _best(config: Config, folder: Path) -> ModelCheckpoint:
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


def _precision(wanted: TrainerConfig, protocol: str) -> str:
    if wanted.precision != "auto":
        return wanted.precision
    if protocol == "faithful":
        return "32-true"  # as the published code trained
    if wanted.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return "32-true"


def _with_classification(config: Config, store: Store) -> Config:
    """The configuration with "auto" as it is meant for this store's classes."""
    if config.objective.classification != "auto":
        return config
    kind: Literal["softmax", "sigmoid"] = "softmax" if store.exclusive else "sigmoid"
    return replace(config, objective=replace(config.objective, classification=kind))


def _check_folder(out: Path) -> None:
    """Raise UserError where a run cannot be gone on with; throw away what was being written."""
    if not resumable(out):
        raise UserError(f"{out} cannot be resumed: it has no {FOLDER}/{LAST}")
    stay_within(out)
    if is_first():
        for folder in (out, out / FOLDER):
            clear_leftovers(folder)
    if (out / HISTORY).is_file():
        read_history(out / HISTORY)


def _check_new(out: Path, overwrite: bool) -> None:
    """Raise UserError where a new run cannot be written."""
    if out.is_dir():
        clear_leftovers(out)
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise UserError(f"{out} is not empty; name another --out, or --resume {out}, or --overwrite")
        try:
            settings.read(out / "config.yaml")
        except UserError as error:
            raise UserError(
                f"{out} is not empty and not a run, so --overwrite leaves it alone ({error}); name another "
                "--out"
            ) from error
        if out.is_symlink():
            raise UserError(f"{out} is a link, so --overwrite leaves it alone; name what it points at")


def _make_folder(out: Path, resume: bool) -> None:
    """The run's folder; of one that is replaced all that a run writes is removed, and nothing else."""
    if out.exists() and not resume:
        left = []
        for path in sorted(out.iterdir()):
            if path.name not in OWN:
                left.append(shortened(path.name, 40))
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        if left:
            shown = ", ".join(left[:3]) + (", …" if left[3:] else "")
            say(f"{out}: {shown} is left as it is, for training and evaluating do not write it")
    out.mkdir(parents=True, exist_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _write(table: pl.DataFrame, path: Path) -> None:
    write_parquet(table, path)
    say(f"predictions of {table.height} cases: {path}")
