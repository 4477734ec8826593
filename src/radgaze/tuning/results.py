"""Results of a search: a table of all trials, the best settings, and the importance of each field."""

from __future__ import annotations

import shlex
from pathlib import Path

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
HISTORY, IMPORTANCE = "history.png", "importance.png"

STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}

FEWEST = 4
"""Least number of trials for importances."""


def write(study: optuna.Study, search: Search, out: Path, note: str = "") -> None:
    """Write `trials.csv`, and `best.yaml` where a trial has finished.

    Args:
        study: The study.
        search: The search.
        out: Folder of the search.
        note: Sentence about the best trial, for a comment in `best.yaml`.
    """
    write_csv(table(study, search), out / TABLE)
    for leader in best(study, 1):
        write_text(_best_yaml(leader, search, out, note), out / BEST)


def draw(study: optuna.Study, search: Search, out: Path) -> None:
    """Draw `history.png` and, where importances can be computed, `importance.png`."""
    save(figures.history(table(study, search)), out / HISTORY)
    shares, trials = importances(study)
    path = out / IMPORTANCE
    if shares:
        save(figures.importance(shares, trials), path)
    else:
        path.unlink(missing_ok=True)


def table(study: optuna.Study, search: Search) -> pl.DataFrame:
    """Make a table with a row for each ended trial.

    Its columns are trial, state, validation_auc (the best of the trial), epochs, seconds, reason (of a
    failure), and one for each field that varies.
    """
    columns = {
        "trial": pl.Int64,
        "state": pl.String,
        "validation_auc": pl.Float64,
        "epochs": pl.Int64,
        "seconds": pl.Float64,
        "reason": pl.String,
    }
    rows = [_row(trial, search) for trial in ended(study)]
    whole = pl.DataFrame(rows, schema=[*columns, *search.space], infer_schema_length=None)
    return whole.with_columns(pl.col(name).cast(kind) for name, kind in columns.items())


def importances(study: optuna.Study) -> tuple[dict[str, float], int]:
    """Compute the share of each field in the variance of the validation AUC.

    The method is fANOVA (Hutter et al. 2014) over finished and pruned trials, a pruned one with the best AUC
    that it had reached: the finished trials alone are a selection by the search.

    Returns:
        The shares, largest first, empty with fewer than `FEWEST` trials or where all have the same AUC; and
        the number of trials.
    """
    trials = [trial for trial in ended(study) if trial.value is not None]
    if len(trials) < FEWEST or len({trial.value for trial in trials}) == 1:
        return {}, len(trials)
    finished = optuna.create_study(direction="maximize")
    finished.add_trials(
        [create_trial(params=t.params, distributions=t.distributions, value=t.value) for t in trials]
    )
    shares = get_param_importances(finished, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()}, len(trials)


def _row(trial: FrozenTrial, search: Search) -> dict[str, object]:
    return {
        "trial": trial.number,
        "state": STATES[trial.state],
        "validation_auc": trial.value,
        "epochs": trial.last_step or 0,
        "seconds": None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        "reason": trial.user_attrs.get("reason"),
        **{name: trial.params.get(name) for name in search.space},
    }


def _best_yaml(trial: FrozenTrial, search: Search, out: Path, note: str) -> str:
    config = search.config
    fields = experiments.merge(search.given, overrides(trial.params, config))
    if config.split.kind in ("stratified", "folds"):
        # Whatever its own seed, a run with the best settings tests on no case that the search learned from.
        seed = config.seed if config.split.seed is None else config.split.seed
        fields = experiments.merge(fields, {"split": {"seed": seed}})
    return (
        f"# Trial {trial.number}: validation AUC {trial.value:.4f}, too high to report: the highest of many\n"
        f"{f'# {note}' if note else '#'}\n"
        f"# {command(search, out)}\n{yaml.safe_dump(fields, sort_keys=False)}"
    )


def command(search: Search, out: Path) -> str:
    """The command that trains with the best settings, for a shell."""
    config = search.config
    return " ".join(
        [
            f"radgaze train --experiment {config.experiment}",  # flags: a command in a file, for the shell
            f"--protocol {config.protocol}",  # flags: as above
            f"--data STORE --out RUN --config {shlex.quote(str(out / BEST))}",  # flags: as above
        ]
    )
