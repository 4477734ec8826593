"""Figures over seeds: the interval covers what it should, whether seeds share their test cases or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import stdev

import numpy as np
import polars as pl
import pytest
from benchmarks.seed_intervals import SEPARATION, SLOPE, differences
from scipy.stats import norm

from radgaze.evaluation.statistics.across_seeds import across, spread
from radgaze.evaluation.statistics.multiple_testing import holm
from radgaze.evaluation.statistics.policy import bootstrap, bootstraps
from radgaze.evaluation.statistics.resampling import Estimate, Part, Resampling, estimates, mean_of
from radgaze.sources.split import fold_split


def seeds(rng: np.random.Generator, k: int, tau: float, *, shared: bool, cases: int = 60) -> list[Estimate]:
    """Means over cases of k seeds whose true mean is 0, each case of deviation 0.3, each seed of τ."""
    pool = rng.normal(0, 0.3, (1 if shared else k, cases))
    weights = rng.multinomial(cases, np.full(cases, 1 / cases), size=400) / cases
    found = []
    for i in range(k):
        if not shared:
            weights = rng.multinomial(cases, np.full(cases, 1 / cases), size=400) / cases
        values = pool[0 if shared else i] + rng.normal(0, tau) + rng.normal(0, 0.05, cases)
        found.append(Estimate(float(values.mean()), weights @ values))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("s", [0.0, 0.015, 0.04])
@pytest.mark.parametrize("k", [3, 5, 10])
def test_interval_of_a_difference_of_aucs_misses_0_no_oftener_than_it_says_where_nothing_differs(
    k: int, s: float
) -> None:
    rng, trials = np.random.default_rng([k, round(s * 1000)]), 120
    found = [
        across(of, (-1, 1))
        for _ in range(trials)
        for of in differences(rng, seeds=k, s=s, experiments=3, cases=150, resamples=100)
    ]
    missed = np.mean([not low <= 0 <= high for low, high in (one.interval for one in found)])
    assert missed < 0.075, missed  # of 360 comparisons in threes: .05 ± .017
    assert np.mean([one.p < 0.01 for one in found]) < 0.03


@pytest.mark.parametrize("s", [0.015, 0.04])
def test_interval_of_a_difference_of_aucs_holds_a_difference_that_is_there(s: float) -> None:
    rng, gain = np.random.default_rng(round(s * 1000)), 0.05
    truth = norm.cdf((SEPARATION + gain / SLOPE) / np.sqrt(2 + 2 * (s / SLOPE) ** 2 / 2))
    truth -= norm.cdf(SEPARATION / np.sqrt(2 + 2 * (s / SLOPE) ** 2 / 2))
    drawn = [differences(rng, seeds=3, s=s, cases=150, gain=gain, resamples=100)[0] for _ in range(200)]
    intervals = [across(of, (-1, 1)).interval for of in drawn]
    assert 0.915 <= np.mean([low <= truth <= high for low, high in intervals]) <= 1


def test_spread_of_a_mean_over_seeds_is_never_less_than_the_seeds_own() -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        (of,) = differences(rng, seeds=3, s=0.04, cases=150, resamples=100)
        found, figures = spread(of), [one.value for one in of]
        assert found.seeds == pytest.approx(stdev(figures))
        low, high = across(of).interval
        # Student's t of 2 degrees of freedom alone; quantiles of 2,000 draws.
        assert high - low >= 0.97 * 2 * 4.303 * stdev(figures) / np.sqrt(3)


def test_interval_is_that_of_a_normal_and_a_students_t_convolved() -> None:
    rng = np.random.default_rng(8)
    (of,) = differences(rng, seeds=5, s=0.015, resamples=400)
    found = spread(of)
    drawn = rng.normal(0, found.cases, 400_000) + found.seeds / np.sqrt(5) * rng.standard_t(4, 400_000)
    expected = np.mean([one.value for one in of]) + np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(across(of).interval, expected, atol=0.04 * np.ptp(expected))


def test_interval_of_one_seed_alone_misses_what_other_seeds_would_give() -> None:
    rng = np.random.default_rng(0)
    of_cases = [seeds(rng, 1, 0.2, shared=True)[0].interval for _ in range(200)]
    assert np.mean([low <= 0 <= high for low, high in of_cases]) < 0.7


def table(patients: list[int]) -> pl.DataFrame:
    """A case of each of these patients, every third of class a."""
    label = [int(patient % 3 == 0) for patient in patients]
    ids = [str(patient) for patient in patients]
    return pl.DataFrame({"case_id": ids, "patient": patients, "label_a": label})


def covered(test_sets: list[list[int]], tau: float, *, together: bool, trials: int = 100) -> float:
    """How often the interval of means over these test sets of one pool holds the truth, 0."""
    tables = [table(patients) for patients in test_sets]
    rng, hits = np.random.default_rng(5), 0
    pool_size = 1 + max(max(patients) for patients in test_sets)
    for trial in range(trials):
        pool, found = rng.normal(0, 0.3, pool_size), []
        if together:
            draws: Sequence[Resampling] = bootstraps(tables, ["a"], resamples=200, seed=trial)
        else:
            draws = [bootstrap(one, ["a"], resamples=200, seed=trial) for one in tables]
        for patients, own in zip(test_sets, draws, strict=True):
            values = pool[patients] + rng.normal(0, tau) + rng.normal(0, 0.05, len(patients))
            found.append(estimates({0: mean_of(values)}, len(patients), own)[0])
        low, high = across(found).interval
        hits += low <= 0 <= high
    return hits / trials


def folds(repetitions: int) -> list[list[int]]:
    """The test sets of a repeated cross-validation in five folds of 100 patients."""
    everyone = range(100)
    splits = [
        fold_split(everyone, [p % 3 == 0 for p in everyone], r, folds=5, fold=f)
        for r in range(repetitions)
        for f in range(5)
    ]
    return [[p for p in everyone if split[p] == "test"] for split in splits]


@pytest.mark.slow
def test_interval_of_repeated_folds_covers_the_truth_as_patients_are_drawn_together() -> None:
    assert 0.88 <= covered(folds(4), 0.02, together=True) <= 1  # 95%, of 100 trials: ± 4%
    assert covered(folds(4), 0.02, together=False) < 0.8  # twenty test sets, but only a hundred patients


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 10])
def test_interval_over_splits_that_share_some_test_patients_covers_the_truth(k: int) -> None:
    rng = np.random.default_rng(6)
    overlapping = [sorted(rng.choice(120, 40, replace=False).tolist()) for _ in range(k)]
    assert 0.88 <= covered(overlapping, 0.02, together=True) <= 1


def test_a_patient_is_drawn_equally_often_in_all_seeds_and_equal_seeds_draw_as_one_alone() -> None:
    a, b = bootstraps([table([0, 1, 2, 3, 4]), table([3, 5, 1])], ["a"], resamples=50, seed=1)
    (of_a,), (of_b,) = a.chunks(), b.chunks()
    np.testing.assert_array_equal(of_a[:, [3, 1]], of_b[:, [0, 2]])
    assert len(np.unique(of_a[:, 3])) > 1
    one = table([0, 1, 2, 3, 4])
    for same in bootstraps([one, one], ["a"], resamples=50, seed=1):
        assert isinstance(same, Part)
        alone = bootstrap(one, ["a"], resamples=50, seed=1)
        np.testing.assert_array_equal(
            np.concatenate(list(same.chunks())), np.concatenate(list(alone.chunks()))
        )


def test_covariance_between_seeds_is_that_of_cases_they_share() -> None:
    rng = np.random.default_rng(1)
    alike = [spread(seeds(rng, 10, 0.1, shared=True)).cases for _ in range(50)]
    assert np.mean(alike) == pytest.approx(0.3 / np.sqrt(60), rel=0.1)
    apart = [spread(seeds(rng, 10, 0.1, shared=False)).cases for _ in range(50)]
    assert np.mean(apart) < 0.01


def test_value_is_the_mean_and_a_seed_without_one_is_left_out() -> None:
    rng = np.random.default_rng(2)
    three = seeds(rng, 3, 0.1, shared=True)
    assert across(three).value == pytest.approx(np.mean([one.value for one in three]))
    unknown = Estimate(float("nan"), np.full(400, np.nan))
    assert across(iter(three)).summary() == across(three).summary()  # type: ignore[arg-type]
    assert across([*three, unknown]).summary() == across(three).summary()
    assert across(three[:1]) is three[0]
    assert across([unknown]).summary().value is None


def test_order_of_seeds_does_not_matter_and_bounds_hold() -> None:
    three = seeds(np.random.default_rng(3), 3, 0.2, shared=False)
    assert across(three).interval == pytest.approx(across(three[::-1]).interval)
    bounded = across(three, within=(-0.1, 0.1)).resampled
    assert bounded.min() == -0.1
    assert bounded.max() == 0.1


def test_resamples_of_different_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="different numbers"):
        across([Estimate(0.0, np.zeros(3)), Estimate(0.0, np.zeros(4))])


def test_p_is_below_a_twentieth_where_the_interval_leaves_zero_out() -> None:
    rng, met = np.random.default_rng(4), set()
    for _ in range(50):
        moved = [Estimate(e.value + 0.1, e.resampled + 0.1) for e in seeds(rng, 3, 0.02, shared=True)]
        (low, high), p = across(moved).interval, across(moved).p
        if abs(p - 0.05) > 0.01:  # of 400 resamples
            assert (p < 0.05) == (not low <= 0 <= high)
            met.add(p < 0.05)
    assert met == {True, False}


def test_holm_is_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, None, float("nan")]) == [0.01, None, None]


def test_resamples_on_which_another_seed_is_undefined_still_show_what_seeds_share() -> None:
    """Three seeds on the same cases, each undefined on other resamples: on none are all three defined."""
    rng = np.random.default_rng(0)
    cases = rng.normal(0, 0.1, 3000)
    part = np.arange(3000) % 3
    whole = [Estimate(0.8 + 0.001 * k, 0.8 + cases + rng.normal(0, 0.01, 3000)) for k in range(3)]
    partly = [
        replace(each, resampled=np.where(part == k, np.nan, each.resampled)) for k, each in enumerate(whole)
    ]
    assert spread(partly).cases == pytest.approx(spread(whole).cases, rel=0.05)
    assert spread(whole).cases == pytest.approx(0.1, rel=0.05)
