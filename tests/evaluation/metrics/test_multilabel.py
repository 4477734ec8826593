"""Multi-label data: the macro mean, the resampling, and the class that is explained."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from radgaze.evaluation import summary
from radgaze.evaluation.metrics import multilabel
from radgaze.evaluation.paired import compare_predictions
from radgaze.evaluation.results import MACRO
from radgaze.evaluation.statistics import policy
from radgaze.evaluation.statistics.resampling import PaperResamples
from radgaze.reporting.gallery import choose
from tests.evaluation.known import known

CLASSES = ("A", "B", "never")


@pytest.fixture
def predictions() -> pl.DataFrame:
    """60 cases with none, one or both of A and B, and none with the third class."""
    draw = np.random.default_rng(3)
    labels = np.column_stack([draw.random((60, 2)) < (0.3, 0.5), np.zeros(60)]).astype(np.int8)
    scores = np.clip(0.3 * labels + 0.6 * draw.random((60, 3)), 0, 1)
    return pl.DataFrame(
        {
            "case_id": [f"c{k:02d}" for k in range(60)],
            "patient": pl.Series(range(60), dtype=pl.Int32),
            **{f"probability_{name}": scores[:, k] for k, name in enumerate(CLASSES)},
            **{f"label_{name}": labels[:, k] for k, name in enumerate(CLASSES)},
        }
    )


def test_the_macro_mean_is_over_the_classes_that_are_defined_and_the_others_are_named(
    predictions: pl.DataFrame,
) -> None:
    draws = policy.bootstrap(predictions, CLASSES, resamples=200, seed=0)
    seeds = PaperResamples(60, seed=0)
    found = summary.discrimination_summary(predictions, CLASSES, draws, draws, seeds, exclusive=False)
    of_sklearn = [
        roc_auc_score(predictions[f"label_{c}"].to_numpy(), predictions[f"probability_{c}"].to_numpy())
        for c in "AB"
    ]
    assert found.auc["macro"].value == pytest.approx(np.mean(of_sklearn))
    assert found.auc["never"].value is None
    assert found.not_averaged == ("never",)
    assert found.accuracy is None
    assert "multiclass" not in found.brier
    labels, scores = (
        predictions.select([f"{kind}_{c}" for c in CLASSES]).to_numpy() for kind in ("label", "probability")
    )
    whole = [
        all((p >= 0.5) == (y == 1) for p, y in zip(*row, strict=True))
        for row in zip(scores, labels, strict=True)
    ]
    assert 0 < np.mean(whole) < 1
    assert known(found.exact_match).value == pytest.approx(np.mean(whole))


def test_exclusive_classes_are_averaged_whole_or_not_at_all() -> None:
    table = pl.DataFrame({"label_A": [1, 0], "label_B": [0, 1], "label_C": [0, 0]})
    assert multilabel.exclusive(table, "ABC")
    assert multilabel.averaged(table, "ABC") == ("A", "B", "C")
    assert multilabel.defined(table, "ABC") == ("A", "B")


def test_cases_that_happen_to_have_a_class_each_do_not_make_the_classes_exclusive() -> None:
    labels = {"A": [1, 0, 1, 0], "B": [0, 1, 0, 1], "C": [0, 0, 0, 0]}
    table = pl.DataFrame(
        {
            "patient": [0, 1, 2, 3],
            **{f"label_{name}": column for name, column in labels.items()},
            **{f"probability_{name}": [0.9, 0.6, 0.7, 0.2] for name in labels},
        }
    )
    assert multilabel.averaged(table, "ABC", exclusive=False) == ("A", "B")
    draws = PaperResamples(4, seed=0)
    found = summary.discrimination_summary(table, "ABC", draws, draws, draws, exclusive=False)
    assert found.not_averaged == ("C",)
    assert (found.auc["A"].value, found.auc["B"].value) == (1, 0)
    assert found.auc[MACRO].value == found.auc_paper[MACRO].value == 0.5
    rows = compare_predictions(("one", "two"), (table, table), "ABC", draws, draws, exclusive=False)
    macro = next(row for row in rows.differences if (row.metric, row.group) == ("auc", MACRO))
    assert macro.difference == 0
    assert macro.p_delong == 1


def test_a_combination_of_classes_that_one_patient_has_is_not_drawn_once_every_time(
    predictions: pl.DataFrame,
) -> None:
    alone = predictions.with_columns(
        label_never=pl.when(pl.col("case_id") == "c00").then(1).otherwise(0).cast(pl.Int8)
    )
    weights = np.concatenate([*policy.bootstrap(alone, CLASSES, resamples=500, seed=0).chunks()])
    assert set(weights.sum(1)) == {60}
    assert {0, 1, 2} <= set(weights[:, 0])


def test_the_class_shown_is_the_most_probable_of_the_true_ones_or_of_all() -> None:
    labels = [[1, 1, 0], [0, 0, 0], [0, 1, 0]]
    probabilities = [[0.2, 0.3, 0.9], [0.1, 0.2, 0.7], [0.9, 0.0, 0.1]]
    assert multilabel.true_class(labels, probabilities).tolist() == [1, 2, 1]


def test_cases_of_a_class_are_found_missed_or_false_alarms(predictions: pl.DataFrame) -> None:
    chosen = choose(predictions, CLASSES, exclusive=False)
    rows = {row["case_id"]: row for row in predictions.iter_rows(named=True)}
    for name in CLASSES:
        has = {c: bool(row[f"label_{name}"]) for c, row in rows.items()}
        p = {c: row[f"probability_{name}"] for c, row in rows.items()}
        found = [c for c in rows if has[c] and p[c] >= 0.5]
        wrong = [c for c in rows if has[c] != (p[c] >= 0.5)]
        alarms = sum(not has[c] for c in wrong)
        assert chosen[name].tally.startswith(
            f"{len(found)} of {sum(has.values())} found, {alarms} false alarm"
        )
        assert (chosen[name].all_correct, chosen[name].all_wrong) == (len(found), len(wrong))
        assert set(chosen[name].correct) <= set(found)
        if found:
            assert chosen[name].correct[0] == max(found, key=lambda c: p[c])
        assert list(chosen[name].wrong) == sorted(wrong, key=lambda c: -abs(p[c] - has[c]))[:3]


def test_a_mean_over_cases_is_resampled_with_the_numbers_of_its_classes() -> None:
    """Accuracy of .98 in one class and .5 in the other: most of its variance is how many cases each has."""
    labels = np.repeat([0, 1], [60, 40])
    right = np.r_[np.arange(60) != 0, np.arange(40) % 2 == 0]
    p = np.where(right == labels, 0.9, 0.1)
    table = pl.DataFrame(
        {
            "case_id": [f"c{i}" for i in range(100)],
            "patient": list(range(100)),
            "probability_A": 1 - p,
            "probability_B": p,
            "label_A": 1 - labels,
            "label_B": labels,
        }
    )
    draw = partial(policy.bootstrap, table, resamples=4000, seed=0)
    classes = ("A", "B")
    found = summary.discrimination_summary(table, classes, draw(classes), draw(), PaperResamples(100, seed=0))
    theirs = scipy.stats.bootstrap((right,), np.mean, n_resamples=4000, method="percentile", rng=1)
    accuracy = known(found.accuracy)
    assert (accuracy.low, accuracy.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.011)
    counts = [np.concatenate([*each.chunks()])[:, 60:].sum(1) for each in (draw(classes), draw())]
    assert set(counts[0]) == {40}
    assert counts[1].std() == pytest.approx(np.sqrt(100 * 0.4 * 0.6), rel=0.1)
    squared = (p - labels) ** 2
    theirs = scipy.stats.bootstrap((squared,), np.mean, n_resamples=4000, method="percentile", rng=1)
    brier = found.brier["B"]
    assert (brier.low, brier.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.011)
