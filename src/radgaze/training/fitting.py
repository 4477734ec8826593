"""The fitting of a run with Lightning, from its store to its folder."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Literal

import lightning as L
import polars as pl
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback
from torch import distributed, nn

from radgaze import models
from radgaze.console import note, say
from radgaze.errors import Stopped, UserError, call
from radgaze.models import lora
from radgaze.models.config import given_of
from radgaze.options import FieldError
from radgaze.runs import dates, initial_weights, origin, resumed, settings
from radgaze.runs.config import SELECTED_ON_TEST, Config
from radgaze.runs.memory import keep_memory_of
from radgaze.runs.prediction import predict
from radgaze.runs.run import PREDICTIONS, Run
from radgaze.store.store import Store
from radgaze.tables import write_parquet
from radgaze.training import fine_tuning, run_folder
from radgaze.training.callbacks import Begun, announce
from radgaze.training.checkpoints import Checkpoints
from radgaze.training.checks import (
    check,
    check_gaze,
    check_network,
    check_parts,
    check_selection,
    check_unchanged,
)
from radgaze.training.counterfactual import check_regions
from radgaze.training.initial_weights import initial_weights as training_from
from radgaze.training.initial_weights import with_found_input
from radgaze.training.loading import StoreData
from radgaze.training.module import GazeGuided
from radgaze.training.notices import of_model, of_store
from radgaze.training.own_network import with_found_parts
from radgaze.training.trainer import best_checkpoint, make_trainer


def fit(
    store: Store,
    config: Config,
    out: Path,
    *,
    resume: bool,
    overwrite: bool,
    callbacks: Sequence[Callback],
    predictions: bool,
) -> Run:
    """Train a run on a store that is open, see `radgaze.training.train`."""
    if resume:
        run_folder.check_resumable(out)
    config, found_input = with_found_input(with_found_parts(config, store), out if resume else None)
    check(config, store)
    config = _with_classification(config, store)
    checkpoints = Checkpoints(out, every=config.trainer.keep_checkpoints == "all")
    best = best_checkpoint(config, checkpoints.folder)
    training = Begun()
    trainer = make_trainer(config, out, checkpoints, best, [*callbacks, training])
    _check_devices(config, trainer.world_size)
    with run_folder.locked(out) if trainer.is_global_zero else nullcontext():
        last = checkpoints.newest(tell=trainer.is_global_zero) if resume else None
        if resume:
            origin.check(store, out, "it cannot be resumed: prepare the store as it was, or train again")
        if trainer.is_global_zero:
            _tell_of_store(config, store)
            if resume:
                check_unchanged(settings.read(out / "config.yaml"), config)
            else:
                run_folder.check_new(out, overwrite)
        keep_memory_of(config.model)
        L.seed_everything(config.seed, workers=True, verbose=False)
        # A checkpoint has all weights: those that the encoder once started from are not fetched again.
        initial = replace(config.model, weights="none") if resume else config.model
        model = models.create(initial, len(store.classes), config.input.size)
        fine_tuning.prepare(model, config)
        data = StoreData(store, config)
        notices = _checked_cases(config, data)
        check_network(model, config, data.validation_cases)
        if trainer.is_global_zero:
            _begin(config, store, out, checkpoints.epochs if resume else None)  # after all checks
            if found_input is not None:
                initial_weights.write(training_from(config, model, found_input), out)
            _tell_of_data(config, data, notices, trainer.world_size)
        module = GazeGuided(model, config, len(store.classes))
        stopped = _fit(trainer, module, data, last, training)
        if not trainer.is_global_zero:
            return Run(out, config)
        if not checkpoints.load_best(model, best.best_model_path):
            if stopped:
                raise Stopped("before the first epoch was over; nothing is kept")
            raise UserError(f"{checkpoints.folder} has no weights of a best epoch (any more); train again")
        _keep(model, config, store, out)
        if stopped:
            raise Stopped(
                f"the best weights so far are in {out / 'model'}; go on with: {call('train', resume=out)}"
            )
        if predictions:
            _write(predict(model, store, config, device=_device(trainer, module)), out / PREDICTIONS)
        return Run.open(out, model=given_of(config.model))


def _keep(model: nn.Module, config: Config, store: Store, out: Path) -> None:
    """Write the trained model, and the day of its training; drop what was measured on other weights."""
    lora.merge(model)
    if not models.is_saved(model, out / "model"):
        run_folder.drop_measured(out)  # first: a process that is killed in between leaves nothing stale
    models.save(model, config.model, store.classes, out / "model", size=config.input.size)
    dates.note(out, "trained")


def _begin(config: Config, store: Store, out: Path, epochs: int | None) -> None:
    """Make the folder of a run, and write its settings; those that a resumed run goes on with are noted.

    Args:
        config: Configuration of the run.
        store: Store of the run.
        out: Folder of the run, which may hold another run that this one replaces.
        epochs: Number of epochs that are done of a run that is resumed; else None.
    """
    run_folder.make(out, resume=epochs is not None)
    file = out / "config.yaml"
    stages = None if epochs is None else resumed.note(out, epochs, settings.read(file), config)
    if stages is not None:
        note(
            f"Note: this run has {stages.words}. One training with the settings of {file} may give another "
            f"result; {resumed.FILE} beside it says so"
        )
    settings.write(config, file)
    origin.write(store, out)


def is_first() -> bool:
    """Whether this process is the only one, or the first of those that trained together."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _check_devices(config: Config, processes: int) -> None:
    if processes > 1 and config.model.reads_frames:
        # Its batch norms run once for each frame of the longest reading in a process's own batch.
        raise UserError("the temporal model trains on one device: give `trainer.devices=1`")


