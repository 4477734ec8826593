"""The loggers of a training by name: each writes into the run's folder, and none asks a network."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from radgaze import experiments
from radgaze.errors import UserError
from radgaze.records import Plain
from radgaze.runs import settings
from radgaze.runs.config import Config

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

EXTRAS = ("mlflow", "wandb")
"""Loggers whose library is an extra of the same name."""


def check(name: str) -> None:
    """Check that the library of a logger is installed. Does not import it, nor torch.

    Raises:
        UserError: It is not.
    """
    if name in EXTRAS and find_spec(name) is None:
        raise UserError(
            f"`trainer.logger={name}` needs a library that is not installed; install radgaze[{name}]"
        )


def make(config: Config, out: Path) -> Logger | Literal[False]:
    """Make the logger of a run; False for none.

    Args:
        config: Configuration of the run.
        out: Folder of the run.
    """
    name = config.trainer.logger
    return False if name == "none" else _MADE[name](out.resolve())


def hyperparameters(config: Config) -> dict[str, Plain]:
    """The settings that a logger gets, without the store's place, which is this machine's."""
    fields = experiments.flat(settings.to_dict(config))
    return {name: value for name, value in fields.items() if name != "data"}


def remove_links(out: Path) -> None:
    """Remove links that lead out of a run's folder, such as wandb's to its log in the user's own folder.

    A run with such a link is refused (`files.stay_within`).
    """
    for path in (out / "wandb").rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(out.resolve()):
            path.unlink()


def _tensorboard(out: Path) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(out, name="", version="tensorboard")


def _csv(out: Path) -> Logger:
    from lightning.pytorch.loggers import CSVLogger

    return CSVLogger(out, name="csv")  # with a folder of its own for a training that is resumed


def _mlflow(out: Path) -> Logger:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger("radgaze", out.name, tracking_uri=(out / "mlruns").as_uri())


def _wandb(out: Path) -> Logger:
    # Nothing is sent, and nothing of the terminal, the working folder and its history is kept in the run.
    for name in ("ERROR_REPORTING", "SILENT", "DISABLE_GIT", "DISABLE_CODE", "CONSOLE"):
        value = {"ERROR_REPORTING": "false", "CONSOLE": "off"}.get(name, "true")
        os.environ.setdefault(f"WANDB_{name}", value)
    from lightning.pytorch.loggers import WandbLogger

    out.mkdir(parents=True, exist_ok=True)
    return WandbLogger(out.name, out, offline=True, project="radgaze")


_MADE: dict[str, Callable[[Path], Logger]] = {
    "tensorboard": _tensorboard,
    "csv": _csv,
    "mlflow": _mlflow,
    "wandb": _wandb,
}
