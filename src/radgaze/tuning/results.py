"""What a search leaves: every trial in a table, the best settings, and what mattered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import polars as pl
import yaml
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState, create_trial

from radgaze import experiments
from radgaze.files import write_text
from radgaze.reporting.style import save
from radgaze.tables import write_csv
from radgaze.tuning import figures
from radgaze.tuning.space import overrides
from radgaze.tuning.study import Search, best, ended

TABLE, BEST = "trials.csv", "best.yaml"

STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}

FEW = 4
"""Trials below which importances would mean nothing."""


def write(study: optuna.Study, search: Search, out: Path) -> None:
    """Write `trials.csv`, and `best.yaml` where a trial has finished."""
    write_csv(table(study, search), out / TABLE)
    found = best(study, 1)
    if found:
        write_text(_best_yaml(found[0], search, out), out / BEST)


def draw(study: optuna.Study, search: Search, out: Path) -> None:
    """Draw `history.png` and `importance.png`."""
    save(figures.history(table(study, search)), out / "history.png")
    found, trials = importances(study)
    save(figures.importance(found, trials), out / "importance.png")


def table(study: optuna.Study, search: Search) -> pl.DataFrame:
    """A row per trial: trial, state, validation_auc (its best so far), epochs, seconds, reason, and what was
    drawn.
    """
    own = {
        "trial": pl.Int64,
        "state": pl.String,
        "validation_auc": pl.Float64,
        "epochs": pl.Int64,
        "seconds": pl.Float64,
        "reason": pl.String,
    }
    rows = [_row(trial, search) for trial in ended(study)]
    whole = pl.DataFrame(rows, schema=[*own, *search.space], infer_schema_length=None)
    return whole.with_columns(pl.col(name).cast(kind) for name, kind in own.items())


def importances(study: optuna.Study) -> tuple[dict[str, float], int]:
    """Share of each field in the variance of the validation AUC, largest first, and the trials it rests on.

    By fANOVA (Hutter et al. 2014) over finished and pruned trials, a pruned one with the AUC that it had
    reached: the finished alone are those that the search chose. Empty where there are too few trials or all
    have the same AUC.
    """
    known = [trial for trial in ended(study) if trial.value is not None]
    if len(known) < FEW or len({trial.value for trial in known}) == 1:
        return {}, len(known)
    finished = optuna.create_study(direction="maximize")
    finished.add_trials(
        [create_trial(params=t.params, distributions=t.distributions, value=t.value) for t in known]
    )
    found = get_param_importances(finished, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in found.items()}, len(known)


def _row(trial: FrozenTrial, search: Search) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "state": STATES[trial.state],
        "validation_auc": trial.value,
        "epochs": trial.last_step or 0,
        "seconds": None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        "reason": trial.user_attrs.get("reason"),
        **{name: trial.params.get(name) for name in search.space},
    }


def _best_yaml(trial: FrozenTrial, search: Search, out: Path) -> str:
    config = search.config
    fields = experiments.merge(search.given, overrides(trial.params, config))
    return (
        f"# Trial {trial.number}: validation AUC {trial.value:.4f}, too high to report: the highest of many\n"
        f"# radgaze train --experiment {config.experiment} --protocol {config.protocol} --data STORE "
        f"--out RUN --config {out / BEST}\n{yaml.safe_dump(fields, sort_keys=False)}"
    )
