"""The three steps of `evaluate`, each by itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from radgaze.errors import UserError
from radgaze.evaluation import EvaluationOptions, reliance
from radgaze.evaluation.maps import case_maps
from radgaze.evaluation.metrics.agreement import cc
from radgaze.evaluation.metrics.classification import METRICS
from radgaze.evaluation.predicting import PredictedCases, References, predict
from radgaze.evaluation.results import MACRO, SplitResults
from radgaze.evaluation.scoring import LOCALISATION_SCHEMA, SCHEMA, score
from radgaze.evaluation.summary import summarise
from tests.evaluation.fakes import CLASSES, SIZE, FakeRun, cases
from tests.evaluation.known import known

OPTIONS = EvaluationOptions(device="cpu", resamples=20, batch_size=5)
NO_TWINS = pl.DataFrame(schema=reliance.SCHEMA)


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path, cases=tuple(replace(c, boxed=k % 2 == 0) for k, c in enumerate(cases())))


def test_predictions_are_a_stream_of_batches_and_write_nothing(run: FakeRun) -> None:
    predicted = predict(run, OPTIONS)
    assert predicted.predictions.equals(run.predictions())
    assert [len(batch) for batch in predicted.maps] == [5, 5, 5, 5, 3]  # the case without gaze has no maps
    assert predicted.references.without_gaze == 1
    boxed = [case.case_id for case in run.of_split("test") if case.boxed]
    assert [i for batch in predicted.maps_with_boxes for i in batch.case_ids] == boxed
    assert list(predicted.references.baselines) == ["mean_gaze", "lung_shape"]
    assert predicted.references.training_cases == 6
    fixations = case_maps(run, [case.case_id for case in run.of_split("test")]).present.sum()
    assert predicted.references.fixations.sum() == fixations
    assert list(run.path.iterdir()) == []


def test_scores_are_the_metrics_of_the_maps_that_were_streamed(run: FakeRun) -> None:
    some = case_maps(run, ["test-00", "test-03", "test-05"])  # the second has no gaze
    references = References({}, np.ones((SIZE, SIZE)), 0)
    scores = score(PredictedCases(run.predictions(), references, iter([some]), iter([])))
    assert (scores.without_gaze, scores.localisation.height) == (1, 0)
    assert list(scores.agreement.schema) == list(SCHEMA)
    assert list(scores.localisation.schema) == list(LOCALISATION_SCHEMA)
    raw = scores.agreement.filter(map="heatmap_raw")
    assert raw["case_id"].to_list() == ["test-00", "test-05"]
    expected = cc(some.heatmap[[0, 2]], some.gaze[[0, 2]])
    np.testing.assert_allclose(raw["cc"].to_numpy(), expected)
    assert scores.constant_maps == {"heatmap": 0, "heatmap_raw": 0, "grad_cam": 0, "mask": 0}


def test_results_follow_from_the_scores_alone(run: FakeRun) -> None:
    scores = score(predict(run, OPTIONS))
    results = summarise(run, scores, OPTIONS, NO_TWINS)
    assert results == summarise(run, scores, OPTIONS, NO_TWINS)
    assert results.settings.interval == "delong"
    mean = scores.agreement.filter(map="mask")["sim"].mean()
    assert known(results.test.agreement["mask"])["sim"].value == pytest.approx(mean)
    worse = replace(scores, agreement=scores.agreement.filter(map="lung_shape"))
    assert summarise(run, worse, OPTIONS, NO_TWINS).test.agreement["mask"] is None


def test_every_metric_of_a_class_has_its_field_of_the_results(run: FakeRun) -> None:
    results = summarise(run, score(predict(run, OPTIONS)), OPTIONS, NO_TWINS).validate
    for name in METRICS:
        groups = getattr(results, name)
        groups = groups["0.9"] if name == "sensitivity_at_specificity" else groups
        assert {MACRO, *CLASSES} <= set(groups)
    assert [name for name in SplitResults.__dataclass_fields__ if name in METRICS] == list(METRICS)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"resamples": 0}, r"`resamples` must be from 1 to 1,000,000, got 0"),
        ({"tolerance": float("nan")}, r"`tolerance` must be at least 0, got nan"),
        ({"interval": "normal"}, r"`interval` must be one of delong, bootstrap, paper, got normal"),
        ({"target": "both"}, r"`target` must be one of predicted, true, got both"),
    ],
)
def test_an_option_that_is_not_allowed_is_named(changed: dict[str, Any], rule: str) -> None:
    with pytest.raises(UserError, match=rule):
        EvaluationOptions(**changed)


def test_options_are_imported_without_torch() -> None:
    code = (
        "import sys, radgaze.evaluation.options as o; o.EvaluationOptions(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
