"""The best trial against the second: what the validation cases can tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from radgaze.runs.prediction import predict
from radgaze.runs.run import Run
from radgaze.tuning.contest import Contest, contest
from radgaze.tuning.options import TuneOptions
from radgaze.tuning.search import tune
from radgaze.tuning.study import best
from tests.tuning.conftest import Formula, MakeSearch

CLEAR = Contest(4, 2, 20, 0.08, 0.02, 0.14, 300, 90)


def test_a_few_cases_tell_no_trials_apart_and_the_difference_is_that_of_their_aucs(
    search: MakeSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    study = tune(search("no_decoder", trainer={"max_epochs": 1}), out, TuneOptions(trials=2))
    found = contest(study, out)
    assert found is not None
    aucs = []
    for trial in best(study, 2):
        run = Run.open(out / "trials" / f"{trial.number:04d}")
        table = predict(run.model(), run.store, run.config, ("validate",))
        of_classes = [roc_auc_score(table[f"label_{c}"], table[f"probability_{c}"]) for c in run.classes]
        aucs.append(sum(of_classes) / len(of_classes))
        assert aucs[-1] == pytest.approx(trial.value, abs=1e-6)
    assert found.difference == pytest.approx(aucs[0] - aucs[1], abs=1e-9)
    assert not found.told_apart
    assert "too few to tell the two apart" in " ".join(capsys.readouterr().err.split())
    assert f"# {found.words}" in (out / "best.yaml").read_text()


def test_the_rule_in_words() -> None:
    assert CLEAR.told_apart
    assert "too few" not in CLEAR.words
    assert "chosen among 20 trials" in CLEAR.words
    for unclear in (replace(CLEAR, low=-0.01), replace(CLEAR, fewest=8), replace(CLEAR, low=float("nan"))):
        assert not unclear.told_apart
        assert "may be chance" in unclear.words
    undefined = replace(CLEAR, low=float("nan"), high=float("nan"), fewest=1).words
    assert "Trial 4 is 0.080 above trial 2" in undefined
    assert "With 1 case in" in undefined
    assert "nan" not in undefined
    assert "With 8 cases in the smallest group" in replace(CLEAR, fewest=8).words


def test_one_trial_has_no_second(search: MakeSearch, formula: Formula, tmp_path: Path) -> None:
    study = tune(search(), tmp_path / "out", TuneOptions(trials=1), runner=formula)
    assert contest(study, tmp_path / "out") is None
