"""Oracles: counting what was drawn, SciPy's bootstrap where it can serve, known distributions."""

from __future__ import annotations

from functools import partial

import numpy as np
import polars as pl
import pytest
import scipy.stats

from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.interval_estimate import IntervalEstimate
from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.statistics import resampling
from radgaze.evaluation.statistics.resampling import (
    Estimate,
    PaperResamples,
    PatientBootstrap,
    estimates,
    mean_of,
    percentile_interval,
)

PATIENTS = np.array([7, 7, 3, 9, 9, 9, 4, 1, 5, 5])
CLASSES = np.array([0, 1, 0, 1, 1, 1, 1, 2, 0, 0])


def drawn(of: resampling.Resampling) -> np.ndarray:
    return np.concatenate(list(of.chunks()))


def test_a_patient_brings_all_of_their_cases() -> None:
    weights = drawn(PatientBootstrap(PATIENTS, CLASSES, 200))
    for patient in np.unique(PATIENTS):
        of_patient = weights[:, patient == PATIENTS]
        assert (of_patient == of_patient[:, :1]).all()


def test_every_resample_has_as_many_patients_of_each_class_as_there_are() -> None:
    weights = drawn(PatientBootstrap(PATIENTS, CLASSES, 200))
    _, first = np.unique(PATIENTS, return_index=True)
    for name in range(3):
        members = first[CLASSES[first] == name]
        assert (weights[:, members].sum(1) == members.size).all()
    assert len(np.unique(weights, axis=0)) > 20


def test_each_patient_is_drawn_once_on_average_with_a_multinomials_variance() -> None:
    n = 40
    weights = drawn(PatientBootstrap(np.arange(n), np.zeros(n, int), 20_000))
    np.testing.assert_allclose(weights.mean(0), 1, atol=0.04)
    np.testing.assert_allclose(weights.var(0), 1 - 1 / n, atol=0.06)


def test_resamples_depend_on_the_seed_alone_and_not_on_how_many_are_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = drawn(PatientBootstrap(PATIENTS, CLASSES, 50, seed=3))
    monkeypatch.setattr(resampling, "_CHUNK", 73)
    parts = list(PatientBootstrap(PATIENTS, CLASSES, 50, seed=3).chunks())
    assert len(parts) > 2
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert not np.array_equal(whole, drawn(PatientBootstrap(PATIENTS, CLASSES, 50, seed=4)))


def test_interval_equals_scipys_bootstrap_where_every_case_is_its_own_patient() -> None:
    values = np.random.default_rng(0).gamma(2, size=80)
    ours = estimates(
        {"mean": mean_of(values)}, 80, PatientBootstrap(np.arange(80), np.zeros(80, int), 20_000)
    )["mean"]
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    np.testing.assert_allclose(ours.interval, theirs.confidence_interval, atol=0.02)
    assert ours.value == pytest.approx(values.mean())


