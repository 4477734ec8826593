from __future__ import annotations

import json
from pathlib import Path

import pytest

from radgaze.errors import UserError
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.results import (
    AgreementCases,
    EvaluationResults,
    EvaluationSettings,
    LocalisationCases,
    SplitResults,
    read_results,
    write_results,
)

AUC = IntervalEstimate(0.75, 0.5, 0.9, undefined_resamples=3)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    on_test = SplitResults(
        auc={"macro": AUC}, accuracy=IntervalEstimate(None, None, None), cases=4, patients=3
    )
    results = EvaluationResults(
        classes=("a", "b"),
        settings=EvaluationSettings(interval="delong", gaze={"sigma": 0.05, "pixels_per_degree": None}),
        test=on_test.with_maps(
            agreement={"heatmap": {"nss": IntervalEstimate(1.0)}, "mask": None},
            agreement_cases=AgreementCases(4, 0, {"mean_gaze_of_training_cases": 9}, {"heatmap": 1}),
        ),
    )
    write_results(results, tmp_path)
    assert read_results(tmp_path) == results
    content = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert next(iter(content)) == "schema"
    assert list(content["test"]["agreement_cases"].items()) == [
        ("compared", 4),
        ("without_gaze", 0),
        ("mean_gaze_of_training_cases", 9),
        ("constant_maps", {"heatmap": 1}),
    ]
    assert "exact_match" not in content["test"]
    assert "agreement" not in content["validate"]


def test_a_file_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It has no schema, lacks metrics and settings, and has a metric that this version does not know."""
    content = {
        "settings": {"generator": "grad_cam"},
        "test": {
            "auc": {"macro": {"value": 0.75, "low": None, "high": None}},
            "f1": {"macro": {"value": 0.5}},
            "agreement": {"heatmap": {"nss": {"value": 1.0, "low": 0.5, "high": 1.5}}, "mask": None},
            "agreement_cases": {"compared": 7, "without_gaze": 0},
        },
    }
    (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    results = read_results(tmp_path)
    assert results.test.auc["macro"].value == 0.75
    assert results.test.brier == {}
    assert results.test.agreement == {"heatmap": {"nss": IntervalEstimate(1.0, 0.5, 1.5)}, "mask": None}
    assert results.test.agreement_cases == AgreementCases(compared=7)
    assert results.test.localisation_cases == LocalisationCases()
    assert (results.settings.generator, results.settings.interval) == ("grad_cam", None)
    assert results.exclusive


def test_the_papers_resamples_are_read_by_their_earlier_name(tmp_path: Path) -> None:
    auc = {"macro": {"value": 0.75, "low": 0.7, "high": 0.8}}
    content = {
        "settings": {"interval": "seed"},
        "test": {"auc_seed": auc},
        "validate": {"auc_seed": auc},
    }
    (tmp_path / "metrics.json").write_text(json.dumps(content), encoding="utf-8")
    results = read_results(tmp_path)
    assert results.settings.interval == "paper"
    assert results.test.auc_paper == results.validate.auc_paper
    assert results.test.auc_paper["macro"].low == 0.7


@pytest.mark.parametrize(
    "text", ['{"test": {"auc": {"macro": 0.75}}}', '{"test": {"agreement_cases": {"own_lungs": "?"}}}', "[]"]
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "metrics.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics\.json .*make it again: `evaluate\("):
        read_results(tmp_path)
