"""DIR/tuning.html: the page of a search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import optuna
import polars as pl

from radgaze.reporting.page import Picture, figure_picture, write_page
from radgaze.reporting.wording import number
from radgaze.tuning import results
from radgaze.tuning.space import experiment_values
from radgaze.tuning.study import Search, best, ended
from radgaze.words import count

PAGE = "tuning.html"


@dataclass(frozen=True)
class TrialRow:
    """A row of the table of trials.

    Attributes:
        trial: Number of the trial.
        state: Whether it finished, was pruned or failed.
        reason: Why it failed; empty otherwise.
        auc: Its best validation AUC.
        epochs: Number of its epochs.
        values: Values of the varied settings.
        is_best: Whether it has the best AUC of those that finished.
    """

    trial: int
    state: str
    reason: str
    auc: str
    epochs: int
    values: tuple[str, ...]
    is_best: bool


def write(study: optuna.Study, search: Search, out: Path, note: str = "") -> Path:
    """Write the page, with the figures that `results.draw` wrote.

    Args:
        study: The study, of which a trial has finished.
        search: The search.
        out: Folder of the search.
        note: Sentence on whether the best trial is distinguishable from the second; may be empty.
    """
    table, varied = results.table(study, search), list(search.space)
    (leader,) = best(study, 1)
    first_trial = {trial.number: trial.params for trial in ended(study)}.get(0, {})
    states = dict(table.group_by("state").len().sort("state").iter_rows())
    config = search.config
    experiment = config.experiment
    is_own = experiment_values(search.space, config) is not None
    first = (
        "Trial 0 has the experiment's own settings."
        if is_own
        else "The experiment's own settings are outside of the space: no trial has them."
    )
    lead = f"The highest validation AUC is {number(leader.value)}, of trial {leader.number}. {first}"
    return write_page(
        PAGE,
        out / PAGE,
        title=f"{out.resolve().name}: tuning of {experiment} – radgaze",
        columns=1,
        name=out.resolve().name,
        experiment=experiment,
        protocol=config.protocol,
        seed=config.seed,
        lead=lead,
        first="Trial 0, the experiment's own" if is_own else "Trial 0",
        counts=", ".join(f"{states[state]} {state}" for state in states),
        findings=[
            *([note] if note else []),
            f"{count(len(table), 'trial')} on the same validation cases: the best AUC is too high to report.",
        ],
        best=[(name, _shown(leader.params[name]), _shown(first_trial.get(name))) for name in leader.params],
        command=results.command(search, out),
        history=figure_picture(out / results.HISTORY, "Validation AUC over trials"),
        importance=_importance(out),
        varied=varied,
        rows=[_row(row, varied, leader.number) for row in _sorted(table).iter_rows(named=True)],
    )


def _sorted(table: pl.DataFrame) -> pl.DataFrame:
    return table.sort("validation_auc", descending=True, nulls_last=True, maintain_order=True)


def _importance(out: Path) -> Picture | None:
    path = out / results.IMPORTANCE
    return figure_picture(path, "Importance of each setting") if path.is_file() else None


def _row(row: dict[str, object], varied: list[str], leader: int) -> TrialRow:
    auc, trial, epochs = row["validation_auc"], row["trial"], row["epochs"]
    assert isinstance(trial, int)
    assert isinstance(epochs, int)
    return TrialRow(
        trial=trial,
        state=str(row["state"]),
        reason=str(row["reason"] or ""),
        auc=number(auc) if isinstance(auc, float) else "–",
        epochs=epochs,
        values=tuple(_shown(row[name]) for name in varied),
        is_best=trial == leader,
    )


def _shown(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
