import math

import pytest

from radgaze.evaluation.metrics.agreement import METRICS
from radgaze.reporting.statistics_words import p_words
from radgaze.reporting.wording import (
    AGREEMENT,
    bounds,
    count,
    difference,
    estimate,
    listed,
    number,
    signed,
)


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_what_is_undefined_is_a_dash(nothing: float | None) -> None:
    assert number(nothing) == signed(nothing) == p_words(nothing) == estimate(nothing) == "–"
    assert estimate({"value": nothing, "low": None, "high": None}) == "–"


def test_numbers_carry_a_true_minus_and_no_negative_zero() -> None:
    assert number(-0.1234) == "−0.123"
    assert number(-0.0001) == "0.000"
    assert signed(0.05, 2) == "+0.05"


def test_an_estimate_shows_its_interval_where_there_is_one() -> None:
    assert estimate({"value": 0.8719, "low": 0.8, "high": 0.93}) == "0.872 [0.800, 0.930]"
    assert estimate({"value": 0.8719, "low": None, "high": None}) == "0.872"
    assert bounds(0.5) == (0.5, None, None)


def test_a_difference_claims_no_more_than_its_interval() -> None:
    assert difference({"value": 0.05, "low": -0.01, "high": 0.11}, 2) == (
        "+0.05 [−0.01, 0.11], not distinguishable from 0"
    )
    assert difference({"value": 0.05, "low": 0.01, "high": 0.11}, 2) == "+0.05 [0.01, 0.11]"
    assert difference({"value": None, "low": None, "high": None}) == "undefined"


def test_counts_and_lists_read_as_sentences_do() -> None:
    assert (count(1, "case"), count(1083, "case")) == ("1 case", "1,083 cases")
    assert [listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_the_agreement_metrics_are_those_that_evaluation_measures_and_point_the_same_way() -> None:
    assert {name: higher for name, (_, higher, _) in AGREEMENT.items()} == {
        name: metric.higher_is_better for name, metric in METRICS.items()
    }
