from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from scipy import stats

from radgaze.evaluation.paired import Change, Figure, _paired_rows
from radgaze.evaluation.statistics.case_means import FEW, LEAST, mean_interval, mean_p, means
from radgaze.evaluation.statistics.resampling import (
    Estimate,
    PaperResamples,
    Part,
    PatientBootstrap,
    estimates,
    mean_of,
)
from tests.evaluation.known import known

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Drawn = tuple[np.ndarray, np.ndarray, float]
# Such as a probability while an image is blurred, a cost, and a likeness that is nearly always high.
FIGURES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda r, n: r.normal(size=n), 0.0),
    "beta": (lambda r, n: r.beta(1, 4, n), 0.2),
    "exponential": (lambda r, n: r.exponential(size=n), 1.0),
    "nearly one": (lambda r, n: 1 - r.beta(0.5, 6, n), 1 - 0.5 / 6.5),
}


def drawn(name: str, patients: int, several: bool, random: np.random.Generator) -> Drawn:
    """Figures and their patients; of several images half are alike, and patients differ in their number."""
    draw, truth = FIGURES[name]
    images = random.choice([1, 1, 1, 2, 3, 4], size=patients) if several else np.ones(patients, int)
    who = np.repeat(np.arange(patients), images)
    shared = draw(random, (patients,))[who]
    return np.where(random.random(len(who)) < 0.5, shared, draw(random, who.shape)), who, truth


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("name", FIGURES)
def test_intervals_of_ten_patients_cover_the_truth_nearly_as_often_as_they_say(
    name: str, several: bool
) -> None:
    random, covered, sets = np.random.default_rng(3), 0, 1000
    for _ in range(sets):
        x, who, truth = drawn(name, 10, several, random)
        low, high = mean_interval(x, who)
        covered += low <= truth <= high
    assert 0.90 <= covered / sets <= 0.975  # where the percentiles of the bootstrap cover .84 to .90


def test_of_one_case_each_without_skewness_it_is_students_interval() -> None:
    x = np.array([-3.0, -2, -1, -0.5, 0.5, 1, 2, 3]) + 5
    expected = stats.t.interval(0.95, len(x) - 1, x.mean(), stats.sem(x))
    assert mean_interval(x, np.arange(len(x))) == pytest.approx(expected)


def test_skewness_moves_the_interval_towards_the_long_tail() -> None:
    x = np.random.default_rng(0).exponential(size=20)
    low, high = mean_interval(x, np.arange(20))
    assert high - x.mean() > x.mean() - low
    mirrored = mean_interval(-x, np.arange(20))
    assert mirrored == pytest.approx((-high, -low))


def test_repeating_every_image_of_a_patient_changes_nothing() -> None:
    x, who = np.random.default_rng(1).exponential(size=12), np.arange(12)
    assert mean_interval(np.repeat(x, 3), np.repeat(who, 3)) == pytest.approx(mean_interval(x, who))


def test_too_few_patients_or_one_and_the_same_figure_have_no_interval() -> None:
    x = np.random.default_rng(1).normal(size=30)
    assert np.isnan(mean_interval(x[: LEAST - 1], np.arange(LEAST - 1))).all()
    assert np.isnan(mean_interval(x, np.arange(30) % (LEAST - 1))).all()
    assert np.isfinite(mean_interval(x[:LEAST], np.arange(LEAST))).all()
    assert np.isnan(mean_interval(np.ones(10), np.arange(10))).all()


def test_of_many_patients_and_in_the_papers_way_it_is_the_percentiles() -> None:
    x = np.random.default_rng(2).normal(size=FEW)
    who = np.arange(FEW)
    x[0] = np.nan  # so that one patient fewer than FEW is known
    for resampling, percentiles in (
        (PatientBootstrap(who, np.zeros(FEW, int), 100), False),
        (PaperResamples(FEW), True),
    ):
        found = means({"a": x, "b": np.nan_to_num(x)}, who, resampling)
        plain = estimates({"a": mean_of(x), "b": mean_of(np.nan_to_num(x))}, FEW, resampling)
        assert (found["a"].interval == plain["a"].interval) is percentiles
        assert found["b"].interval == plain["b"].interval
        assert found["a"].patients == FEW - 1
        assert found["b"].discordant == FEW - 1


def test_an_interval_goes_no_further_than_the_figure_can() -> None:
    x = np.array([1, 1, 1, 1, 1, 1, 1, 0.2, 0.9, 1])
    found = means({"a": x}, np.arange(10), PatientBootstrap(np.arange(10), np.zeros(10, int), 50))["a"]
    assert known(found.summary().high) > 1
    assert found.summary((0.0, 1.0)).high == 1


def test_p_is_below_a_level_just_where_the_interval_of_that_level_leaves_zero_out() -> None:
    random = np.random.default_rng(4)
    for shift in (0.0, 0.2, 0.5, -0.4, 1.0, -2.0):
        x, who = random.exponential(size=24) - 1 + shift, np.arange(24) // 2
        p = mean_p(x, who)
        for level in (1 - p - 1e-6, 1 - p + 1e-6):
            low, high = mean_interval(x, who, level)
            assert (low <= 0 <= high) == (level > 1 - p)


def test_p_of_one_case_each_without_skewness_is_students() -> None:
    x = np.array([-3.0, -2, -1, -0.5, 0.5, 1, 2, 3]) + 1.5
    assert mean_p(x, np.arange(8)) == pytest.approx(stats.ttest_1samp(x, 0).pvalue)
    assert np.isnan(mean_p(x[:5], np.arange(5)))
    assert np.isnan(mean_p(np.ones(9), np.arange(9)))
    assert mean_p(np.zeros(9), np.arange(9)) == 1


def test_of_few_patients_p_belongs_to_the_interval_and_has_no_floor() -> None:
    x = np.random.default_rng(5).normal(size=20) + 3
    found = means({"a": x}, np.arange(20), PatientBootstrap(np.arange(20), np.zeros(20, int), 50))["a"]
    assert found.p == mean_p(x, np.arange(20)) < 1e-6
    assert not found.p_is_bound
    assert Estimate(found.value, found.resampled).p_is_bound


def test_a_part_of_a_patient_bootstrap_is_one_too() -> None:
    x = np.random.default_rng(6).normal(size=20)
    whole = PatientBootstrap(np.arange(60), np.zeros(60, int), 50)
    found = means({"a": x}, np.arange(20), Part(whole, np.arange(20)))["a"]
    assert found.interval == mean_interval(x, np.arange(20))


def test_the_interval_of_a_difference_stays_within_what_is_possible() -> None:
    change, who = np.array([0.0, 0.1, 0.0, 0.05, 0.0, 0.1, 1.0]), np.arange(7)
    mean = means({"": change}, who, PatientBootstrap(who, np.zeros(7, np.int64), 100))[""]
    assert mean.interval[1] > 1  # of few patients it is skewed
    assert mean.paired_difference((0, 1)).high == 1
    assert mean.paired_difference((-np.inf, np.inf)).high == pytest.approx(mean.interval[1])
    cases, changes = pl.DataFrame({"patient": who}), [Change("other", mean, 7, 5)]
    for metric, high in (("auc_judd", 1), ("nss", mean.interval[1])):
        (row,) = _paired_rows(Figure(metric, map="heatmap"), "reference", changes, cases)
        assert row.high == pytest.approx(high)
