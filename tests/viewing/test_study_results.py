"""Results of a study: figures by hand, tests against simulation, and a planted effect that is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.statistics.multi_reader import (
    mean_over_readers,
    mixed_difference,
    mixed_mean,
    pseudovalues,
)
from radgaze.viewing.study import report
from radgaze.viewing.study.design import Measured
from radgaze.viewing.study.readings import MEASURES, readings
from radgaze.viewing.study.results import StudyResults, _OneReader, results
from radgaze.viewing.study.tables import cautions, findings, frame
from tests.viewing.studies import begun, design, known, read_by, simulated

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def test_the_variance_of_a_mean_over_readers_and_cases_by_hand() -> None:
    y = np.array([[1, 0, 1, 0, 1, 1], [1, 0, 0, 0, 1, 1], [1, 1, 1, 0, 1, 1]], dtype=float)
    # readers' means 4/6, 3/6, 5/6; cases' means 1, 1/3, 2/3, 0, 1, 1; grand mean 2/3
    MS_R = 6 * (0 + (1 / 6) ** 2 + (1 / 6) ** 2) / 2
    MS_C = 3 * ((1 / 3) ** 2 * 3 + (1 / 3) ** 2 + 0 + (2 / 3) ** 2) / 5
    total = ((y - 2 / 3) ** 2).sum()
    MS_E = (total - 2 * MS_R - 5 * MS_C) / 10
    mean = mean_over_readers(y)
    assert mean.value == pytest.approx(2 / 3)
    assert mean.error == pytest.approx(np.sqrt((MS_R + MS_C - MS_E) / 18))
    assert mean.freedom == pytest.approx(2 * (MS_R + MS_C - MS_E) ** 2 / MS_R**2)
    low, high = mean.interval
    half = stats.t.ppf(0.975, mean.freedom) * mean.error
    assert (low, high) == pytest.approx((2 / 3 - half, 2 / 3 + half))


def test_with_equal_cases_the_test_is_the_t_test_of_the_readers_means() -> None:
    rng = np.random.default_rng(3)
    of_readers = rng.normal(0.1, 0.05, 6)
    y = of_readers[:, None] + rng.normal(0, 1e-3, (6, 40))
    mean = mean_over_readers(y)
    assert mean.p == pytest.approx(stats.ttest_1samp(y.mean(1), 0).pvalue, rel=1e-3)


@pytest.mark.parametrize("bad", [np.ones((2, 40)), np.ones((8, 3)), np.ones((4, 20)), np.zeros((4, 20))])
def test_too_few_readers_or_cases_and_equal_values_have_no_test(bad: Floats) -> None:
    mean = mean_over_readers(bad)
    assert mean.value == bad.mean()
    assert np.isnan(mean.p)
    assert np.isnan(mean.interval).all()


def test_pseudovalues_are_those_of_the_jackknife() -> None:
    rng = np.random.default_rng(0)
    y = np.array([1, 0, 1, 1, 0, 0, 0, 1, 1])
    scores = np.round(rng.normal(y, 1, (2, 9)))  # with ties
    values = pseudovalues(y, scores)
    for reader in range(2):
        auc = roc_auc_score(y, scores[reader])
        for k in range(9):
            kept = np.arange(9) != k
            without = roc_auc_score(y[kept], scores[reader][kept])
            assert values[reader, k] == pytest.approx(9 * auc - 8 * without)
        assert values[reader].mean() == pytest.approx(auc)
    assert np.isnan(pseudovalues([1, 0, 0], [[1, 2, 3]])).all()


def crossed(rng: np.random.Generator, R: int, C: int, effect: float) -> Floats:
    """Correct or not, (2, R, C): readers, cases and their reaction to the condition vary."""
    level = 0.8 + rng.normal(0, 0.6, (R, 1)) + rng.normal(0, 1.2, (1, C))
    own = 0.3 * rng.normal(size=(2, R, 1)) + 0.5 * rng.normal(size=(2, 1, C))
    logit = level + own + effect * np.arange(2)[:, None, None]
    return (rng.random((2, R, C)) < 1 / (1 + np.exp(-logit))).astype(float)


def rejected(R: int, C: int, effect: float, times: int) -> float:
    rng = np.random.default_rng([R, C, 1])
    p = []
    for _ in range(times):
        without, with_it = crossed(rng, R, C, effect)
        p.append(mean_over_readers(with_it - without).p)
    return float(np.mean(np.array(p) < 0.05))


@pytest.mark.parametrize(("R", "C"), [(3, 30), (5, 40), (10, 60)])
def test_without_an_effect_one_test_in_twenty_finds_one(R: int, C: int) -> None:
    assert 0.03 <= rejected(R, C, 0.0, 1000) <= 0.075


def test_the_power_grows_with_effect_readers_and_cases() -> None:
    power = [rejected(5, 40, effect, 400) for effect in (0.4, 0.8, 1.6)]
    assert power[0] < power[1] < power[2]
    assert power[2] > 0.9
    assert rejected(3, 40, 0.8, 400) < rejected(5, 40, 0.8, 400) < rejected(10, 40, 0.8, 400)
    assert rejected(5, 20, 0.8, 400) < rejected(5, 80, 0.8, 400)


def test_the_auc_s_test_keeps_its_level() -> None:
    rng, p = np.random.default_rng(7), []
    y = np.arange(60) % 2
    for _ in range(400):
        signal = 1.2 * y + rng.normal(0, 0.7, (1, 60)) + rng.normal(0, 0.2, (5, 1)) * y
        scores = [signal + rng.normal(0, 1, (5, 60)) + 0.3 * rng.normal(size=(5, 1)) * y for _ in range(2)]
        first, second = (pseudovalues(y, np.round(each * 2)) for each in scores)
        p.append(mean_over_readers(second - first).p)
    assert 0.025 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_on_complete_data_the_mixed_model_agrees_with_the_balanced_analysis() -> None:
    rng = np.random.default_rng(11)
    R, C = 6, 20
    y = 3 + rng.normal(0, 0.4, (R, 1)) + rng.normal(0, 0.5, (1, C)) + rng.normal(0, 1, (2, R, C))
    y += (
        0.5 * rng.normal(size=(2, R, 1))
        + 0.4 * rng.normal(size=(2, 1, C))
        + 0.3 * np.arange(2)[:, None, None]
    )
    condition, reader, case = (each.ravel() for each in np.indices((2, R, C)))
    balanced, mixed = mean_over_readers(y[1] - y[0]), mixed_difference(y.ravel(), condition, reader, case)
    assert mixed.value == pytest.approx(balanced.value, abs=1e-3)
    assert mixed.error == pytest.approx(balanced.error, rel=0.03)
    one = mixed_mean(y[0].ravel(), *(each.ravel() for each in np.indices((R, C))))
    assert one.value == pytest.approx(y[0].mean(), abs=1e-3)
    assert one.error == pytest.approx(mean_over_readers(y[0]).error, rel=0.05)


def test_figures_of_a_small_study_by_hand(tmp_path: Path) -> None:
    study, cases = design(3, 4), known(4, 1)
    recorder = begun(tmp_path / "record.db", study, cases)
    # Without the map all is right but R1's disease-01; with it, readers follow the model.
    read_by(
        recorder,
        study,
        cases,
        lambda reader, trial, case: (
            (case.model, 4, 20.0)
            if trial.condition == "map"
            else ("normal" if reader == "R1" and case.case_id == "disease-01" else case.truth, 2, 10.0)
        ),
    )
    found = results(recorder)
    assert found.answered == found.planned == 48
    assert found.model_accuracy == 6 / 8

    def value(measure: str, condition: str, reader: str = "") -> float | None:
        figure = found.figure(measure, condition, reader)
        assert figure is not None
        return figure.value

    assert value("accuracy", "image") == pytest.approx(23 / 24)
    assert value("accuracy", "image", "R1") == 7 / 8
    assert value("accuracy", "map") == 6 / 8
    assert value("sensitivity", "image", "R1") == 3 / 4
    assert value("specificity", "image", "R1") == 1
    assert value("agrees_wrong", "image") == 0
    assert value("agrees_wrong", "map") == 1
    assert value("agrees_right", "image") == pytest.approx(17 / 18)
    assert value("agrees_right", "map") == 1
    assert value("time", "map") == 20
    # AUC of R1 without the map: one of four diseased cases scores −2 like the normal ones: (12 + 4/2) / 16.
    assert value("auc", "image", "R1") == pytest.approx(14 / 16)
    assert value("auc", "image") == pytest.approx((14 / 16 + 1 + 1) / 3)
    time = found.contrast("time", "map")
    assert time is not None
    assert time.value == pytest.approx(2.0)
    change = found.contrast("accuracy", "map")
    assert change is not None
    assert change.value == pytest.approx(18 / 24 - 23 / 24)
    assert found.contrast("accuracy", "image") is None


def test_a_planted_effect_is_found_and_told(tmp_path: Path) -> None:
    study, cases = design(8, 24), known(24, 8)
    recorder = begun(tmp_path / "record.db", study, cases)
    read_by(recorder, study, cases, simulated(np.random.default_rng(5), study, skill=0.6, sway=1.5))
    found = results(recorder)
    over, right, accuracy, time = (
        found.contrast(name, "map") for name in ("agrees_wrong", "agrees_right", "accuracy", "time")
    )
    assert over is not None
    assert right is not None
    assert accuracy is not None
    assert time is not None
    for each in (over, right, time):
        assert each.p_holm is not None
        assert each.p_holm < 0.05
        assert each.method == "anova"
    assert over.value is not None
    assert over.value > 0.2
    assert right.value is not None
    assert right.value > 0.1
    assert time.low is not None
    assert time.high is not None
    assert time.low < np.exp(0.3) < time.high
    assert sum("not distinguishable" not in each for each in findings(found)) >= 3
    paths = report.write(found, study, tmp_path / "out")
    page, markdown = paths[0].read_text(), paths[1].read_text()
    assert "over-reliance" in page
    assert "Reader R8" in markdown
    assert json.loads(paths[3].read_text())["conditions"] == ["image", "map"]
    assert set(pl.read_csv(paths[2])["reader"]) == {"all", *study.readers}
    assert frame(found).height == len(found.figures) + len(found.contrasts)


def test_help_is_found_in_a_split_study_by_the_mixed_model(tmp_path: Path) -> None:
    study, cases = design(8, 24, arrangement="split"), known(24, 4)
    recorder = begun(tmp_path / "record.db", study, cases)
    read_by(recorder, study, cases, simulated(np.random.default_rng(6), study, skill=0.2, help_=1.5))
    found = results(recorder)
    accuracy = found.contrast("accuracy", "map")
    assert accuracy is not None
    assert accuracy.method == "mixed"
    assert accuracy.low is not None
    assert accuracy.low > 0.1
    one = found.contrast("accuracy", "map", "R1")
    assert one is not None
    assert one.value is None  # no case was read twice by a reader
    assert any("mixed model" in each for each in cautions(found))


def test_one_reader_and_an_unfinished_study_have_no_test_over_readers(tmp_path: Path) -> None:
    study, cases = design(2, 8), known(8, 2)
    recorder = begun(tmp_path / "record.db", study, cases)
    half = design(1, 8)
    read_by(recorder, half, cases, simulated(np.random.default_rng(1), study))
    found: StudyResults = results(recorder)
    assert (found.answered, found.planned) == (32, 64)
    contrast = found.contrast("accuracy", "map")
    assert contrast is not None
    assert contrast.p is None
    assert contrast.method == ""
    assert contrast.value is not None
    alone = found.contrast("accuracy", "map", "R1")
    assert alone is not None
    assert alone.cases == 16
    assert alone.p is not None
    said = " ".join(cautions(found))
    assert "not finished" in said
    assert "1 reader" in said


def test_several_cases_of_a_patient_do_not_narrow_one_readers_intervals() -> None:
    rng = np.random.default_rng(2)
    truth = np.arange(40) % 2
    rows = [
        {"condition": name, "case_id": f"{case}", "patient": f"p{case}", "diseased": bool(truth[case])}
        | {"score": float(rng.normal(truth[case] * skill)), "correct": float(rng.random() < 0.7)}
        for name, skill in (("none", 1), ("map", 2))
        for case in range(40)
    ]
    once = pl.DataFrame(rows)
    copies = [once.with_columns(case_id=pl.col("case_id") + f"-{copy}") for copy in range(4)]
    one, several = (_OneReader(table, "R1") for table in (once, pl.concat(copies)))
    for measure in ("auc", "correct"):
        pairs = zip(*(_of_reader(reader, measure) for reader in (one, several)), strict=True)
        for a, b in pairs:
            assert (b.value, b.low, b.high) == pytest.approx((a.value, a.low, a.high), abs=0.02)


def _of_reader(reader: _OneReader, measure: str) -> tuple[IntervalEstimate, IntervalEstimate]:
    return reader.figure(measure, "map"), reader.contrast(measure, ("none", "map"))


def test_the_correction_is_over_the_primary_measures(tmp_path: Path) -> None:
    study, cases = design(4, 8, primary=["accuracy", "time"]), known(8, 3)
    recorder = begun(tmp_path / "record.db", study, cases)
    read_by(recorder, study, cases, simulated(np.random.default_rng(2), study, sway=1.0))
    found = results(recorder)
    by_measure = {each.measure: each for each in found.contrasts if each.reader == ""}
    assert {name for name, each in by_measure.items() if each.p_holm is not None} == {"accuracy", "time"}
    first, second = sorted((by_measure["accuracy"], by_measure["time"]), key=lambda each: each.p or 0)
    assert first.p is not None
    assert second.p is not None
    assert first.p_holm == pytest.approx(min(1, 2 * first.p))
    assert second.p_holm == pytest.approx(max(second.p, min(1, 2 * first.p)))
    assert any("exploratory" in each for each in findings(found))


def test_the_measures_of_a_design_are_those_of_the_results() -> None:
    assert get_args(Measured) == tuple(MEASURES)


def test_results_of_a_study_without_answers(tmp_path: Path) -> None:
    study, cases = design(2, 3), known(3, 1)
    found = results(begun(tmp_path / "record.db", study, cases))
    assert found.answered == 0
    assert readings(begun(tmp_path / "record.db", study, cases)).is_empty()
    assert report.write(found, study, tmp_path / "out")[0].is_file()


def test_with_three_conditions_each_two_are_compared(tmp_path: Path) -> None:
    names = ["image", "prediction", "map"]
    study, cases = design(6, 6, conditions=[{"name": name} for name in names]), known(6, 2)
    recorder = begun(tmp_path / "record.db", study, cases)
    seconds = {"image": 10.0, "prediction": 20.0, "map": 30.0}
    read_by(recorder, study, cases, lambda reader, trial, case: (case.truth, 3, seconds[trial.condition]))
    found = results(recorder)
    ratios = {pair: found.contrast("time", pair[1], reference=pair[0]) for pair in found.pairs}
    assert {pair: each.value for pair, each in ratios.items() if each is not None} == {
        ("image", "prediction"): pytest.approx(2),
        ("image", "map"): pytest.approx(3),
        ("prediction", "map"): pytest.approx(1.5),
    }
