import numpy as np
import pytest

from radgaze.evaluation.statistics.decision import Difference, against_all, verdict
from radgaze.evaluation.statistics.evidence import Evidence
from radgaze.records import plain
from radgaze.reporting.statistics_words import verdict_words

ABOVE, ACROSS, BELOW = ({"value": v, "low": v - 0.1, "high": v + 0.1} for v in (0.3, 0.0, -0.3))


def test_better_and_worse_leave_zero_out_and_point_where_the_figure_does() -> None:
    assert [verdict(e) for e in (ABOVE, ACROSS, BELOW)] == ["better", "even", "worse"]
    assert [verdict(e, higher_is_better=False) for e in (ABOVE, ACROSS, BELOW)] == ["worse", "even", "better"]
    assert verdict({"value": 0.1, "low": 0.0, "high": 0.2}) == "even"


@pytest.mark.parametrize("nothing", [None, np.nan])
@pytest.mark.parametrize("end", ["value", "low", "high"])
def test_without_a_value_or_an_interval_nothing_is_said(end: str, nothing: float | None) -> None:
    assert verdict(ABOVE | {end: nothing}) is None


def test_a_test_that_is_asked_for_must_speak_too() -> None:
    assert verdict(ABOVE | {"p": 0.2}) == "better"
    assert verdict(ABOVE | {"p": 0.2}, tested=True) == "even"
    assert verdict(ABOVE | {"p": 0.01}, tested=True) == "better"
    assert verdict(ABOVE, tested=True) is None


def test_too_few_patients_or_pairs_that_differ_have_no_verdict() -> None:
    assert verdict(ABOVE | {"patients": 5, "discordant": 5}) == "few"
    assert verdict(ABOVE | {"patients": 100, "discordant": 2}) == "few"
    assert verdict(ABOVE | {"patients": 100, "discordant": 100}) == "better"
    assert verdict(Difference(0.3, 0.2, 0.4, patients=5)) == "few"


def test_better_than_all_is_better_than_each() -> None:
    assert against_all(["better", "better", None]) == "better"
    assert against_all(["better", "even"]) == "even"
    assert against_all(["better", "worse", "even"]) == "worse"
    assert against_all(["few", "worse"]) == "few"
    assert against_all([None, None]) is None


def test_in_the_place_of_a_verdict_stands_why_there_is_none() -> None:
    assert verdict_words(Difference.of(ABOVE | {"patients": 5})) == "too few patients (5; at least 20)"
    assert verdict_words(Difference.of(ABOVE | {"patients": 50, "discordant": 50})) == "better"
    assert (
        verdict_words(Difference.of(ABOVE | {"patients": 50, "discordant": 50}), higher_is_better=False)
        == "worse"
    )
    of_seeds = ABOVE | {"patients": 50, "discordant": 50, "seeds": 2, "low": None, "high": None, "p": None}
    assert verdict_words(Difference.of(of_seeds)) == "too few runs (2; at least 3)"
    assert verdict(of_seeds, tested=True) == "few"
    assert verdict_words(Difference.of(ACROSS | {"patients": 5})) == "too few patients (5; at least 20)"


def test_a_difference_is_written_with_its_evidence_and_without_what_it_lacks() -> None:
    assert plain(Difference(0.3, 0.2, 0.4, patients=30, discordant=12)) == {
        "value": 0.3,
        "low": 0.2,
        "high": 0.4,
        "patients": 30,
        "discordant": 12,
    }
    entry = ABOVE | {"patients": 30, "discordant": 8, "comparisons": 11, "seeds": 3, "p": 0.01, "more": 1}
    difference = Difference.of(entry)
    assert difference.evidence == Evidence(30, 8, comparisons=11, seeds=3)
    assert difference.lacking == "too few discordant pairs (8; at least 9)"
    assert verdict(difference, tested=True) == verdict(entry, tested=True) == "few"
    assert Difference.of(ABOVE).evidence is None
