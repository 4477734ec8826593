"""Checkpoints of a run: written whole, kept in pairs, and read as what somebody else may have made."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor, nn

from radgaze.console import say
from radgaze.errors import UserError
from radgaze.files import written

FOLDER = "checkpoints"
BEST, LAST, BEFORE = "best.ckpt", "last.ckpt", "before-last.ckpt"
NAMES = re.compile(r"(best|last|before-last|epoch-\d{3,9})\.ckpt")
"""Every name that a checkpoint of a run may have."""

PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")
"""What the state of Lightning's ModelCheckpoint says in paths, `best_k_models` and `dirpath` besides."""

SCORES = ("best_model_score", "current_score", "kth_value")

SCHEDULE = ("last_epoch", "_step_count", "base_lrs", "_last_lr", "_get_lr_called_within_step", "_is_initial")
"""What a schedule of ours has as state; torch would set any attribute that a checkpoint names."""


class Foreign(Exception):  # noqa: N818 - told as a UserError where no other checkpoint is whole
    """A file is no checkpoint of a run; the message says why."""


class Checkpoints(CheckpointIO):
    """The one way between a training and the checkpoints in its run's folder.

    A checkpoint is written beside the one that it replaces and renamed, and the last but one is kept. What
    is read is code of nobody, and of it what a run of ours has written: whatever names a file names one in
    this very folder, without its path, so that a run can be moved, and made by a stranger can touch nothing
    outside of it.

    Args:
        run: The run's folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.folder = (run / FOLDER).resolve()
        self._read: dict[Path, dict[str, Any]] = {}

    def newest(self, *, tell: bool = True) -> Path:
        """The newest checkpoint that is whole; says so where it is not the last one.

        Raises:
            UserError: There is none, or none is whole.
        """
        there = [self.folder / name for name in (LAST, BEFORE) if (self.folder / name).is_file()]
        if not there:
            raise UserError(f"{self.run} cannot be resumed: it has no {FOLDER}/{LAST}")
        broken: list[str] = []
        for path in there:
            try:
                found = self._checked(path)
            except Foreign as error:
                broken.append(f"{FOLDER}/{path.name} {error}")
                continue
            self._read = {path: found}
            if path.name != LAST and tell:
                why = broken[0] if broken else f"{FOLDER}/{LAST} is missing"
                say(
                    f"{self.run}: {why}; going on from {path.name}, the one before it, after epoch "
                    f"{found['epoch'] + 1}"
                )
            return path
        raise UserError(f"{self.run} cannot be resumed: {'; '.join(broken)}; train anew")

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint, paths in it relative to the folder."""
        target = self._own(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        states = {key: _relative(state) for key, state in checkpoint.get("callbacks", {}).items()}
        with written(target) as aside:
            with aside.open("wb") as file:  # a name would be written by code that says nothing of a full disk
                torch.save({**checkpoint, "callbacks": states}, file)
            if target.name == LAST and target.is_file():
                target.replace(target.with_name(BEFORE))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What a training goes on from: of a checkpoint what is a run's own."""
        target = self._own(path)
        try:
            return self._read.pop(target, None) or self._checked(target)
        except Foreign as error:
            raise UserError(f"{target} {error}; train anew") from error

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint of this folder, and nothing else."""
        self._own(path).unlink(missing_ok=True)

    def load_best(self, model: nn.Module, path: str) -> bool:
        """Load the weights of the best epoch; false where none was over.

        Raises:
            UserError: They cannot be read.
        """
        best = self._own(path) if path else None
        if best is None or not best.is_file():
            return False
        try:
            state = _loaded(best)["state_dict"]
            own = {k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")}
            model.load_state_dict(own)
        except (Foreign, RuntimeError, AttributeError, KeyError, TypeError) as error:
            raise UserError(f"{best}, the best epoch's weights, cannot be used; train anew") from error
        return True

    def _own(self, path: Any) -> Path:
        """The file in this folder that is meant.

        Raises:
            UserError: It would be another one.
        """
        found = Path(str(path))
        if not NAMES.fullmatch(found.name) or found.parent.resolve() != self.folder:
            raise UserError(f"{self.folder} does not hold {found.name[:80]!r}: no checkpoint of this run")
        return self.folder / found.name

    def _checked(self, path: Path) -> dict[str, Any]:
        """Of a checkpoint what a run of ours has written, types checked, paths those of this folder.

        Raises:
            Foreign: It is damaged, or not a run's.
        """
        found = _loaded(path)
        try:
            epoch, step = found["epoch"], found["global_step"]
            _require(_plain(epoch) and _plain(step) and isinstance(epoch, int), "counts no epochs")
            weights = found["state_dict"]
            _require(
                isinstance(weights, Mapping)
                and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in weights.items()),
                "holds no weights",
            )
            _require(_plain(found["loops"]), "does not say how far it is")
            kept = {
                "epoch": epoch,
                "global_step": step,
                "pytorch-lightning_version": str(found["pytorch-lightning_version"])[:40],
                "state_dict": dict(weights),
                "loops": found["loops"],
                "callbacks": {
                    str(key): self._absolute(str(key), state) for key, state in found["callbacks"].items()
                },
                "optimizer_states": [_optimiser(state) for state in found["optimizer_states"]],
                "lr_schedulers": [_schedule(state) for state in found["lr_schedulers"]],
            }
            if "MixedPrecision" in found:  # the scale of half precision's gradients
                _require(_plain(found["MixedPrecision"]), "has a scale that is no number")
                kept["MixedPrecision"] = found["MixedPrecision"]
        except (KeyError, TypeError, AttributeError) as error:
            raise Foreign("is no checkpoint of a run of radgaze") from error
        return kept

    def _absolute(self, key: str, state: Any) -> Any:
        """A callback's state with the paths that this folder has now."""
        if key.startswith("Patience"):
            counts = [state[name] for name in ("wait_count", "stopped_epoch", "patience")]
            right = all(isinstance(n, int) and n >= 0 for n in counts)
            _require(right and isinstance(state["best_score"], Tensor), "counts no epochs without progress")
        if not (isinstance(state, Mapping) and ("dirpath" in state or key.startswith("ModelCheckpoint"))):
            return state
        own = dict(state)
        scores = [*(state[name] for name in SCORES), *state["best_k_models"].values()]
        _require(all(s is None or isinstance(s, Tensor) for s in scores), "has a score that is no number")
        own["dirpath"] = str(self.folder)
        for name in PATHS:
            own[name] = self._named(state.get(name, ""))
        own["best_k_models"] = {self._named(path): v for path, v in state["best_k_models"].items()}
        # One callback writes the last checkpoint, another the best: none may name, and remove, the other's.
        named = {Path(path).name for path in (*own["best_k_models"], *(own[name] for name in PATHS)) if path}
        taken = {name for name in named if (name in (LAST, BEFORE)) != (state.get("monitor") is None)}
        if taken or own["last_model_path"]:
            raise Foreign(f"names {min(taken or named)} as what it is not")
        for path in own["best_k_models"]:
            if not Path(path).is_file():
                raise Foreign(f"counts on {FOLDER}/{Path(path).name}, which is missing")
        return own

    def _named(self, path: Any) -> str:
        """Where a file lies that a checkpoint names: by its name alone, in this folder."""
        if path == "":
            return ""
        name = re.split(r"[/\\]", path)[-1] if isinstance(path, str) else ""
        if not NAMES.fullmatch(name):
            raise Foreign(f"names a file that is no checkpoint of the run ({str(path)[:80]!r})")
        return str(self.folder / name)


def resumable(run: Path) -> bool:
    """Whether a run's folder has a checkpoint to go on from."""
    return any((run / FOLDER / name).is_file() for name in (LAST, BEFORE))


def _loaded(path: Path) -> dict[str, Any]:
    """A checkpoint as it is, nothing unpickled but tensors and plain values.

    Raises:
        Foreign: It is cut, damaged, or something else.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            if parts.testzip() is not None:
                raise Foreign("is damaged")
        found = torch.load(path, "cpu", weights_only=True)
    except Foreign:
        raise
    except Exception as error:  # a broken file raises whatever it makes its reader stumble over
        raise Foreign("is cut, damaged or no checkpoint of radgaze") from error
    if not isinstance(found, dict):
        raise Foreign("is no checkpoint of a run of radgaze")
    return found


def _relative(state: Any) -> Any:
    """A callback's state as it is kept: names of files without the folder that they lie in."""
    if not (isinstance(state, dict) and "best_k_models" in state):
        return state
    own = {**state, "dirpath": "", **{name: Path(state[name]).name for name in PATHS}}
    own["best_k_models"] = {Path(path).name: value for path, value in state["best_k_models"].items()}
    return own


def _schedule(state: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule's state: numbers under names that are known; its functions are this software's own."""
    own = {name: state[name] for name in SCHEDULE if name in state}
    _require(_plain(own) and {"last_epoch", "base_lrs"} <= own.keys(), "has a schedule that is none")
    return {**own, "lr_lambdas": [None] * len(cast("list[Any]", own["base_lrs"]))}


def _optimiser(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """An optimiser's state: tensors for each parameter, and numbers for each group of them."""
    moments = [value for of_one in state["state"].values() for value in of_one.values()]
    numbers = all(isinstance(value, Tensor) or _plain(value) for value in moments)
    _require(numbers and all(_plain(group) for group in state["param_groups"]), "has no optimiser's state")
    return state


def _plain(value: Any, depth: int = 20) -> bool:
    """Whether a value is made of numbers, none negative, of truth values and of names for them alone."""
    if depth and isinstance(value, Mapping):
        return all(isinstance(key, str) and _plain(inner, depth - 1) for key, inner in value.items())
    if depth and isinstance(value, list | tuple):
        return all(_plain(inner, depth - 1) for inner in value)
    return value is None or (isinstance(value, int | float) and math.isfinite(value) and value >= 0)


def _require(fits: bool, otherwise: str) -> None:
    if not fits:
        raise Foreign(otherwise)