def test_patients_with_several_like_cases_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(1).normal(size=50), 4)
    none = np.zeros(200, int)
    by_patient = estimates({0: mean_of(values)}, 200, PatientBootstrap(np.arange(200) // 4, none))[0]
    by_case = estimates({0: mean_of(values)}, 200, PatientBootstrap(np.arange(200), none))[0]
    assert by_patient.resampled.std() == pytest.approx(2 * by_case.resampled.std(), rel=0.1)


def test_the_interval_of_an_auc_covers_the_truth_as_often_as_it_says() -> None:
    random, truth, hits = np.random.default_rng(2), scipy.stats.norm.cdf(1 / np.sqrt(2)), 0
    labels = np.repeat([0, 1], 60)
    for _ in range(200):
        scores = random.normal(size=120) + labels
        draws = PatientBootstrap(np.arange(120), labels, 300, seed=int(random.integers(1 << 30)))
        low, high = estimates({0: partial(auc, labels, scores)}, 120, draws)[0].interval
        hits += low <= truth <= high
    assert 0.89 <= hits / 200 <= 0.985


def test_p_value_is_small_where_the_interval_leaves_zero_out_and_even_under_the_null() -> None:
    random = np.random.default_rng(3)
    assert Estimate(1.0, np.full(999, 1.0)).p == pytest.approx(2 / 1000)
    assert Estimate(0.0, np.zeros(999)).p == 1
    assert np.isnan(Estimate(np.nan, np.full(9, np.nan)).p)
    for shift in (0.0, 1.0, 1.9, 2.1, 3.0):
        estimate = Estimate(shift, random.normal(size=5000) + shift)
        assert (estimate.p < 0.05) == (estimate.interval[0] > 0)


@pytest.mark.parametrize("value", [0.0, 0.05, 0.11, 0.13, 0.2])
def test_the_p_value_of_moved_resamples_belongs_to_their_interval(value: float) -> None:
    resampled = np.random.default_rng(0).normal(0.2, 0.06, 2000)
    estimate = Estimate(value, resampled, centred=True)
    moved = Estimate(value, resampled + (value - resampled.mean()))
    assert (estimate.interval, estimate.p) == (moved.interval, moved.p)
    assert (estimate.p < 0.05) == (estimate.interval[0] > 0)


def test_a_difference_of_moved_resamples_is_moved_too() -> None:
    random = np.random.default_rng(1)
    biased = Estimate(0.05, random.normal(0.09, 0.02, 999), centred=True)
    plain = Estimate(0.20, random.normal(0.20, 0.02, 999), centred=True)
    low, high = (plain - biased).interval
    assert (low + high) / 2 == pytest.approx(0.15, abs=0.005)


def test_seed_resamples_are_thirty_of_55_to_60_cases() -> None:
    weights = drawn(PaperResamples(108))
    assert weights.shape == (30, 108)
    assert set(weights.sum(1)) <= set(range(55, 61))
    assert len(set(weights.sum(1))) > 2
    assert drawn(PaperResamples(20)).sum(1).min() >= 55


def test_undefined_resamples_are_left_out_and_counted() -> None:
    entry = Estimate(0.5, np.array([0.4, np.nan, 0.6])).summary()
    assert entry.undefined_resamples == 1
    assert entry.low is not None
    assert entry.high is not None
    assert 0.4 <= entry.low < entry.high <= 0.6
    assert Estimate(np.nan, np.array([0.4])).summary() == IntervalEstimate(None)


def test_no_cases_give_undefined_figures_and_no_error() -> None:
    nothing = PatientBootstrap(np.empty(0, int), np.empty(0, int), 10)
    assert np.isnan(estimates({0: mean_of([])}, 0, nothing)[0].value)
    assert estimates({0: mean_of([])}, 0, PaperResamples(0))[0].summary().low is None


def test_means_leave_nan_out() -> None:
    weights = np.array([[1, 1, 1], [0, 2, 1], [0, 1, 0]])
    np.testing.assert_allclose(mean_of([1.0, np.nan, 3.0])(weights), [2, 3, np.nan])


def test_the_interval_of_a_calibration_error_holds_it_and_its_width_is_that_of_the_percentiles() -> None:
    random = np.random.default_rng(0)
    p = random.random((36, 3))
    labels = np.eye(3, dtype=np.int8)[random.integers(0, 3, 36)]
    names = ("a", "b", "c")
    table = pl.DataFrame(
        {"patient": range(36)}
        | {f"probability_{name}": p[:, k] / p.sum(1) for k, name in enumerate(names)}
        | {f"label_{name}": labels[:, k] for k, name in enumerate(names)}
    )
    resamples = PatientBootstrap(np.arange(36), labels.argmax(1), 400)
    found = class_estimates(table, names, resamples, ("calibration_error",))
    assert len(found) == 4
    for estimate in found.values():
        low, high = estimate.interval
        plain = percentile_interval(estimate.resampled)
        assert low < estimate.value < high
        assert plain[0] > low  # the resamples, in which cases repeat, are further from calibration
        assert high - low == pytest.approx(plain[1] - plain[0])


@pytest.mark.slow
def test_the_interval_of_a_mean_covers_what_other_patients_would_give_only_without_strata() -> None:
    """An NSS of 0.6 in one class and 1.8 in the two others, with a deviation of 0.5 in each."""
    random, hits = np.random.default_rng(0), {"within classes": 0, "without strata": 0}
    for trial in range(400):
        classes = random.integers(0, 3, 120)
        nss = np.array([0.6, 1.8, 1.8])[classes] + random.normal(0, 0.5, 120)
        for name, strata in (("within classes", classes), ("without strata", 0 * classes)):
            draws = PatientBootstrap(np.arange(120), strata, 400, seed=trial)
            low, high = estimates({"nss": mean_of(nss)}, 120, draws)["nss"].interval
            hits[name] += low <= 1.4 <= high
    assert hits["within classes"] / 400 == pytest.approx(0.81, abs=0.04)
    assert hits["without strata"] / 400 == pytest.approx(0.94, abs=0.04)
