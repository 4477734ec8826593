"""Decisions at a threshold, the confusion matrix, and the one row of two exclusive classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from radgaze.evaluation.comparison import compare
from radgaze.evaluation.comparison_options import CompareOptions
from radgaze.evaluation.metrics.binary import positive_class
from radgaze.evaluation.operating_points import operating_points
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics.policy import bootstrap
from radgaze.evaluation.statistics.resampling import Floats
from radgaze.reporting.comparison_tables import comparison_markdown
from radgaze.reporting.groups import shown_groups
from radgaze.reporting.sections import EvaluatedRun
from radgaze.reporting.sections.decisions import DecisionsSection, confusion
from radgaze.reporting.sections.discrimination import DiscriminationSection
from radgaze.reporting.sections.headline import HeadlineSection
from radgaze.runs import dates
from radgaze.runs.history import best_epoch
from tests.reporting.fakes import CLASSES, FakeRun, evaluated
from tests.reporting.pages import Page


def test_operating_points_are_those_of_scikit_learn_at_the_threshold_of_the_validation_cases(
    tmp_path: Path,
) -> None:
    table = FakeRun(tmp_path / "run").predictions()
    validate, test = (table.filter(pl.col("split") == split) for split in ("validate", "test"))
    points = operating_points(table, CLASSES, bootstrap(test, resamples=50, seed=0))
    for point in points:
        scores, labels = (validate[f"{kind}_{point.name}"].to_numpy() for kind in ("probability", "label"))
        youden = [recall_score(labels, scores > t) + recall_score(1 - labels, scores <= t) for t in scores]
        at = recall_score(labels, scores > point.threshold) + recall_score(
            1 - labels, scores <= point.threshold
        )
        assert at == pytest.approx(max(youden))
        truth = test[f"label_{point.name}"].to_numpy()
        told = (test[f"probability_{point.name}"].to_numpy() > point.threshold).astype(int)
        assert point.sensitivity.value == pytest.approx(recall_score(truth, told))
        assert point.specificity.value == pytest.approx(recall_score(1 - truth, 1 - told))
        assert point.ppv.value == pytest.approx(precision_score(truth, told))
        assert point.npv.value == pytest.approx(precision_score(1 - truth, 1 - told))
        counts = [point.true_negative, point.false_positive, point.false_negative, point.true_positive]
        assert counts == confusion_matrix(truth, told).ravel().tolist()
        for entry in (point.sensitivity, point.specificity, point.ppv, point.npv):
            assert entry.low is not None
            assert entry.value is not None
            assert entry.high is not None
            assert 0 <= entry.low <= entry.value <= entry.high <= 1


def test_the_resamples_are_drawn_once_for_all_classes(tmp_path: Path) -> None:
    table = FakeRun(tmp_path / "run").predictions()
    resampling = bootstrap(table.filter(pl.col("split") == "test"), resamples=50, seed=0)
    drawn = 0

    class Counting:
        def chunks(self) -> Iterator[Floats]:
            nonlocal drawn
            drawn += 1
            return resampling.chunks()

    together = operating_points(table, CLASSES, Counting())
    assert drawn == 1
    assert together == [operating_points(table, [name], resampling)[0] for name in CLASSES]


def test_the_confusion_matrix_is_that_of_scikit_learn(tmp_path: Path) -> None:
    test = FakeRun(tmp_path / "run").test()
    truth, scores = (
        test.select([f"{kind}_{name}" for name in CLASSES]).to_numpy().argmax(1)
        for kind in ("label", "probability")
    )
    rows = confusion(test, CLASSES)
    assert [name for name, _ in rows] == list(CLASSES)
    assert np.array_equal([counts for _, counts in rows], confusion_matrix(truth, scores))


def test_a_threshold_that_no_validation_case_can_choose_is_told(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", test_cases=40)
    results = evaluated(run)
    table = run.predictions().with_columns(
        label_CHF=pl.when(pl.col("split") == "validate").then(0).otherwise(pl.col("label_CHF"))
    )
    object.__setattr__(run, "predictions", lambda: table)
    html = str(DecisionsSection().rendered(EvaluatedRun(run, results)))
    assert "could not choose the threshold of CHF" in Page(html).text


def test_classes_that_are_not_exclusive_have_two_by_two_tables_and_no_matrix(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", test_cases=40)
    results = replace(evaluated(run), exclusive=False)
    content = DecisionsSection().content(EvaluatedRun(run, results))
    assert content.matrix == ()
    assert all(sum(row.counts) == 40 for row in content.rows)


TWO = ("Normal", "CHF")


def test_two_exclusive_classes_have_one_row_which_says_what_is_positive(tmp_path: Path) -> None:
    run = FakeRun(tmp_path / "run", classes=TWO, test_cases=60)
    results = evaluated(run)
    entry = EvaluatedRun(run, results)
    assert results.test.auc["Normal"].value == pytest.approx(results.test.auc["CHF"].value or 0)
    content = DiscriminationSection().content(entry)
    assert [row.name for row in content.rows] == ["CHF"]
    assert content.groups == ("CHF",)
    assert "CHF is the positive one, against Normal" in content.of_two
    assert [row.name for row in DecisionsSection().content(entry).rows] == ["CHF"]
    headline = HeadlineSection().content(entry)
    assert headline.tiles[0].name == "AUC of CHF on the test cases"
    assert not any("highest" in sentence or "macro" in sentence for sentence in headline.findings)


def test_a_comparison_of_two_classes_shows_one_and_keeps_all(tmp_path: Path) -> None:
    runs = [FakeRun(tmp_path / name, classes=TWO, seed=seed) for seed, name in enumerate("ab")]
    compared = compare(runs, CompareOptions(resamples=50))
    assert compared.groups == ("CHF",)
    assert set(compared.table.filter(metric="auc")["group"]) == {"Normal", "CHF", MACRO}
    text = comparison_markdown(compared)
    assert "CHF is the positive one, against Normal" in text
    assert not any(line.startswith("|") and "macro" in line for line in text.splitlines())


def test_the_positive_class_is_the_finding_and_only_of_two_whose_probabilities_add_up() -> None:
    table = pl.DataFrame(
        {"probability_a": [0.2, 0.7], "probability_b": [0.8, 0.3], "label_a": [0, 1], "label_b": [1, 0]}
    )

    def named(a: str, b: str) -> str | None:
        names = {
            f"{kind}_{old}": f"{kind}_{new}"
            for kind in ("probability", "label")
            for old, new in (("a", a), ("b", b))
        }
        return positive_class(table.rename(names), (a, b))

    assert named("Normal", "CHF") == "CHF"
    assert named("CHF", "No_Finding") == "CHF"
    assert named("cats", "dogs") == "dogs"
    sigmoid = table.with_columns(probability_a=pl.Series([0.9, 0.9]))
    assert positive_class(sigmoid, ("a", "b")) is None
    assert shown_groups(sigmoid, ("a", "b")) == ("a", "b", MACRO)
    assert positive_class(table.with_columns(label_a=1), ("a", "b")) is None


def test_the_best_epoch_is_the_first_of_the_highest_auc() -> None:
    history = pl.DataFrame({"epoch": [0, 1, 2, 3], "validate/auc": [0.5, 0.8, None, 0.8]})
    assert best_epoch(history, "validate") == (2, 0.8)
    assert best_epoch(history, "test") is None


def test_days_are_recorded_and_a_new_training_forgets_the_evaluation_of_the_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dates.read(tmp_path) == dates.Dates()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    dates.note(tmp_path, "trained")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "172800")
    dates.note(tmp_path, "evaluated")
    assert dates.read(tmp_path) == dates.Dates(trained="1970-01-02", evaluated="1970-01-03")
    dates.note(tmp_path, "trained")
    assert dates.read(tmp_path) == dates.Dates(trained="1970-01-03")
    (tmp_path / dates.FILE).write_text("{", encoding="utf-8")
    assert dates.read(tmp_path) == dates.Dates()


def test_a_threshold_is_not_chosen_where_validation_cases_have_one_score(tmp_path: Path) -> None:
    table = FakeRun(tmp_path / "run").predictions()
    column = f"probability_{CLASSES[0]}"
    flat = table.with_columns(
        pl.when(pl.col("split") == "validate").then(0.7).otherwise(pl.col(column)).alias(column)
    )
    test = flat.filter(pl.col("split") == "test")
    points = operating_points(flat, CLASSES, bootstrap(test, resamples=20, seed=0))
    assert [point.chosen for point in points] == [False, *[True] * (len(CLASSES) - 1)]
