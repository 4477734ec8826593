from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, average_precision_score, brier_score_loss, roc_auc_score

from radgaze.errors import UserError
from radgaze.evaluation import EvaluationOptions, evaluate
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.maps import case_maps, smoothed
from radgaze.evaluation.metrics.agreement import METRICS, nss
from radgaze.evaluation.metrics.localisation import METRICS as LOCALISATION
from radgaze.evaluation.results import AgreementCases, EvaluationResults, LocalisationCases, read_results
from radgaze.evaluation.statistics.auc_intervals import auc_interval, placed
from radgaze.evaluation.statistics.case_means import mean_interval
from radgaze.records import plain
from radgaze.reporting.sections.agreement import compared_cases
from tests.evaluation.fakes import (
    CLASSES,
    SIZE,
    FakeCase,
    FakeRun,
    cases,
    lungs_about_the_spot,
    without_class,
)
from tests.evaluation.known import known
from tests.evaluation.strata import strata_drawn


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeRun, EvaluationResults]:
    run = FakeRun(tmp_path_factory.mktemp("run"))
    return run, evaluate(run, EvaluationOptions(device="cpu", resamples=200))


def test_metrics_json_holds_what_was_returned_and_is_valid(
    evaluated: tuple[FakeRun, EvaluationResults],
) -> None:
    run, metrics = evaluated
    text = (run.path / "metrics.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert list(content)[:2] == ["schema", "experiment"]
    assert content["test"]["auc"] == plain(metrics.test.auc)
    assert read_results(run.path) == metrics
    assert not list(run.path.glob("*.part"))


@pytest.mark.parametrize("split", ["test", "validate"])
def test_figures_are_scikit_learns_of_that_split(
    evaluated: tuple[FakeRun, EvaluationResults], split: str
) -> None:
    run, metrics = evaluated
    table = run.predictions().filter(split=split)
    labels = {c: table[f"label_{c}"].to_numpy() for c in CLASSES}
    scores = {c: table[f"probability_{c}"].to_numpy() for c in CLASSES}
    found = getattr(metrics, split)
    for c in CLASSES:
        assert found.auc[c].value == pytest.approx(roc_auc_score(labels[c], scores[c]))
        assert found.average_precision[c].value == pytest.approx(
            average_precision_score(labels[c], scores[c])
        )
        assert found.brier[c].value == pytest.approx(brier_score_loss(labels[c], scores[c]))
    by_class = ("auc", "auc_paper", "average_precision", "brier", "calibration_error")
    for metric in (*by_class, "calibration_error_if_calibrated"):
        mean = np.mean([getattr(found, metric)[c].value for c in CLASSES])
        assert getattr(found, metric)["macro"].value == pytest.approx(mean)
    truth, said = (np.argmax([x[c] for c in CLASSES], 0) for x in (labels, scores))
    assert found.accuracy.value == pytest.approx(accuracy_score(truth, said))
    assert found.cases == table.height
    assert found.patients == table["patient"].n_unique() < table.height


def test_every_value_lies_in_its_interval(evaluated: tuple[FakeRun, EvaluationResults]) -> None:
    test = evaluated[1].test
    for metric in ("auc", "auc_paper", "average_precision", "brier"):
        for group in ("macro", *CLASSES):
            entry = getattr(test, metric)[group]
            assert entry.low < entry.value < entry.high, (metric, group)
    assert set(test.sensitivity_at_specificity["0.9"]) == {"macro", *CLASSES}


def test_the_same_seed_gives_the_same_file_whatever_the_batches(
    evaluated: tuple[FakeRun, EvaluationResults], tmp_path: Path
) -> None:
    first, metrics = evaluated
    again = evaluate(FakeRun(tmp_path), EvaluationOptions(device="cpu", resamples=200, batch_size=5))
    for name in METRICS:
        for kind in ("heatmap", "mean_gaze"):
            mine, other = (known(each.test.agreement[kind])[name] for each in (again, metrics))
            assert mine.value == pytest.approx(other.value, rel=1e-4)
    assert again.test.auc == metrics.test.auc
    assert evaluate(first, EvaluationOptions(device="cpu", resamples=200)) == metrics


def test_a_model_that_looks_where_the_reader_looked_beats_the_floors(
    evaluated: tuple[FakeRun, EvaluationResults],
) -> None:
    agreement = {kind: known(found) for kind, found in evaluated[1].test.agreement.items()}
    for metric in METRICS:
        higher = METRICS[metric].higher_is_better
        for floor in ("mean_gaze", "lung_shape"):
            own, other = agreement["heatmap"][metric], agreement[floor][metric]
            low, high = (known(end) for end in ((own.low, other.high) if higher else (other.low, own.high)))
            assert low > high, (metric, floor)
    assert known(agreement["heatmap"]["shuffled_auc"].value) > 0.95
    assert abs(known(agreement["mean_gaze"]["shuffled_auc"].value) - 0.5) < 0.1


def test_the_lung_shape_is_of_the_cases_own_lungs_where_they_are_known(tmp_path: Path) -> None:
    """Lungs that lie where the reader looked, in the first twelve cases; the third has no gaze."""
    few = FakeRun(tmp_path).of_split("test")[:12]
    run = FakeRun(tmp_path, lungs={case.case_id: lungs_about_the_spot(case) for case in few})
    metrics = evaluate(run, EvaluationOptions(device="cpu", resamples=20))
    assert metrics.test.agreement_cases.baseline_counts["own_lungs"] == 11
    table = pl.read_parquet(tmp_path / "agreement.parquet").filter(map="lung_shape")
    own = pl.col("case_id").is_in([case.case_id for case in few])
    true, drawn = (table.filter(which)["shuffled_auc"].to_numpy() for which in (own, ~own))
    assert (len(true), len(drawn)) == (11, 12)
    assert true.min() > 0.95
    assert drawn.mean() < 0.7
    counts = metrics.test.agreement_cases.baseline_counts
    assert "own lungs in 11 of them" in compared_cases(AgreementCases(23, baseline_counts=counts))
    assert "own lungs" not in compared_cases(AgreementCases(3, baseline_counts={"own_lungs": 0}))


def test_mean_gaze_comes_from_training_cases_only(evaluated: tuple[FakeRun, EvaluationResults]) -> None:
    run, metrics = evaluated
    mean = np.mean(
        [batch.gaze_maps((SIZE, SIZE)).numpy()[:, 0].mean(0) for batch in run.batches("train", 6)], axis=0
    )
    with_gaze = [c.case_id for c in run.of_split("test") if c.gaze]
    maps = case_maps(run, with_gaze)
    expected = [
        nss(
            mean[None],
            np.histogram2d(p[there][:, 1], p[there][:, 0], bins=SIZE, range=[[0, SIZE]] * 2)[0][None],
        )[0]
        for p, there in zip(maps.points, maps.present, strict=True)
    ]
    assert known(metrics.test.agreement["mean_gaze"])["nss"].value == pytest.approx(
        np.mean(expected), rel=1e-5
    )
    assert metrics.test.agreement_cases.baseline_counts["mean_gaze_of_training_cases"] == 6


def test_cases_without_gaze_are_left_out_and_counted(evaluated: tuple[FakeRun, EvaluationResults]) -> None:
    run, metrics = evaluated
    table = pl.read_parquet(run.path / "agreement.parquet")
    counted = metrics.test.agreement_cases
    assert (counted.compared, counted.without_gaze) == (23, 1)
    assert table["case_id"].n_unique() == 23
    assert "test-03" not in table["case_id"]
    assert table.columns == ["case_id", "patient", "map", *METRICS]
    assert set(table["map"]) == {"heatmap", "heatmap_raw", "grad_cam", "mask", "mean_gaze", "lung_shape"}


def test_curves_are_there_for_each_class(evaluated: tuple[FakeRun, EvaluationResults]) -> None:
    curves = pl.read_parquet(evaluated[0].path / "curves.parquet")
    for c in CLASSES:
        roc = curves.filter(pl.col("curve") == "roc", pl.col("class") == c)
        assert np.trapezoid(roc["y"], roc["x"]) == pytest.approx(evaluated[1].test.auc[c].value)
        bins = curves.filter(pl.col("curve") == "reliability", pl.col("class") == c)
        assert bins["cases"].sum() == 24


def test_a_run_without_decoder_has_no_mask_agreement(tmp_path: Path) -> None:
    agreement = evaluate(
        FakeRun(tmp_path, decoder=False), EvaluationOptions(device="cpu", resamples=20)
    ).test.agreement
    assert agreement["mask"] is None
    assert known(known(agreement["heatmap"])["nss"].value) > 1


def test_a_class_absent_from_the_test_cases_is_null_and_so_is_the_macro_mean(tmp_path: Path) -> None:
    run = FakeRun(tmp_path, cases=without_class(cases(), 2))
    evaluate(run, EvaluationOptions(device="cpu", resamples=50))
    auc = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["test"]["auc"]
    assert auc["pneumonia"]["value"] is auc["macro"]["value"] is auc["pneumonia"]["low"] is None
    assert auc["CHF"]["value"] is not None


def test_no_gaze_and_no_test_cases_are_no_errors(tmp_path: Path) -> None:
    blind = FakeRun(
        tmp_path,
        cases=tuple(FakeCase(c.case_id, c.patient, c.split, c.label, c.spot, gaze=False) for c in cases()),
    )
    metrics = evaluate(blind, EvaluationOptions(device="cpu", resamples=20))
    assert all(found is None for found in metrics.test.agreement.values())
    assert metrics.test.agreement_cases.without_gaze == 24
    empty = evaluate(FakeRun(tmp_path, cases=cases(test=0)), EvaluationOptions(device="cpu", resamples=20))
    assert empty.test.auc["macro"] == IntervalEstimate(None, None, None)


def test_maps_are_scored_against_the_boxes_of_the_cases_own_class(tmp_path: Path) -> None:
    boxed = tuple(replace(c, boxed=k % 2 == 0) for k, c in enumerate(cases()))
    run = FakeRun(tmp_path, cases=boxed)
    test = evaluate(run, EvaluationOptions(device="cpu", resamples=100, tolerance=1)).test
    own = [c.case_id for c in boxed if c.split == "test" and c.boxed]
    assert test.localisation_cases == LocalisationCases(compared=len(own), without_boxes=24 - len(own))
    table = pl.read_parquet(tmp_path / "localisation.parquet")
    assert set(table["case_id"]) == set(own)
    # The spot's middle is the brightest; the other class's box in the corner does not lower the share.
    for kind in ("heatmap", "mask"):
        assert known(test.localisation[kind])["pointing_game"].value == 1
    maps = case_maps(run, own, target="true")
    for name, metric in LOCALISATION.items():
        oracle = metric.function(smoothed(maps.heatmap, maps.sigma), maps.boxes).mean()
        assert known(test.localisation["heatmap"])[name].value == pytest.approx(oracle)
    floor, found = (known(test.localisation[kind])["iou"] for kind in ("lung_shape", "heatmap"))
    assert known(floor.high) < known(found.low)
    assert maps.boxes.shape == (len(own), 2, 4)
    assert not maps.boxes[:, 1].any()


def test_without_boxes_there_is_no_localisation(evaluated: tuple[FakeRun, EvaluationResults]) -> None:
    run, metrics = evaluated
    assert all(found is None for found in metrics.test.localisation.values())
    assert metrics.test.localisation_cases == LocalisationCases(compared=0, without_boxes=24)
    assert not (run.path / "localisation.parquet").exists()


def test_accuracy_on_few_patients_has_the_interval_of_a_mean_of_few(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    found = known(evaluate(run, EvaluationOptions(device="cpu", resamples=50)).test.accuracy)
    test = run.predictions().filter(split="test")
    p, y = (test.select([f"{of}_{c}" for c in CLASSES]).to_numpy() for of in ("probability", "label"))
    expected = mean_interval(p.argmax(1) == y.argmax(1), test["patient"].to_numpy())
    assert (found.low, found.high) == pytest.approx(tuple(np.clip(expected, 0, 1)))


def test_aucs_have_the_interval_that_was_asked_for(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    default, percentiles = (
        evaluate(run, EvaluationOptions(device="cpu", resamples=50, interval=i)) for i in (None, "bootstrap")
    )
    assert (default.settings.interval, percentiles.settings.interval) == ("delong", "bootstrap")
    test = run.predictions().filter(split="test")
    for own, other in (
        (default.test, percentiles.test),
        (default.validate, percentiles.validate),
    ):
        assert own.auc["macro"].value == other.auc["macro"].value
        assert own.auc["macro"] != other.auc["macro"]
        for name in ("auc_paper", "average_precision", "brier"):
            assert getattr(own, name) == getattr(other, name)
    for c in CLASSES:
        of_class = placed(test[f"label_{c}"], test[f"probability_{c}"], test["patient"])
        found = default.test.auc[c]
        assert (found.low, found.high) == auc_interval([of_class])
    assert default.test.agreement == percentiles.test.agreement


def test_intervals_as_the_paper_drew_them_are_there_for_the_asking(tmp_path: Path) -> None:
    metrics = evaluate(FakeRun(tmp_path), EvaluationOptions(device="cpu", interval="paper"))
    assert metrics.settings.interval == "paper"
    assert metrics.test.auc == metrics.test.auc_paper


def test_senseless_arguments_are_users_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="resamples"):
        evaluate(FakeRun(tmp_path), EvaluationOptions(device="cpu", resamples=0))
    with pytest.raises(UserError, match="tolerance"):
        evaluate(FakeRun(tmp_path), EvaluationOptions(device="cpu", tolerance=-1))


def test_only_metrics_of_the_order_of_cases_are_drawn_within_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = strata_drawn(monkeypatch)
    run = FakeRun(tmp_path)
    evaluate(run, EvaluationOptions(device="cpu", resamples=20))
    table = run.predictions()
    sizes = [table.filter(split=split).height for split in ("test", "validate")]
    # Of the test cases twice: the runs of a vote have AUCs of their own.
    assert sorted(size for size, classes in drawn if classes > 1) == sorted([*sizes, sizes[0]])
    unstratified = [size for size, classes in drawn if classes == 1]
    assert set(sizes) <= set(unstratified)
    assert len(unstratified) > len(sizes)  # of the maps, too
