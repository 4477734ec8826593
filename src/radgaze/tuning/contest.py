"""Whether the validation cases can tell the best trial of a search from the second."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import polars as pl

from radgaze.devices import usable_device
from radgaze.evaluation.metrics.multilabel import defined
from radgaze.evaluation.statistics.delong import delong_test
from radgaze.runs.prediction import predict
from radgaze.runs.run import Run
from radgaze.tuning.study import best, ended
from radgaze.words import count

FEW = 30
"""Patients with a class, or with its rest, below which the interval is too narrow."""


@dataclass(frozen=True)
class Compared:
    """The difference of two models' macro AUCs on the same cases.

    Attributes:
        value: The difference; as in a trial's AUC, classes that no case has, or all, are left out.
        low: Lower end of the 95% interval over patients; NaN, as `high`, where only one patient has a class,
            or only one has other cases.
        high: Upper end.
        fewest: Number of patients with the rarest class, or with its rest.
    """

    value: float
    low: float
    high: float
    fewest: int


@dataclass(frozen=True)
class Contest:
    """The best trial against the second, on the validation cases of both.

    Attributes:
        best: Number of the best trial.
        second: Number of the second.
        trials: Number of trials that ended.
        difference: Difference of their macro AUCs.
        low: Lower end of its 95% interval; NaN, as `high`, where it is undefined.
        high: Upper end.
        cases: Number of validation cases.
        fewest: Number of patients with the rarest class, or with its rest.
    """

    best: int
    second: int
    trials: int
    difference: float
    low: float
    high: float
    cases: int
    fewest: int

    @property
    def told_apart(self) -> bool:
        """Whether the interval excludes zero, of at least `FEW` patients with each class."""
        return self.low > 0 and self.fewest >= FEW

    @property
    def words(self) -> str:
        """The contest in one or two sentences."""
        is_defined = math.isfinite(self.low) and math.isfinite(self.high)
        interval = f" [{self.low:.3f}, {self.high:.3f}]" if is_defined else ""
        words = (
            f"Trial {self.best} is {self.difference:.3f}{interval} above trial {self.second}, the second, in "
            f"AUC over {self.cases} validation cases."
        )
        if self.told_apart:
            return f"{words} The interval leaves out that the best was chosen among {self.trials} trials."
        fewest = count(self.fewest, "patient")
        few = f"With {fewest} in the smallest group they" if self.fewest < FEW else "They"
        return f"{words} {few} are too few to tell the two apart: which of them is best may be chance."


def contest(study: optuna.Study, out: Path) -> Contest | None:
    """Compare the two best trials of a search; None where fewer than two have finished and kept their models.

    Args:
        study: The study.
        out: Folder of the search.
    """
    leaders = best(study, 2)
    folders = [out / "trials" / f"{trial.number:04d}" for trial in leaders]
    if len(leaders) < 2 or not all((folder / "model").is_dir() for folder in folders):
        return None
    predictions = list[pl.DataFrame]()
    for folder in folders:
        run = Run.open(folder)
        device = usable_device("cpu" if run.config.trainer.accelerator == "cpu" else "auto")
        predictions.append(predict(run.model(), run.store, run.config, ("validate",), device).sort("case_id"))
    first, second = predictions
    if first.shape != second.shape:
        return None
    change = compared(first, second, run.classes)
    numbers = (leaders[0].number, leaders[1].number, len(ended(study)))
    return Contest(*numbers, change.value, change.low, change.high, first.height, change.fewest)


def compared(first: pl.DataFrame, second: pl.DataFrame, classes: Sequence[str]) -> Compared:
    """Compare the macro AUCs of two models, with DeLong's standard error summed over patients.

    Args:
        first: Predictions of a model, see `predict`; some cases have a class that others lack.
        second: Predictions of the other model, of the same cases in the same order.
        classes: Names of the classes.
    """
    names = defined(first, classes)
    labels = first.select([f"label_{name}" for name in names]).to_numpy().T
    a, b = (table.select([f"probability_{name}" for name in names]).to_numpy().T for table in (first, second))
    change = delong_test(labels, a, b, first["patient"])
    sides = [
        first.filter(pl.col(f"label_{name}") == k)["patient"].n_unique() for name in names for k in (0, 1)
    ]
    return Compared(change.value, change.low, change.high, min(sides))
