"""Training a run, from a configuration to a folder.

Importing this does not import torch or Lightning, nor do the first checks: a missing store is told at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from radgaze.runs.config import Config
from radgaze.runs.run import Run
from radgaze.runs.run_store import open_store
from radgaze.training import loggers, run_folder

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback


PROCESS = {"RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"}
"""Environment variables that number processes which train together, of which the first makes the folder."""


def train(
    config: Config,
    out: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[Callback] = (),
    predictions: bool = True,
) -> Run:
    """Train a run and write its folder: configuration, weights of the best epoch, history and predictions.

    Where several processes train, each calls this with the same arguments. Only the first writes the folder;
    the others return when training ends, and the folder may not be complete then (see
    `fitting.is_first`).

    Args:
        config: Resolved configuration of the run.
        out: Folder of the run.
        resume: Whether to continue from the folder's last checkpoint.
        overwrite: Whether to replace the run that is in the folder.
        callbacks: Further callbacks of Lightning, called after the run's own.
        predictions: Whether to predict the validation and test cases after training.

    Returns:
        The run.

    Raises:
        UserError: The store, the folder or the configuration cannot be used.
        NonFiniteLossError: A term of the loss became NaN or infinite.
        Stopped: The user pressed Ctrl-C. If an epoch had ended, the best weights so far are kept, and
            `resume` continues.
    """
    if resume:
        run_folder.check_resumable(out)
    elif not PROCESS.intersection(os.environ):
        run_folder.check_new(out, overwrite)
    loggers.check(config.trainer.logger)
    store = open_store(config)
    from radgaze.training.fitting import fit  # Lightning, and what the network needs: seconds

    return fit(
        store,
        config,
        out,
        resume=resume,
        overwrite=overwrite,
        callbacks=callbacks,
        predictions=predictions,
    )
