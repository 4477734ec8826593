from __future__ import annotations

from typing import Any

import pytest

from radgaze.reporting.rejection import findings

ABOVE = {"value": 0.9, "low": 0.8, "high": 0.95}


def said(errors: int, patients: int, detection: dict[str, Any] = ABOVE, cases: int = 60) -> str:
    """The sentence on how well errors are told."""
    row = {
        "title": "alpha",
        "error_detection": detection,
        **dict.fromkeys(("coverage", "accuracy_kept", "auc_kept"), ABOVE),
    }
    counts = {"errors": errors, "cases": cases, "patients": patients}
    whole = {"accuracy": ABOVE, "auc": ABOVE}
    return findings(
        {**counts, "score": "alpha", "scores": {"alpha": row}, "all": whole, "out_of_distribution": {}}
    )[0]


@pytest.mark.parametrize(
    ("errors", "patients", "words"),
    [
        (20, 60, ", better than chance."),
        (20, 12, ", no verdict on it: too few patients (12; at least 20)."),
        (3, 60, ", no verdict on it: too few discordant pairs (3; at least 6)."),
        (57, 60, ", no verdict on it: too few discordant pairs (3; at least 6)."),
    ],
)
def test_a_score_is_better_than_chance_only_with_enough_patients_and_errors(
    errors: int, patients: int, words: str
) -> None:
    assert said(errors, patients).endswith(words)


def test_an_interval_that_holds_a_half_is_not_told_from_chance() -> None:
    across = {"value": 0.6, "low": 0.4, "high": 0.8}
    assert said(20, 60, across).endswith(", not distinguishable from chance.")
    assert said(20, 60, {"value": 0.3, "low": 0.2, "high": 0.4}).endswith(", worse than chance.")
