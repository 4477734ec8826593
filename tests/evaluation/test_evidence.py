"""Below the least numbers nothing is called better; oracle: all sign flips of small samples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from radgaze.evaluation.statistics.evidence import (
    LEAST_PATIENTS,
    Evidence,
    bounds_after,
    least_discordant,
    least_p,
    too_few_seeds,
)
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.evaluation.statistics.resampling import Estimate
from radgaze.reporting.statistics_words import CAUTION, bounded_p, cautions, marked, p_equals, p_words
from tests.evaluation.known import known


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p of the mean by all sign flips."""
    flipped = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return float(np.mean(np.array(flipped) >= abs(differences.sum()) - 1e-12))


@pytest.mark.parametrize("comparisons", [1, 3, 11])
def test_the_least_number_of_pairs_is_where_an_exact_sign_flip_test_can_first_reach_a_twentieth(
    comparisons: int,
) -> None:
    least = least_discordant(comparisons)
    clearest = np.arange(1.0, least + 1)  # all of one sign: no sample of this size has a smaller p
    assert comparisons * sign_flip_p(clearest) < 0.05
    assert comparisons * sign_flip_p(clearest[:-1]) >= 0.05


def test_few_patients_or_few_discordant_pairs_allow_no_verdict_and_say_why() -> None:
    assert Evidence(5).lacking == f"too few patients (5; at least {LEAST_PATIENTS})"
    assert Evidence(100, discordant=5).lacking == "too few discordant pairs (5; at least 6)"
    assert Evidence(100, discordant=8, comparisons=11).lacking == "too few discordant pairs (8; at least 9)"
    assert not Evidence(LEAST_PATIENTS, discordant=6).lacking
    assert not Evidence(100).lacking


def test_two_seeds_are_too_few_and_one_is_not_several() -> None:
    assert [too_few_seeds(k) for k in (1, 2, 3)] == [False, True, False]


def test_a_p_value_at_the_floor_is_a_bound_that_is_rounded_up() -> None:
    clear = Estimate(1.0, np.full(2000, 1.0))
    assert clear.p_is_bound
    assert clear.p == least_p(2000)
    assert not Estimate(1.0, np.append(np.full(1999, 1.0), -1.0)).p_is_bound
    assert bounded_p(least_p(2000)) == "≤ 0.001"
    assert bounded_p(least_p(2000, 11)) == "≤ 0.011"


def test_a_p_value_has_one_form_and_only_a_bound_is_written_as_one() -> None:
    assert [p_words(p) for p in (0.0314, 0.0004, 1.0, None, float("nan"))] == [
        "0.031",
        "< 0.001",
        "1.000",
        "–",
        "–",
    ]
    assert [p_words(p, True) for p in (11 * 2 / 2001, 2 / 2001, 1.0)] == ["≤ 0.011", "≤ 0.001", "1.000"]
    assert [p_equals(0.0314), p_equals(0.0004), p_equals(0.0106, True)] == ["= 0.031", "< 0.001", "≤ 0.011"]


def test_after_holm_a_bound_is_what_more_resamples_could_lower() -> None:
    floor = least_p(99)
    p = [floor, 0.5, floor, 0.021, None]
    at_floor = [True, False, True, False, False]
    found = bounds_after(holm, p, at_floor)
    # Oracle: the same with the p-values of ever more resamples at the floor.
    more = holm([floor / 1000, 0.5, floor / 1000, 0.021, None])
    lower = [a is not None and known(b) < a for a, b in zip(holm(p), more, strict=True)]
    assert found == lower == [True, False, True, True, False]  # 0.021·2 lies under 4·floor, which holds it up
    assert bounds_after(holm, [0.02, 0.02], [False, False]) == [False, False]
    assert bounds_after(holm, [0.9, 0.9], [True, True]) == [False, False]  # 1 bounds nothing


def test_only_an_interval_without_any_width_is_marked_and_explained_once() -> None:
    assert marked(1.0, 1.0) == " †"
    assert marked(0.999, 1.0) == ""
    assert cautions("1.000 [1.000, 1.000] † and 0.000 [0.000, 0.000] †") == [CAUTION]
    assert cautions("0.900 [0.800, 0.950]") == []


@pytest.mark.parametrize(("k", "limit"), [(5, 0.55), (10, 0.74), (30, 0.90)])
def test_the_limit_of_a_perfect_auc_is_not_above_the_exact_binomial_one_and_holds_in_simulation(
    k: int, limit: float
) -> None:
    exact = binomtest(k, k, alternative="greater").proportion_ci(0.95, method="exact").low
    assert f"{limit:.2f} for {k}" in CAUTION
    assert exact == pytest.approx(limit, abs=0.005)
    # At an AUC just under the limit a perfect order of k cases and many others is seen in at most .05.
    rng, n = np.random.default_rng(0), 2 * k
    apart = np.sqrt(2) * norm.ppf(exact - 1e-3)
    perfect = [(rng.normal(apart, 1, k).min() > rng.normal(0, 1, n).max()) for _ in range(4000)]
    assert np.mean(perfect) < 0.05


def test_an_entry_says_what_it_rests_on_seeds_too() -> None:
    assert Evidence.of({"value": 0.1}) is None
    assert known(Evidence.of({"patients": 50, "discordant": 8, "comparisons": 11})).lacking == (
        "too few discordant pairs (8; at least 9)"
    )
    assert known(Evidence.of({"patients": 50, "seeds": 2})).lacking == "too few runs (2; at least 3)"
    assert not known(Evidence.of({"patients": 50, "discordant": 30, "seeds": 3})).lacking