def _device(trainer: L.Trainer, module: GazeGuided) -> str:
    """The device that the model was trained on, "cuda" or "cpu"."""
    on_gpu = next(module.parameters()).is_cuda or trainer.strategy.root_device.type == "cuda"
    return "cuda" if on_gpu else "cpu"


def _tell_of_store(config: Config, store: Store) -> None:
    """Print the notices about a store."""
    for notice in of_store(config, store):
        note(notice)
    if config.selection == "test":
        note(f"Warning: `selection=test`. {SELECTED_ON_TEST}", bold=True)


def _checked_cases(config: Config, data: StoreData) -> list[str]:
    """Check that training cases have what the run learns from; return notices on what few of them have."""
    cases = data.train_cases
    check_selection(data.validation_cases.labels)
    regions = check_regions(config.counterfactual, cases)
    return [*filter(None, [check_gaze(config, cases), *check_parts(config, cases), regions])]


def _tell_of_data(config: Config, data: StoreData, notices: Sequence[str], processes: int) -> None:
    """Print the numbers of cases and the notices about them."""
    cases = data.train_cases
    turns = data.gaze_turns(processes)
    announce(
        len(cases),
        cases.with_gaze,
        cases.with_boxes_for_gaze,
        len(data.validation_cases),
        turns,
        config.gaze.control,
    )
    for each in (*of_model(config.model, cases), *notices):
        note(each)


def _fit(trainer: L.Trainer, module: GazeGuided, data: StoreData, last: Path | None, training: Begun) -> bool:
    """Fit the module; true where the user stopped it."""
    alone = trainer.world_size == 1
    began = distributed.is_available() and distributed.is_initialized()
    if trainer.strategy.root_device.type == "cpu":
        module.model.to(memory_format=torch.channels_last)  # with one thread a step takes a fifth less
    if not alone and not trainer.is_global_zero:
        # Ctrl-C reaches all processes. The first stops the others; were they to go before it, it would be
        # left with a broken connection in the midst of a step.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with warnings.catch_warnings(action="ignore"):
            trainer.fit(module, data, ckpt_path=None if last is None else str(last), weights_only=True)
    except UserError:
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        rule = "must be at least 2 at this `input.size`: one case has no batch statistics"
        raise FieldError("optimisation.batch_size", rule) from error
    except Exception as error:
        if last is None or training.true:
            raise
        raise UserError(f"{last} does not fit this run: {_first_line(error)}; train again") from error
    except (KeyboardInterrupt, SystemExit):
        _end_children(trainer)
        return True
    if not alone and not began and distributed.is_initialized():
        # What follows happens in the first process alone, and must not wait for the others.
        distributed.destroy_process_group()
    module.model.to(memory_format=torch.contiguous_format)  # as weights that are read from a file
    return bool(trainer.interrupted)


def _end_children(trainer: L.Trainer) -> None:
    """End the processes that Lightning started, and remove them from its list: else it ends this one too."""
    processes = getattr(trainer.strategy.launcher, "procs", [])
    children = [*processes]
    processes.clear()
    for child in children:
        child.kill()
        child.wait()


def _with_classification(config: Config, store: Store) -> Config:
    """Replace the classification "auto" by the one for the store's classes."""
    if config.objective.classification != "auto":
        return config
    kind: Literal["softmax", "sigmoid"] = "softmax" if store.exclusive else "sigmoid"
    return replace(config, objective=replace(config.objective, classification=kind))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _write(table: pl.DataFrame, path: Path) -> None:
    write_parquet(table, path)
    say(f"predictions of {table.height} cases: {path}")
