"""One trial: a run without predictions, which reports its validation AUC after each epoch."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import lightning as L

from radgaze.console import silence
from radgaze.errors import UserError
from radgaze.runs.config import Config
from radgaze.training.train import train

Report = Callable[[int, float], bool]
"""Function of the number of epochs and the best validation AUC so far; returns whether to stop."""


class Pruned(Exception):  # noqa: N818 - no error
    """A trial was stopped because others had a higher AUC after as many epochs."""


class Failed(Exception):  # noqa: N818 - of a trial, not of the search
    """A trial failed in another process; the message states the reason."""


def run_trial(config: Config, out: Path, report: Report) -> float:
    """Train in a folder, which is emptied first; return the best validation AUC.

    Checkpoints are removed at the end; the model is kept only if the trial finishes.

    Args:
        config: Resolved configuration of the trial.
        out: The folder.
        report: Function that is called after each epoch.

    Raises:
        Pruned: `report` returned True.
        UserError: The configuration cannot be trained, the loss is not finite, or the AUC is undefined.
    """
    shutil.rmtree(out, ignore_errors=True)
    reporter = _Reporter(report)
    finished = False
    try:
        with silence():
            train(config, out, callbacks=[reporter], predictions=False)
        if not math.isfinite(reporter.best):
            raise UserError(f"{out}: the validation AUC is undefined; has the split a case of every class?")
        finished = True
    finally:
        for name in ("checkpoints",) if finished else ("checkpoints", "model"):
            shutil.rmtree(out / name, ignore_errors=True)
    return reporter.best


class _Reporter(L.Callback):
    def __init__(self, report: Report) -> None:
        self.best = -math.inf
        self._report = report

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        auc = float(trainer.callback_metrics.get("validate/auc", math.nan))
        if math.isfinite(auc):
            self.best = max(self.best, auc)
        if not math.isfinite(self.best):
            return
        epochs = trainer.current_epoch + 1
        stop = self._report(epochs, self.best)
        if stop and epochs < (trainer.max_epochs or 0):  # after the last epoch there is nothing to save
            raise Pruned
