"""Checkpoints of a run: written atomically, the last two of them kept, and validated when they are read."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor, nn

from radgaze.console import note
from radgaze.errors import UserError
from radgaze.files import written
from radgaze.training.checkpoint_files import BEFORE, FOLDER, LAST

NAMES = re.compile(r"(best|last|before-last|epoch-\d{3,9})\.ckpt")
"""The names that checkpoints of a run may have."""

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""Paths in the state of Lightning's ModelCheckpoint, beside `best_k_models` and `dirpath`."""

SCORES = ("best_model_score", "current_score", "kth_value")

SCHEDULE = ("last_epoch", "_step_count", "base_lrs", "_last_lr", "_get_lr_called_within_step", "_is_initial")
"""The state of radgaze's schedules; torch would set any attribute that a checkpoint names."""

State = Mapping[str, object]
"""The entries of a checkpoint, or of a part of it, as they were read from a file: of any type."""


class Foreign(Exception):  # noqa: N818 - becomes a UserError where no other checkpoint is whole
    """A file is no checkpoint of a run; the message says why."""


class Checkpoints(CheckpointIO):
    """Writes and reads the checkpoints in a run's folder.

    A checkpoint is written beside the one that it replaces and then renamed, and the last but one is kept.
    Reading executes no code, and accepts only entries that a run of radgaze writes. Every entry that names a
    file names one in this folder, without its path, so that a run can be moved, and an untrusted run cannot
    change a file outside of its folder.

    Args:
        run: Folder of the run.
        every: Whether the run keeps the checkpoints of all epochs, not of the best alone.

    Attributes:
        epochs: Number of epochs that are done in the checkpoint which `newest` found.
    """

    def __init__(self, run: Path, *, every: bool = False) -> None:
        self.run, self.every, self.epochs = run, every, 0
        self.folder = (run / FOLDER).resolve()
        self._read: dict[Path, dict[str, object]] = {}

    def newest(self, *, tell: bool = True) -> Path:
        """Find the newest checkpoint that can be read and is valid.

        Args:
            tell: Whether to print a notice where it is not the last one.

        Raises:
            UserError: There is no checkpoint, or none is valid.
        """
        paths = [self.folder / name for name in (LAST, BEFORE) if (self.folder / name).is_file()]
        if not paths:
            raise UserError(f"{self.run} cannot be resumed: it has no {FOLDER}/{LAST}")
        broken: list[str] = []
        for path in paths:
            try:
                checkpoint = self._checked(path)
            except Foreign as error:
                broken.append(f"{FOLDER}/{path.name} {error}")
                continue
            self._read, self.epochs = {path: checkpoint}, _count(checkpoint["epoch"]) + 1
            if path.name != LAST and tell:
                why = broken[0] if broken else f"{FOLDER}/{LAST} is missing"
                note(
                    f"{self.run}: {why}; going on from {path.name}, the one before it, after epoch "
                    f"{self.epochs}"
                )
            return path
        raise UserError(f"{self.run} cannot be resumed: {'; '.join(broken)}; train again")

    def save_checkpoint(
        self, checkpoint: dict[str, object], path: str | Path, storage_options: object = None
    ) -> None:
        """Write a checkpoint, with names of files in place of paths."""
        target = self._inside(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        callbacks = _mapping(checkpoint.get("callbacks", {}))
        states = {key: _relative(state) for key, state in callbacks.items()}
        with written(target) as aside:
            with aside.open("wb") as file:  # given a path, torch would not report a full disk
                torch.save({**checkpoint, "callbacks": states}, file)
            if target.name == LAST and target.is_file():
                target.replace(target.with_name(BEFORE))

    def load_checkpoint(self, path: str | Path, *args: object, **kwargs: object) -> dict[str, object]:
        """Read and validate the entries of a checkpoint.

        Raises:
            UserError: The path names no checkpoint of this folder, or the checkpoint is not valid.
        """
        target = self._inside(path)
        try:
            return self._read.pop(target, None) or self._checked(target)
        except Foreign as error:
            raise UserError(f"{target} {error}; train again") from error

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint of this folder, and nothing else."""
        self._inside(path).unlink(missing_ok=True)

    def load_best(self, model: nn.Module, path: str) -> bool:
        """Load the weights of the best epoch into a model.

        Args:
            model: The network.
            path: Path of the best checkpoint; "" if there is none yet.

        Returns:
            False if there is no such checkpoint, so that nothing was loaded.

        Raises:
            UserError: The weights cannot be read, or do not fit the model.
        """
        best = self._inside(path) if path else None
        if best is None or not best.is_file():
            return False
        try:
            weights = _weights(_loaded(best)["state_dict"])
            model.load_state_dict(
                {k.removeprefix("model."): v for k, v in weights.items() if k.startswith("model.")}
            )
        except (Foreign, RuntimeError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{best}, the best epoch's weights, cannot be used; train again") from error
        return True

    def _inside(self, path: str | Path) -> Path:
        """The file of this folder that a path names.

        Raises:
            UserError: It names another file.
        """
        named = Path(path)
        if not NAMES.fullmatch(named.name) or named.parent.resolve() != self.folder:
            raise UserError(f"{self.folder} does not hold {named.name[:80]!r}: no checkpoint of this run")
        return self.folder / named.name

    def _checked(self, path: Path) -> dict[str, object]:
        """Read the entries of a checkpoint that a run writes, types checked, paths those of this folder.

        Raises:
            Foreign: It is damaged, or no run's.
        """
        content = _loaded(path)
        try:
            _require(_is_plain(content["loops"]), "does not say how far it is")
            checked: dict[str, object] = {
                "epoch": _count(content["epoch"]),
                "global_step": _count(content["global_step"]),
                "pytorch-lightning_version": str(content["pytorch-lightning_version"])[:40],
                "state_dict": _weights(content["state_dict"]),
                "loops": content["loops"],
                "callbacks": {
                    key: self._absolute(key, state) for key, state in _mapping(content["callbacks"]).items()
                },
                "optimizer_states": [_optimiser(state) for state in _list(content["optimizer_states"])],
                "lr_schedulers": [_schedule(state) for state in _list(content["lr_schedulers"])],
            }
            if "factors" in content:  # the balance of the loss's terms
                checked["factors"] = _numbers(content["factors"])
            if "MixedPrecision" in content:  # the scale of half precision's gradients
                _require(_is_plain(content["MixedPrecision"]), "has a scale that is no number")
                checked["MixedPrecision"] = content["MixedPrecision"]
        except (KeyError, TypeError, AttributeError) as error:
            raise Foreign("is no checkpoint of a run of radgaze") from error
        return checked

    def _absolute(self, key: str, state: object) -> object:
        """The state of a callback, with its paths in this folder."""
        if key.startswith("Patience"):
            patience = _mapping(state)
            counts = [patience[name] for name in ("wait_count", "stopped_epoch", "patience")]
            are_counts = all(isinstance(n, int) and n >= 0 for n in counts)
            is_tensor = isinstance(patience["best_score"], Tensor)
            _require(are_counts and is_tensor, "counts no epochs without progress")
        if not (isinstance(state, Mapping) and ("dirpath" in state or key.startswith("ModelCheckpoint"))):
            return state
        best = _mapping(state["best_k_models"])
        scores = [*(state[name] for name in SCORES), *best.values()]
        _require(all(s is None or isinstance(s, Tensor) for s in scores), "has a score that is no number")
        paths = {name: self._named(state.get(name, "")) for name in PATHS}
        best = {self._named(path): score for path, score in best.items()}
        # One callback writes the last checkpoint, another the best: neither may remove the other's.
        names = {Path(path).name for path in (*best, *paths.values()) if path}
        foreign = {name for name in names if (name in (LAST, BEFORE)) != (state.get("monitor") is None)}
        if foreign or paths["last_model_path"]:
            raise Foreign(f"names {min(foreign or names)} as what it is not")
        for path in best:
            if not Path(path).is_file():
                raise Foreign(f"counts on {FOLDER}/{Path(path).name}, which is missing")
        state = {**state, "dirpath": str(self.folder), **paths, "best_k_models": best}
        if len(best) > 1 and not self.every:
            # Of a run that kept all. Lightning would have the next epoch replace the worst of them, and then
            # each the one before it, whatever their scores.
            only = paths["best_model_path"]
            state |= {
                "best_k_models": {only: best[only]},
                "kth_best_model_path": only,
                "kth_value": best[only],
            }
        return state

    def _named(self, path: object) -> str:
        """The path in this folder of a file that a checkpoint names; only the name counts."""
        if path == "":
            return ""
        name = re.split(r"[/\\]", path)[-1] if isinstance(path, str) else ""
        if not NAMES.fullmatch(name):
            raise Foreign(f"names a file that is no checkpoint of the run ({str(path)[:80]!r})")
        return str(self.folder / name)


def count_as(checkpoint: dict[str, Any], steps: int, *, rate_by_steps: bool) -> None:
    """Change the number of steps that a checkpoint says are done; the number of epochs stays.

    Args:
        checkpoint: The entries of a checkpoint, as Lightning is about to restore them.
        steps: The number of steps.
        rate_by_steps: Whether the schedule of the learning rate goes by steps, not by epochs.
    """
    checkpoint["global_step"] = steps
    loop = checkpoint["loops"]["fit_loop"]
    progress = loop["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
    progress["total"] = {"ready": steps, "completed": steps}
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = steps  # by which loggers count
    for schedule in checkpoint["lr_schedulers"] if rate_by_steps else ():
        schedule.update(last_epoch=steps, _step_count=steps + 1)


def _loaded(path: Path) -> State:
    """Read a checkpoint as it is; nothing is unpickled but tensors and plain values.

    Raises:
        Foreign: It is cut, damaged, or something else.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None:
                raise Foreign("is damaged")
        content: object = torch.load(path, "cpu", weights_only=True)
    except Foreign:
        raise
    except Exception as error:  # a damaged file raises whatever its reader meets first
        raise Foreign("is cut, damaged or no checkpoint of radgaze") from error
    if not isinstance(content, dict):
        raise Foreign("is no checkpoint of a run of radgaze")
    return content


def _relative(state: object) -> object:
    """The state of a callback with names of files in place of their paths."""
    if not (isinstance(state, dict) and "best_k_models" in state):
        return state
    names = {name: Path(state[name]).name for name in PATHS}
    best = {Path(path).name: value for path, value in state["best_k_models"].items()}
    return {**state, "dirpath": "", **names, "best_k_models": best}


def _schedule(state: object) -> State:
    """The state of a schedule: numbers under known names; its functions are not read."""
    entries = _mapping(state)
    numbers = {name: entries[name] for name in SCHEDULE if name in entries}
    rates = numbers.get("base_lrs")
    is_schedule = _is_plain(numbers) and "last_epoch" in numbers and isinstance(rates, list)
    _require(is_schedule, "has a schedule that is none")
    return {**numbers, "lr_lambdas": [None] * len(_list(rates))}


def _optimiser(state: object) -> State:
    """The state of an optimiser: tensors for each parameter, and numbers for each group of them."""
    entries = _mapping(state)
    moments = [value for each in _mapping(entries["state"]).values() for value in _mapping(each).values()]
    numbers = all(isinstance(value, Tensor) or _is_plain(value) for value in moments)
    groups = all(_is_plain(group) for group in _list(entries["param_groups"]))
    _require(numbers and groups, "has no optimiser's state")
    return entries


def _weights(value: object) -> dict[str, Tensor]:
    if isinstance(value, Mapping):
        weights = {k: v for k, v in value.items() if isinstance(k, str) and isinstance(v, Tensor)}
        if len(weights) == len(value):
            return weights
    raise Foreign("holds no weights")


def _numbers(value: object) -> dict[str, float]:
    numbers = {name: each for name, each in _mapping(value).items() if isinstance(each, float)}
    _require(
        len(numbers) == len(_mapping(value)) and all(map(math.isfinite, numbers.values())), "balances none"
    )
    return numbers


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a mapping is missing, there is a {type(value).__name__}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"a list is missing, there is a {type(value).__name__}")
    return list(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or not _is_plain(value):
        raise Foreign("counts no epochs")
    return value


def _is_plain(value: object, depth: int = 20) -> bool:
    """Whether a value consists of non-negative numbers, truth values and None, in lists and by name."""
    if depth and isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(inner, depth - 1) for key, inner in value.items())
    if depth and isinstance(value, list | tuple):
        return all(_is_plain(inner, depth - 1) for inner in value)
    return value is None or (isinstance(value, int | float) and math.isfinite(value) and value >= 0)


def _require(fits: bool, otherwise: str) -> None:
    if not fits:
        raise Foreign(otherwise)
