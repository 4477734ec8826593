"""Below the least numbers nothing is called better; oracle: all sign flips of small samples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from radgaze.evaluation.evidence import (
    LEAST_PATIENTS,
    Evidence,
    bounded_p,
    least_discordant,
    least_p,
    too_few_seeds,
)
from radgaze.evaluation.resampling import Estimate


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p of the mean by all sign flips."""
    flipped = [abs(np.dot(signs, differences)) for signs in product((-1, 1), repeat=len(differences))]
    return float(np.mean(np.array(flipped) >= abs(differences.sum()) - 1e-12))


@pytest.mark.parametrize("comparisons", [1, 3, 11])
def test_the_least_number_of_pairs_is_where_an_exact_sign_flip_test_can_first_reach_a_twentieth(comparisons):
    least = least_discordant(comparisons)
    clearest = np.arange(1.0, least + 1)  # all of one sign: no sample of this size has a smaller p
    assert comparisons * sign_flip_p(clearest) < 0.05
    assert comparisons * sign_flip_p(clearest[:-1]) >= 0.05


def test_few_patients_or_few_discordant_pairs_allow_no_verdict_and_say_why():
    assert Evidence(5).lacking == f"too few patients (5; at least {LEAST_PATIENTS})"
    assert Evidence(100, discordant=5).lacking == "too few discordant pairs (5; at least 6)"
    assert Evidence(100, discordant=8, comparisons=11).lacking == "too few discordant pairs (8; at least 9)"
    assert not Evidence(LEAST_PATIENTS, discordant=6).lacking
    assert not Evidence(100).lacking


def test_two_seeds_are_too_few_and_one_is_not_several():
    assert [too_few_seeds(k) for k in (1, 2, 3)] == [False, True, False]


def test_a_p_value_at_the_floor_is_a_bound_that_is_rounded_up():
    clear = Estimate(1.0, np.full(2000, 1.0))
    assert clear.p_is_bound
    assert clear.p == least_p(2000)
    assert not Estimate(1.0, np.append(np.full(1999, 1.0), -1.0)).p_is_bound
    assert bounded_p(least_p(2000)) == "≤ 0.001"
    assert bounded_p(least_p(2000, 11)) == "≤ 0.011"
