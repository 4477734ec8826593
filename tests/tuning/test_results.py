"""Output of a search: the table, the figures, and importances against a known function."""

from __future__ import annotations

import re
import shlex
from html import unescape
from pathlib import Path

import numpy as np
import optuna
import polars as pl
import pytest
import yaml

from radgaze.runs import settings
from radgaze.runs.run_store import open_store
from radgaze.tuning import figures
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.results import importances
from radgaze.tuning.search import tune
from radgaze.tuning.space import Space
from tests.tuning.conftest import Formula, MakeSearch


def test_the_table_holds_every_trial_and_what_was_drawn(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    wanted = search(trainer={"max_epochs": 9}, min_epochs=1)
    study = tune(wanted, tmp_path / "out", TuneOptions(trials=12), runner=formula)
    trials = pl.read_csv(tmp_path / "out" / "trials.csv")
    assert trials["trial"].to_list() == list(range(12))
    assert set(trials["state"]) == {"finished", "pruned"}
    assert trials.columns[6:] == list(wanted.space)
    for row, trial in zip(trials.iter_rows(named=True), study.get_trials(), strict=True):
        assert row["validation_auc"] == pytest.approx(trial.value)
        assert {name: row[name] for name in trial.params} == pytest.approx(trial.params)
    assert trials["epochs"].to_list() == [epochs for _, _, epochs in formula.ran]
    for name in ("history.png", "importance.png"):
        assert (tmp_path / "out" / name).read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "out" / "tuning.html").read_text(encoding="utf-8")
    rows = page.split('id="trials"')[1].split("<tbody>")[1].split("</tbody>")[0]
    shown = re.findall(r'<tr( class="total")?><th scope="row">(\d+)</th>', rows)
    ordered = trials.sort("validation_auc", descending=True, maintain_order=True)["trial"]
    assert [int(number) for _, number in shown] == ordered.to_list()
    assert [int(number) for best, number in shown if best] == [study.best_trial.number]
    assert f"of trial {study.best_trial.number}" in page
    assert page.count("data:image/png") == 2
    assert f"<h1>out: settings of {wanted.config.experiment}" in page


@pytest.mark.parametrize(
    "split",
    [{"kind": "stratified"}, {"kind": "folds", "folds": 3, "seed": None}, {"kind": "stratified", "seed": 3}],
)
def test_a_run_with_the_best_settings_has_the_split_of_the_search(
    split: dict[str, object], search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    wanted = search(seed=7, split=split)
    tune(wanted, tmp_path / "out", TuneOptions(trials=1, seed=7), runner=formula)
    best = yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())
    final = settings.resolve("set3_guided", data=wanted.config.data, **best)
    assert final.seed == 42
    splits = [open_store(config).cases.select("case_id", "split") for config in (wanted.config, final)]
    assert splits[0].equals(splits[1])


def test_the_best_settings_leave_the_split_of_a_store_as_it_is(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    tune(search(seed=7), tmp_path / "out", TuneOptions(trials=1, seed=7), runner=formula)
    assert "split" not in yaml.safe_load((tmp_path / "out" / "best.yaml").read_text())


@pytest.mark.parametrize(("choices", "is_own"), [("[blur, pool]", True), ("[pool]", False)])
def test_the_page_says_that_trial_0_is_the_experiments_own_only_where_it_is(
    choices: str, is_own: bool, search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(f"objective.heatmap.match: {choices}\n")
    tune(search(space=space), tmp_path / "out", TuneOptions(trials=1), runner=formula)
    page = (tmp_path / "out" / "tuning.html").read_text(encoding="utf-8")
    words = unescape(page)
    assert ("Trial 0 has the experiment's own settings" in words) == is_own
    assert ("Trial 0, the experiment's own" in words) == is_own
    assert ("The experiment's own settings are outside of the space" in words) == (not is_own)


def test_the_printed_command_is_one_for_the_shell(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    out = tmp_path / "my tuning & more"
    tune(search(), out, TuneOptions(trials=1), runner=formula)
    (line,) = (each for each in (out / "best.yaml").read_text().splitlines() if "radgaze train" in each)
    assert shlex.split(line)[-2:] == ["--config", str(out / "best.yaml")]


def test_importances_are_the_shares_of_variance_of_a_known_function() -> None:
    """f = 3a + b over independent uniforms: Var(3a) : Var(b) = 9 : 1, and c has none."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space: Space = {name: optuna.distributions.FloatDistribution(0, 1) for name in "abc"}
    for number in range(200):
        trial = study.ask(space)
        value = 3 * trial.params["a"] + trial.params["b"]
        if number % 2:
            trial.report(value, 1)
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
    shares, trials = importances(study)
    assert trials == 200
    assert list(shares)[:2] == ["a", "b"]
    assert shares["a"] == pytest.approx(0.9, abs=0.05)
    assert shares["c"] < 0.03
    assert sum(shares.values()) == pytest.approx(1)


def test_importances_of_too_few_or_equal_trials_are_not_told() -> None:
    study = optuna.create_study()
    space: Space = {"a": optuna.distributions.FloatDistribution(0, 1)}
    for values in ((0.1, 0.2, 0.3), (0.3, 0.3)):
        for value in values:
            study.tell(study.ask(space), value)
    assert importances(study)[0] != {}
    flat = optuna.create_study()
    for _ in range(6):
        flat.tell(flat.ask(space), 0.5)
    assert importances(flat) == ({}, 6)


def test_too_few_trials_leave_no_picture_of_importances(
    search: MakeSearch, formula: Formula, tmp_path: Path
) -> None:
    tune(search(trainer={"max_epochs": 2}), tmp_path / "out", TuneOptions(trials=3), runner=formula)
    assert (tmp_path / "out" / "history.png").is_file()
    assert not (tmp_path / "out" / "importance.png").exists()
    page = (tmp_path / "out" / "tuning.html").read_text(encoding="utf-8")
    assert page.count("data:image/png") == 1


def test_the_course_shows_the_best_so_far_of_the_finished() -> None:
    trials = pl.DataFrame(
        {
            "trial": [0, 1, 2, 3, 4],
            "state": ["finished", "pruned", "finished", "failed", "finished"],
            "validation_auc": [0.7, 0.9, 0.8, None, 0.75],
        }
    )
    axis = figures.history(trials).axes[0]
    line = next(line for line in axis.lines if line.get_label() == "best so far")
    assert np.asarray(line.get_xdata()).tolist() == [0, 2, 4, 4]
    assert np.asarray(line.get_ydata()).tolist() == [0.7, 0.8, 0.8, 0.8]
    legend = axis.get_legend()
    assert legend is not None
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["best so far", "finished (3)", "pruned (1)", "failed (1)"]
    nothing = trials.filter(state="failed")
    assert len(figures.history(nothing).axes) == 1
