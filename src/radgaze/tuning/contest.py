"""Whether the validation cases can tell the best trial of a search from the second."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import polars as pl
from numpy.typing import NDArray

from radgaze.devices import usable_device
from radgaze.evaluation.statistics.delong import delong_test
from radgaze.runs.prediction import predict
from radgaze.runs.run import Run
from radgaze.tuning.study import best, ended
from radgaze.words import count

FEW = 30
"""Cases of a class, or of its rest, below which DeLong's interval is too narrow."""


@dataclass(frozen=True)
class Contest:
    """The best trial against the second, on the validation cases of both.

    Attributes:
        best: Number of the best trial.
        second: Number of the second.
        trials: Number of trials that ended.
        difference: Difference of their macro AUCs.
        low: Lower end of DeLong's 95% interval; NaN, as `high`, where a class has one case alone.
        high: Upper end.
        cases: Number of validation cases.
        fewest: Number of cases of the rarest class, or of its rest.
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
        """Whether the interval excludes zero, of at least `FEW` cases of each class."""
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
        few = f"With {count(self.fewest, 'case')} in the smallest group they" if self.fewest < FEW else "They"
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
    labels, scores = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    for folder in folders:
        run = Run.open(folder)
        device = usable_device("cpu" if run.config.trainer.accelerator == "cpu" else "auto")
        table = predict(run.model(), run.store, run.config, ("validate",), device).sort("case_id")
        labels.append(_columns(table, "label_", run.classes))
        scores.append(_columns(table, "probability_", run.classes))
    if labels[0].shape != labels[1].shape:
        return None
    change = delong_test(labels[0], scores[0], scores[1])
    positives, cases = labels[0].sum(1), labels[0].shape[1]
    return Contest(
        leaders[0].number,
        leaders[1].number,
        len(ended(study)),
        change.value,
        change.low,
        change.high,
        cases,
        int(min(positives.min(), (cases - positives).min())),
    )


def _columns(table: pl.DataFrame, prefix: str, classes: tuple[str, ...]) -> NDArray[np.float64]:
    """The columns of the classes, (C, N)."""
    return table.select(f"{prefix}{name}" for name in classes).to_numpy().T.astype(np.float64)
