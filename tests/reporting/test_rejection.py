from __future__ import annotations

import pytest

from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.referral.options import Goal
from radgaze.evaluation.referral.results import (
    FIGURES,
    Likelihood,
    OverallResults,
    ReferralResults,
    ReferralSettings,
    ScoreResults,
)
from radgaze.evaluation.referral.selective import ReferralValidation
from radgaze.reporting.rejection import COLUMNS, findings

ABOVE = IntervalEstimate(0.9, 0.8, 0.95)


def said(errors: int, patients: int, detection: IntervalEstimate = ABOVE, cases: int = 60) -> str:
    """The sentence on how well errors are detected."""
    figures = {**dict.fromkeys(FIGURES, ABOVE), "error_detection": detection}
    score = ScoreResults(
        title="alpha",
        threshold=0.5,
        temperature=1.0,
        magnitude=0.0,
        validation=ReferralValidation(cases=30, errors=3, coverage=0.9, frr=0.1, risk=0.1),
        **figures,
    )
    results = ReferralResults(
        run="run",
        experiment="baseline",
        selection="validate",
        classes=("a", "b"),
        kind="softmax",
        goal=Goal("coverage", 0.9),
        score="alpha",
        cases=cases,
        patients=patients,
        errors=errors,
        best_area=0.1,
        temperature=1.0,
        likelihood=Likelihood(1.0, 1.0),
        all=OverallResults(ABOVE, ABOVE),
        scores={"alpha": score},
        out_of_distribution={},
        settings=ReferralSettings(resamples=10, seed=0, rejected=0.95),
    )
    return findings(results)[0]


def test_every_figure_has_a_column() -> None:
    assert tuple(COLUMNS) == FIGURES


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
    across = IntervalEstimate(0.6, 0.4, 0.8)
    assert said(20, 60, across).endswith(", not distinguishable from chance.")
    assert said(20, 60, IntervalEstimate(0.3, 0.2, 0.4)).endswith(", worse than chance.")
