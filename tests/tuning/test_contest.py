"""The best trial against the second: what the validation cases can tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from radgaze.evaluation.statistics.delong import delong_test
from radgaze.runs.prediction import predict
from radgaze.runs.run import Run
from radgaze.tuning.contest import Contest, compared, contest
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


def tables(seed: int = 0, *, lacking: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Predictions of two models for 60 patients with a case each; perhaps of a class that none has."""
    random = np.random.default_rng(seed)
    labels = random.permuted(np.repeat([[1, 0], [0, 1]], 30, axis=1), axis=1)
    columns = {"case_id": [f"c{i:02d}" for i in range(60)], "patient": [f"p{i:02d}" for i in range(60)]}
    classes = {"a": labels[0], "b": labels[1], **({"none": np.zeros(60, int)} if lacking else {})}
    return tuple(
        pl.DataFrame(
            columns
            | {f"label_{name}": label for name, label in classes.items()}
            | {f"probability_{name}": random.random(60) + skill * label for name, label in classes.items()}
        )
        for skill in (0.9, 0.3)
    )  # type: ignore[return-value]  # a pair


def test_with_one_case_for_each_patient_the_interval_is_delongs() -> None:
    first, second = tables()
    labels = first.select("label_a", "label_b").to_numpy().T
    scores = [t.select("probability_a", "probability_b").to_numpy().T for t in (first, second)]
    expected = delong_test(labels, *scores)
    found = compared(first, second, ("a", "b"))
    ends = (expected.value, expected.low, expected.high)
    assert (found.value, found.low, found.high) == pytest.approx(ends)
    assert found.fewest == 30


def test_more_cases_of_the_same_patients_do_not_narrow_the_interval() -> None:
    first, second = tables()
    once = compared(first, second, ("a", "b"))
    first, second = (pl.concat([table] * 4).sort("case_id") for table in (first, second))
    four = compared(first, second, ("a", "b"))
    assert four.value == pytest.approx(once.value)
    assert (four.low, four.high) == pytest.approx((once.low, once.high))
    assert four.fewest == once.fewest


def test_a_class_without_a_validation_case_is_left_out_as_in_a_trials_value() -> None:
    first, second = tables(lacking=True)
    found = compared(first, second, ("a", "b", "none"))
    assert found == compared(first, second, ("a", "b"))
    assert found.fewest == 30


def test_the_rule_in_words() -> None:
    assert CLEAR.told_apart
    assert "too few" not in CLEAR.words
    assert "chosen among 20 trials" in CLEAR.words
    for unclear in (replace(CLEAR, low=-0.01), replace(CLEAR, fewest=8), replace(CLEAR, low=float("nan"))):
        assert not unclear.told_apart
        assert "may be chance" in unclear.words
    undefined = replace(CLEAR, low=float("nan"), high=float("nan"), fewest=1).words
    assert "Trial 4 is 0.080 above trial 2" in undefined
    assert "With 1 patient in" in undefined
    assert "nan" not in undefined
    assert "With 8 patients in the smallest group" in replace(CLEAR, fewest=8).words


def test_one_trial_has_no_second(search: MakeSearch, formula: Formula, tmp_path: Path) -> None:
    study = tune(search(), tmp_path / "out", TuneOptions(trials=1), runner=formula)
    assert contest(study, tmp_path / "out") is None
