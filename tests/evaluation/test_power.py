"""Power: what is predicted is what simulated studies find, and nothing is said where nothing is known."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from benchmarks.power import studies, truth
from scipy import stats

from radgaze.evaluation.statistics.across_seeds import Spread, across
from radgaze.evaluation.statistics.case_means import means
from radgaze.evaluation.statistics.power_analysis import (
    Power,
    critical,
    detectable,
    of_difference,
    power,
    reached_level,
)
from radgaze.evaluation.statistics.resampling import Estimate, PatientBootstrap
from radgaze.reporting.statistics_words import in_words, level_in_words, statement
from tests.evaluation.known import known

HOLM = 0.05 / 11


def estimate(value: float, error: float, resamples: int = 2000, seed: int = 0) -> Estimate:
    drawn = np.random.default_rng(seed).normal(0, 1, resamples)
    return Estimate(value, value + error * (drawn - drawn.mean()) / drawn.std(ddof=1))


def several(values: list[float], shared: float, own: float, resamples: int = 4000) -> list[Estimate]:
    """Seeds of these figures, moved alike by cases with deviation √c `shared`, and each alone by `own`."""
    rng = np.random.default_rng(1)
    alike = rng.normal(0, shared, resamples)
    return [Estimate(value, value + alike + rng.normal(0, own, resamples)) for value in values]


@pytest.mark.parametrize("level", [0.05, HOLM])
@pytest.mark.parametrize("freedom", [2, 4, 9])
def test_critical_value_is_the_normals_or_students_alone_and_that_of_the_sum_between(
    freedom: int, level: float
) -> None:
    assert critical(2.0, 0.0, freedom, level) == pytest.approx(2 * stats.norm.isf(level / 2))
    assert critical(0.0, 3.0, freedom, level) == pytest.approx(3 * stats.t.isf(level / 2, freedom))
    rng = np.random.default_rng(freedom)
    drawn = rng.normal(0, 1, 1_000_000) + 0.7 * rng.standard_t(freedom, 1_000_000)
    assert np.mean(np.abs(drawn) > critical(1.0, 0.7, freedom, level)) == pytest.approx(level, rel=0.06)


@pytest.mark.parametrize(
    ("k", "cases", "seeds"), [(3, 0.01, 0.03), (3, 0.02, 0.01), (5, 0.01, 0.02), (10, 0.0, 0.03)]
)
def test_power_at_the_detectable_difference_is_that_of_studies_drawn_one_by_one(
    k: int, cases: float, seeds: float
) -> None:
    """The test is written out again: a plain mean and deviation, and its quantile by brute force."""
    delta = detectable(Spread(cases, seeds, k))
    rng, trials = np.random.default_rng(k), 3000
    figures = delta + rng.normal(0, cases, (trials, 1)) + rng.normal(0, seeds, (trials, k))
    normal, student = rng.normal(0, 1, 8000), rng.standard_t(k - 1, 8000)
    error = figures.std(1, ddof=1)[:, None] / np.sqrt(k)
    q = np.concatenate(
        [
            np.quantile(np.abs(cases * normal + part * student), 0.95, axis=1)
            for part in np.array_split(error, 10)
        ]
    )
    assert np.mean(np.abs(figures.mean(1)) > q) == pytest.approx(0.8, abs=0.035)


@pytest.mark.slow
@pytest.mark.parametrize(("k", "s"), [(3, 0.015), (5, 0.03)])
def test_predicted_power_is_that_of_simulated_differences_of_aucs(k: int, s: float) -> None:
    _, pilot = studies(seeds=k, s=s, cases=200, gain=0.0, trials=150)
    of = truth(pilot)
    delta = detectable(of, reached_level(2000))
    by_normal = (stats.norm.isf(0.025) + stats.norm.isf(0.2)) * np.hypot(of.cases, of.seeds / np.sqrt(k))
    p, _ = studies(seeds=k, s=s, cases=200, gain=delta, trials=250)
    assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.09)
    assert delta > 1.15 * by_normal  # what Student's t costs
    p, _ = studies(seeds=k, s=s, cases=200, gain=by_normal, trials=120)
    assert np.mean(p < 0.05) < 0.75


def test_power_of_one_network_each_is_the_textbooks() -> None:
    error = 0.012
    found = detectable(Spread(error, 0.0, 1))
    assert found == pytest.approx((stats.norm.isf(0.025) + stats.norm.isf(0.2)) * error, rel=1e-4)
    corrected = detectable(Spread(error, 0.0, 1), HOLM)
    assert corrected == pytest.approx((stats.norm.isf(HOLM / 2) + stats.norm.isf(0.2)) * error, rel=1e-4)
    assert power(Spread(error, 0.0, 1), 0.0) == pytest.approx(0.05)


def test_power_of_a_mean_over_few_patients_is_that_of_students_test() -> None:
    rng, n = np.random.default_rng(0), 25
    patients = np.arange(n)
    (mean,) = means(
        {0: rng.normal(0, 1, n)}, patients, PatientBootstrap(patients, np.zeros(n, np.int64), 4000)
    ).values()
    delta = known(of_difference([mean], patients=n, cases=n).detectable)
    sigma = float(np.nanstd(mean.resampled, ddof=1)) * np.sqrt(n)
    away = delta / sigma * np.sqrt(n)
    found = stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, away)
    assert found == pytest.approx(0.8, abs=0.002)


def test_the_measured_difference_has_no_part_in_what_could_have_been_found() -> None:
    values = [0.01, 0.03, 0.05]
    here = of_difference(several(values, 0.01, 0.01), patients=90, cases=90)
    there = of_difference(several([v + 0.2 for v in values], 0.01, 0.01), patients=90, cases=90)
    assert here.detectable == pytest.approx(there.detectable)
    assert here.plan() == there.plan()


def test_comparisons_raise_what_is_needed_and_the_level_is_said() -> None:
    one, eleven = (
        of_difference([estimate(0.0, 0.02)], patients=90, cases=90, comparisons=m) for m in (1, 11)
    )
    assert known(eleven.detectable) > 1.2 * known(one.detectable)
    assert eleven.level == pytest.approx(HOLM)
    assert level_in_words(one.summary()) == "two-sided 0.05"
    assert "0.05/11, the strictest step of Holm's correction over 11" in level_in_words(eleven.summary())


@pytest.mark.parametrize(("resamples", "comparisons"), [(200, 1), (200, 3), (2000, 11)])
def test_resamples_reach_the_level_that_p_values_of_so_many_reach(resamples: int, comparisons: int) -> None:
    rng, trials = np.random.default_rng(3), 12_000
    z = rng.normal(0, 1, trials)
    tail = rng.binomial(resamples, stats.norm.sf(np.abs(z)))  # as resamples of N(z, 1) fall beyond 0
    p = 2 * (1 + tail) / (resamples + 1)
    below = np.mean(p < 0.05 / comparisons)
    found = reached_level(resamples, comparisons)
    assert found <= 0.05 / comparisons
    assert found == pytest.approx(below, abs=3 * np.sqrt(found / trials))


def test_seeds_and_cases_that_are_needed_are_the_least_that_do() -> None:
    found = Power(Spread(0.008, 0.03, 3), cases=250, runs=3)
    k = int(found.seeds_for(0.05))
    assert power(Spread(0.008, 0.03, k), 0.05) >= 0.8 > power(Spread(0.008, 0.03, k - 1), 0.05)
    assert found.cases_for(0.05) == inf  # three seeds that differ so much cannot, whatever the cases
    assert found.plan() == f"For ±0.05: {k} seeds with these cases"
    half = replace(found, case_share=0.9, spread=Spread(0.02, 0.02, 3))
    n = half.cases_for(0.05)
    shrunk = Spread(0.02 * np.sqrt(250 / n), 0.02 * np.sqrt(0.1 + 0.9 * 250 / n), 3)
    assert power(shrunk, 0.05) == pytest.approx(0.8, abs=0.005)


def test_no_number_of_seeds_makes_up_for_too_few_cases() -> None:
    found = Power(Spread(0.03, 0.01, 3), cases=100, runs=3)
    assert found.seeds_for(0.05) == inf
    assert power(Spread(0.03, 0.01, 100_000), 0.05) < 0.8
    assert found.plan().startswith("For ±0.05: not reached with any number of seeds with these cases; about ")
    assert replace(found, cases=10_000, spread=Spread(0.003, 0.01, 10), runs=10).plan() == (
        "For ±0.05: these cases do with these seeds"
    )


def test_one_network_each_says_how_many_cases_and_nothing_of_seeds() -> None:
    found = of_difference([estimate(0.0, 0.04)], patients=100, cases=100)
    n = 100 * (known(found.detectable) / 0.05) ** 2
    assert found.cases_for(0.05) == pytest.approx(n, abs=1.5)
    assert found.plan().startswith("For ±0.05: about ")
    assert "seed" not in found.plan()


@pytest.mark.parametrize(
    ("of", "patients", "why"),
    [
        ([estimate(0.0, 0.1)], 12, "too few patients (12; at least 20)"),
        (several([0.0, 0.1], 0.01, 0.01), 90, "too few runs (2; at least 3)"),
        ([Estimate(0.0, np.zeros(200))], 90, "the two do not differ on these cases"),
        ([Estimate(float("nan"), np.full(200, np.nan))], 90, "undefined"),
        ([estimate(0.0, 0.1, resamples=100)], 90, "too few resamples (100) for 11 comparisons"),
        ([estimate(0.0, 0.6)], 90, "none, however large"),
    ],
)
def test_where_nothing_can_be_said_the_reason_stands_in_place_of_a_number(
    of: list[Estimate], patients: int, why: str
) -> None:
    found = of_difference(of, patients=patients, cases=patients, comparisons=11, largest=1.0)
    assert found.detectable is None
    entry = found.summary(0.05)
    assert entry.detectable_note == why
    assert in_words(entry) == f"not stated: {why}"
    assert why in statement(entry, "these cases", "macro AUC")


def test_a_statement_names_cases_figure_difference_and_level() -> None:
    entry = of_difference([estimate(0.0, 0.012)], patients=90, cases=90).summary(0.05)
    assert statement(entry, "these 90 cases", "macro AUC") == (
        "with these 90 cases a true difference in macro AUC of about ±0.034 would have been found in four of "
        "five studies (two-sided 0.05). For ±0.05: these cases do."
    )


def test_what_three_seeds_say_of_a_difference_is_what_their_interval_does() -> None:
    of = several([0.01, 0.05, 0.03], 0.01, 0.005)
    low, high = across(of).interval
    found = known(of_difference(of, patients=90, cases=90).detectable)
    assert found > (high - low) / 2  # a difference at the interval's own half width is found half the time


def test_three_seeds_do_not_suffice_with_1000_cases_and_five_or_ten_about_do_with_250() -> None:
    """For +.05 of AUC, s that of the seeds' differences; √c as of the simulated differences of AUCs."""
    of_250, of_1000 = (
        truth(studies(seeds=5, s=0.0, cases=cases, gain=0.05, trials=40)[1]).cases for cases in (250, 1000)
    )
    assert power(Spread(of_1000, 0.015, 3), 0.05) < 0.8
    assert power(Spread(of_1000, 0.03, 3), 0.05) < 0.4
    assert power(Spread(of_250, 0.015, 5), 0.05) > 0.8
    assert power(Spread(of_250, 0.03, 10), 0.05) == pytest.approx(0.79, abs=0.03)
    assert power(Spread(of_250, 0.03, 5), 0.05) < 0.65
