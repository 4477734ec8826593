"""`radgaze evaluate RUN --reject`, from a run of a second to files, page and later decisions."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from radgaze.cli import main
from radgaze.errors import UserError
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics import confidence
from radgaze.evaluation.referral.measuring import evaluate_referral
from radgaze.evaluation.referral.options import ReferralOptions
from radgaze.evaluation.referral.results import ReferralResults, read_results
from radgaze.evaluation.referral.scores import CANDIDATES
from radgaze.evaluation.referral.selective import Referral
from radgaze.evaluation.statistics.auc_intervals import auc_interval, placed
from radgaze.records import plain
from radgaze.reporting.rejection import (
    _evidence,
    findings,
    referral_sentences,
    rejection_markdown,
    rule_in_words,
)
from radgaze.runs import settings
from radgaze.runs.run import Run
from radgaze.training.train import train
from tests.evaluation.known import known
from tests.evaluation.strata import strata_drawn
from tests.reporting.pages import Page, assert_accessible, assert_self_contained
from tests.store.cohorts import CLASSES, make_cohort
from tests.stores import prepare
from tests.training.conftest import TINY


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("rejecting")
    store = prepare(make_cohort(folder / "images", 48), folder / "store", size=64, workers=1)
    wanted = {**TINY, "trainer": {**TINY["trainer"], "max_epochs": 1}}
    return train(settings.resolve("baseline", data=str(store.path), **wanted), folder / "run")


@pytest.fixture(scope="module")
def written(run: Run) -> dict[str, object]:
    arguments = ["--reject", "--goal", "frr=0.3", "--score", "alpha_perturbed", "--resamples", "40"]
    assert main(["evaluate", str(run.path), *arguments]) == 0
    content: dict[str, object] = json.loads((run.path / "rejection.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture
def results(run: Run, written: dict[str, object]) -> ReferralResults:
    results = read_results(run.path)
    assert results is not None
    assert plain(results) == written
    return results


def test_files_of_an_earlier_version_are_read(run: Run, written: dict[str, object], tmp_path: Path) -> None:
    for name in ("rejection.json", "selective.json"):
        content = json.loads((run.path / name).read_text(encoding="utf-8"))
        assert content.pop("schema") == 1
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    assert read_results(tmp_path) == read_results(run.path)
    assert Referral.read(tmp_path) == Referral.read(run.path)


def test_every_score_is_measured_on_the_test_cases(run: Run, results: ReferralResults) -> None:
    test = run.predictions().filter(split="test")
    p = test.select(f"probability_{name}" for name in CLASSES).to_numpy()
    y = test.select(f"label_{name}" for name in CLASSES).to_numpy()
    errors = confidence.wrong(p, y, exclusive=True)
    assert results.errors == int(errors.sum())
    assert list(results.scores) == list(CANDIDATES)
    assert results.all.accuracy.value == pytest.approx(1 - errors.mean())
    for name in ("alpha", "beta", "maximum", "entropy"):
        row, scores = results.scores[name], confidence.SCORES[name](p)
        assert row.error_detection.value == pytest.approx(confidence.error_detection(errors, scores)[0])
        accepted = scores <= row.threshold
        assert row.coverage.value == pytest.approx(accepted.mean())
        assert row.accuracy_kept.value == pytest.approx((~errors)[accepted].mean())
        assert known(row.coverage.low) <= known(row.coverage.value) <= known(row.coverage.high)
        assert row.validation.frr is None or row.validation.frr <= 0.3
    assert results.scores["alpha"].magnitude == 0
    assert results.scores["alpha_perturbed"].magnitude > 0
    assert results.scores["alpha_tempered"].temperature == pytest.approx(results.temperature)


def test_aucs_have_the_interval_of_an_auc(run: Run, results: ReferralResults) -> None:
    test = run.predictions().filter(split="test")
    p = test.select(f"probability_{name}" for name in CLASSES).to_numpy()
    y = test.select(f"label_{name}" for name in CLASSES).to_numpy()
    who, errors = test["patient"].to_numpy(), confidence.wrong(p, y, exclusive=True)
    row, scores = results.scores["alpha"], confidence.SCORES["alpha"](p)

    def of_classes(kept: np.ndarray) -> tuple[float, float]:
        return auc_interval(
            [placed(label[kept], score[kept], who[kept]) for label, score in zip(y.T, p.T, strict=True)]
        )

    found = {
        "error_detection": (row.error_detection, auc_interval([placed(errors, scores, who)])),
        "kept": (row.auc_kept, of_classes(scores <= row.threshold)),
        "all": (results.all.auc, of_classes(np.ones(len(who), dtype=bool))),
    }
    for name, (entry, expected) in found.items():
        if entry.value is not None:
            assert (entry.low, entry.high) == pytest.approx(expected), name
    assert results.all.auc.value is not None


def test_decisions_are_those_of_the_rule_that_is_kept(run: Run, results: ReferralResults) -> None:
    decisions = pl.read_parquet(run.path / "decisions.parquet")
    predictions = run.predictions()
    assert sorted(decisions["case_id"]) == sorted(predictions["case_id"])
    rule = known(Referral.read(run.path))
    assert (rule.score, rule.goal, rule.value) == ("alpha", "frr", 0.3)
    assert rule.magnitude == results.scores["alpha_perturbed"].magnitude
    assert (decisions["accept"] == (decisions["score"] <= rule.threshold)).all()
    own = decisions.filter(split="validate")
    assert own["accept"].mean() == pytest.approx(rule.validation.coverage)
    assert set(decisions["predicted"]) <= set(CLASSES)


def test_images_that_are_no_radiographs_are_tried(results: ReferralResults) -> None:
    outside = results.out_of_distribution
    assert list(outside) == ["test", "upside_down", "inverted", "noise", "not_chest"]
    kept = known(results.scores["alpha_perturbed"].coverage.value)
    assert outside["test"].referred.value == pytest.approx(1 - kept)
    for name in ("upside_down", "inverted", "noise", "not_chest"):
        auroc = known(outside[name].auroc)
        assert 0 <= known(auroc.low) <= known(auroc.high) <= 1


def test_tables_and_page_hold_the_numbers_and_no_patient(run: Run, results: ReferralResults) -> None:
    page = (run.path / "rejection.html").read_text(encoding="utf-8")
    assert_self_contained(page)
    assert_accessible(page)
    value = known(results.scores["beta"].error_detection.value)
    assert f"{value:.3f}" in page
    assert f"{value:.3f}" in (run.path / "rejection.md").read_text(encoding="utf-8")
    with (run.path / "rejection.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = next(r for r in rows if (r["score"], r["metric"]) == ("beta", "error_detection"))
    assert float(found["value"]) == value
    for hidden in ("case-", "Secretname", "p1000", str(run.path.parent)):
        assert hidden not in page
    assert (run.path / "figures" / "rejection.png").is_file()


def test_a_later_explanation_carries_the_decision(run: Run, results: ReferralResults, tmp_path: Path) -> None:
    decisions = pl.read_parquet(run.path / "decisions.parquet").filter(split="test").head(2)
    ids = decisions["case_id"].to_list()
    assert main(["explain", str(run.path), *ids, "--methods", "grad_cam", "--out", str(tmp_path)]) == 0
    for row in decisions.iter_rows(named=True):
        told = json.loads((tmp_path / row["case_id"] / "explanation.json").read_text())["decision"]
        assert told["verdict"] == ("accept" if row["accept"] else "refer")
        assert told["score"] == pytest.approx(row["score"], rel=1e-3)
        assert told["reason"].startswith("D_α")


def test_the_same_seed_gives_the_same_numbers(run: Run, results: ReferralResults) -> None:
    options = ReferralOptions(goal="frr=0.3", score="alpha_perturbed", resamples=40)
    assert evaluate_referral(run, options).results == results
    few = evaluate_referral(run, replace(options, batch_size=5)).results
    for name, entry in few.out_of_distribution.items():
        assert entry.referred.value == results.out_of_distribution[name].referred.value
    np.testing.assert_allclose(
        few.scores["alpha_perturbed"].threshold, results.scores["alpha_perturbed"].threshold, rtol=1e-4
    )


def test_without_an_error_it_says_so(results: ReferralResults) -> None:
    none = replace(results, errors=0)
    assert (
        findings(none)[0]
        == f"All {results.cases} test predictions are right: no score can be measured on errors."
    )
    assert rejection_markdown(none)


def test_what_is_undefined_is_said(results: ReferralResults) -> None:
    undefined = IntervalEstimate(None)

    def said(**changes: Any) -> str:
        score = replace(results.scores["alpha"], **changes)
        return " ".join(findings(replace(results, score="alpha", scores={"alpha": score})))

    assert "for some class all kept cases have it, or none has" in said(auc_kept=undefined)
    nothing = said(auc_kept=undefined, accuracy_kept=undefined)
    assert "No test case is kept" in nothing
    assert "–" not in nothing
    all_wrong = replace(results, errors=results.cases)
    assert findings(all_wrong)[0].startswith(f"All {results.cases} test predictions are wrong")


def test_the_runs_report_tells_of_it(run: Run, results: ReferralResults) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert_self_contained(page)
    assert_accessible(page)
    sentences = referral_sentences(run.path)
    assert sentences == [rule_in_words(results), *findings(results)]
    assert all(sentence in Page(page).text for sentence in sentences)


def test_a_report_without_or_with_a_broken_rejection(tmp_path: Path) -> None:
    assert referral_sentences(tmp_path) == []
    for text in ("{", "[]", "{}"):
        (tmp_path / "rejection.json").write_text(text)
        with pytest.raises(UserError, match="make it again"):
            referral_sentences(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reject", "--goal", "accuracy=1"], "coverage=SHARE"),
        (["--reject", "--score", "gamma"], "--score must be one of alpha,"),
        (["--score", "beta"], "add --reject"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    arguments: list[str], said: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in Path(run.path).rglob("*") if p.is_file()}
    assert main(["evaluate", str(run.path), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_the_verdict_on_finding_errors_counts_patients(run: Run, results: ReferralResults) -> None:
    decisions = pl.read_parquet(run.path / "decisions.parquet").filter(split="test")
    patients = [set(decisions.filter(error=wrong)["patient"]) for wrong in (True, False)]
    assert results.discordant == min(map(len, patients))
    of_few = replace(results, patients=60, cases=120, errors=12, discordant=3)
    assert _evidence(of_few).lacking.startswith("too few discordant pairs (3")
    assert not _evidence(replace(of_few, discordant=None)).lacking


def test_exclusive_classes_of_a_sigmoid_are_predicted_and_judged_as_the_report_does(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    objective = replace(run.config.objective, classification="sigmoid")
    other = Run(tmp_path / "run", replace(run.config, objective=objective))
    assert other.exclusive
    path = tmp_path / "run" / "predictions.parquet"
    pl.read_parquet(path).with_columns(pl.col("patient") * 0).write_parquet(path)
    drawn = strata_drawn(monkeypatch)
    evaluation = evaluate_referral(other, ReferralOptions(score="alpha", goal="coverage=0.8", resamples=20))
    assert {classes for _, classes in drawn} == {1}
    cases = evaluation.decisions.join(other.predictions(), on="case_id", suffix="_of")
    p = cases.select(f"probability_{name}" for name in CLASSES).to_numpy()
    y = cases.select(f"label_{name}" for name in CLASSES).to_numpy()
    assert cases["predicted"].to_list() == [CLASSES[k] for k in p.argmax(1)]
    assert cases["error"].to_list() == (p.argmax(1) != y.argmax(1)).tolist()
    test = cases.filter(split="test")
    assert evaluation.results.errors == int(test["error"].sum())
    patients = [test.filter(error=wrong)["patient"].n_unique() for wrong in (True, False)]
    assert evaluation.results.discordant == min(patients) < min(test["error"].sum(), (~test["error"]).sum())
