"""Oracles: DeLong's and Obuchowski's formulas as loops, Newcombe's by trying every θ, and simulation."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from radgaze.evaluation.classification import class_estimates
from radgaze.evaluation.metrics.discrimination import auc
from radgaze.evaluation.statistics.auc_intervals import FEW, Placed, auc_interval, placed, score_interval
from radgaze.evaluation.statistics.delong import delong_covariance
from radgaze.evaluation.statistics.resampling import PaperResamples, PatientBootstrap, percentile_interval


def drawn(
    seed: int, patients: int = 40, *, several: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores with ties, and patients; cases of a patient are alike, and may be of either class."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), random.integers(1, 4, patients) if several else 1)
    labels = (random.random(who.size) < np.where(who % 3 == 0, 0.8, 0.2)).astype(int)
    scores = random.normal(size=patients)[who] + random.normal(size=who.size) + 1.5 * labels
    return labels, np.round(scores, 1), who


def obuchowski(labels: np.ndarray, scores: np.ndarray, who: np.ndarray) -> float:
    """The variance of Obuchowski 1997, eq. 3 to 6, pair by pair."""
    X, Y = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    wins = {(i, j): float(scores[i] > scores[j]) + (scores[i] == scores[j]) / 2 for i in X for j in Y}
    m, n = len(X), len(Y)
    theta = sum(wins.values()) / (m * n)
    v10 = {i: np.mean([wins[i, j] for j in Y]) for i in X}
    v01 = {j: np.mean([wins[i, j] for i in X]) for j in Y}
    sick, well, both = set(who[X]), set(who[Y]), set(who)
    sum10 = {p: sum(v10[i] - theta for i in X if who[i] == p) for p in both}
    sum01 = {p: sum(v01[j] - theta for j in Y if who[j] == p) for p in both}
    s10 = len(sick) / ((len(sick) - 1) * m) * sum(sum10[p] ** 2 for p in sick)
    s01 = len(well) / ((len(well) - 1) * n) * sum(sum01[p] ** 2 for p in well)
    # The paper's factor of the third sum is I/(I − 1) over all patients; here it is between the other two.
    factor = np.sqrt(len(sick) / (len(sick) - 1) * len(well) / (len(well) - 1))
    s11 = factor * sum(sum10[p] * sum01[p] for p in both)
    return float(s10 / m + s01 / n + 2 * s11 / (m * n))


@pytest.mark.parametrize("seed", range(3))
def test_the_error_is_obuchowskis_for_patients_of_several_cases(seed: int) -> None:
    labels, scores, who = drawn(seed)
    found = placed(labels, scores, who)
    assert found.value == pytest.approx(roc_auc_score(labels, scores))
    assert found.error**2 == pytest.approx(obuchowski(labels, scores, who))
    assert found.patients == (len(set(who[labels == 1])), len(set(who[labels == 0])))


def test_the_error_is_delongs_for_one_case_of_each() -> None:
    labels, scores, who = drawn(3, several=False)
    assert placed(labels, scores, who).error ** 2 == pytest.approx(
        delong_covariance(labels, scores)[1].item()
    )
    shuffled = np.random.default_rng(0).permutation(who) * 7 - 100
    assert placed(labels, scores, shuffled).error == pytest.approx(placed(labels, scores, who).error)


def test_repeating_every_case_of_a_patient_adds_nothing_to_what_is_known() -> None:
    labels, scores, who = drawn(4)
    once = auc_interval([placed(labels, scores, who)])
    thrice = auc_interval([placed(*(np.repeat(x, 3) for x in (labels, scores, who)))])
    assert thrice == pytest.approx(once)


def test_it_is_symmetric_about_the_logit_with_a_quantile_of_t_and_turns_with_the_labels() -> None:
    labels, scores, who = drawn(5)
    one = placed(labels, scores, who)
    low, high = auc_interval([one])
    logit = [np.log(x / (1 - x)) for x in (low, one.value, high)]
    assert logit[1] - logit[0] == pytest.approx(logit[2] - logit[1])
    quantile = (logit[1] - logit[0]) * one.value * (1 - one.value) / one.error
    phi = one.positive + one.negative
    freedom = 2 / ((phi**4).sum() / (phi**2).sum() ** 2 - 1 / len(phi))
    squares = [(one.positive**2).sum(), (one.negative**2).sum()]
    of_sides = sum(squares) ** 2 / sum(v**2 / (k - 1) for v, k in zip(squares, one.patients, strict=True))
    assert quantile == pytest.approx(t.ppf(0.975, min(freedom, of_sides)))
    assert auc_interval([placed(1 - labels, scores, who)]) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("value", "m", "n"), [(0.5, 3, 9), (0.9, 10, 30), (1.0, 6, 40), (0.97, 1, 20), (0.0, 4, 4)]
)
def test_the_score_interval_holds_every_value_whose_own_error_explains_the_auc(
    value: float, m: int, n: int
) -> None:
    theta = np.linspace(0, 1, 1_000_001)
    more = (m + n) / 2 - 1
    q = 1 + more * (1 - theta) / (2 - theta) + more * theta / (1 + theta)
    error = np.sqrt(theta * (1 - theta) * q / (m * n))
    held = theta[np.abs(value - theta) <= norm.ppf(0.975) * error + 1e-12]
    assert score_interval(value, m, n) == pytest.approx((held.min(), held.max()), abs=3e-6)


def test_the_variance_of_the_score_interval_is_that_of_hanley_and_mcneil() -> None:
    # With as many on both sides (m + n)/2 is no approximation.
    low, _ = score_interval(0.9, 20, 20)
    q1, q2 = low / (2 - low), 2 * low**2 / (1 + low)
    variance = (low * (1 - low) + 19 * (q1 - low**2) + 19 * (q2 - low**2)) / 400
    assert 0.9 - low == pytest.approx(norm.ppf(0.975) * np.sqrt(variance))


def test_an_auc_of_one_is_no_certainty() -> None:
    labels = np.repeat([0, 1], [60, 12])
    perfect = placed(labels, labels + 0.0, np.arange(72))
    low, high = auc_interval([perfect])
    assert high == 1
    assert 0.8 < low < 0.95
    assert auc_interval([placed(1 - labels, labels + 0.0, np.arange(72))]) == pytest.approx((0, 1 - low))
    few = placed(labels[50:], labels[50:] + 0.0, np.arange(22))
    assert auc_interval([few])[0] < low
    assert auc_interval([perfect] * 3)[0] > low


def test_of_very_few_patients_of_a_class_the_spread_is_modelled_not_measured() -> None:
    for m in (1, 2, FEW - 1):
        labels = np.arange(50) < m
        scores = np.random.default_rng(m).normal(size=50) + labels
        one = placed(labels, scores, np.arange(50))
        assert auc_interval([one]) == score_interval(one.value, m, 50 - m)
    labels = np.arange(50) < FEW - 1
    many = placed(np.repeat(labels, 4), np.repeat(scores, 4), np.repeat(np.arange(50), 4))
    assert many.patients == (FEW - 1, 51 - FEW)
    assert auc_interval([many]) == score_interval(many.value, FEW - 1, 51 - FEW)


def test_a_constant_score_has_an_interval_about_one_half() -> None:
    low, high = auc_interval([placed(np.arange(40) < 20, np.zeros(40), np.arange(40))])
    assert low == pytest.approx(1 - high)
    assert 0.3 < low < 0.4


def test_the_mean_of_one_class_twice_is_that_class_and_of_unlike_ones_is_narrower() -> None:
    labels, scores, who = drawn(6)
    one = placed(labels, scores, who)
    assert auc_interval([one, one]) == pytest.approx(auc_interval([one]), abs=0.01)
    other = placed(labels, np.random.default_rng(1).permutation(scores) + 1.5 * labels, who)
    low, high = auc_interval([one, other])
    assert high - low < min(np.subtract(*auc_interval([x])[::-1]) for x in (one, other))


def test_a_class_without_errors_among_others_widens_the_interval_of_the_mean() -> None:
    labels, scores, who = drawn(7)
    one, perfect = placed(labels, scores, who), placed(labels, labels + 0.0, who)
    low, high = auc_interval([one, perfect])
    (own_low, own_high), (low_at_one, _) = auc_interval([one]), auc_interval([perfect])
    assert (one.value + 1) / 2 - low == pytest.approx(np.hypot(one.value - own_low, 1 - low_at_one) / 2)
    assert high - (one.value + 1) / 2 == pytest.approx((own_high - one.value) / 2)


def test_an_undefined_class_leaves_the_interval_undefined() -> None:
    none = placed(np.zeros(10), np.arange(10.0), np.arange(10))
    labels, scores, who = drawn(8)
    assert np.isnan(auc_interval([none])).all()
    assert np.isnan(auc_interval([none, placed(labels, scores, who)])).all()
    assert np.isnan(auc_interval([])).all()


def misses(*, several: bool, value: float, trials: int = 600) -> tuple[float, float]:
    """How often the interval of an AUC of 84 cases leaves out the truth, and how often percentiles do."""
    random, missed = np.random.default_rng(9), np.zeros((trials, 2))
    P = 48 if several else 84
    for trial in missed:
        who = np.repeat(np.arange(P), random.choice([1, 1, 1, 2, 2, 4], P) if several else 1)
        labels = (who < P // 3).astype(int)
        shared, own = random.normal(size=P)[who], random.normal(size=who.size)
        noise = (shared + own) / np.sqrt(2) if several else own
        scores = noise + np.sqrt(2) * norm.ppf(value) * labels
        draws = PatientBootstrap(who, labels, 200, int(random.integers(1 << 30)))
        resampled = np.concatenate([auc(labels, scores, W) for W in draws.chunks()])
        found = auc_interval([placed(labels, scores, who)]), percentile_interval(resampled)
        trial[:] = [not low <= value <= high for low, high in found]
    return tuple(missed.mean(0))


@pytest.mark.slow
@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("value", [0.85, 0.95])
def test_the_interval_of_an_auc_near_one_covers_it_as_often_as_it_says(several: bool, value: float) -> None:
    missed, by_percentiles = misses(several=several, value=value)
    assert 0.02 <= missed <= 0.07
    if value == 0.95:
        assert by_percentiles > 0.08


def predictions(seed: int = 10, cases: int = 84) -> pl.DataFrame:
    """Three exclusive classes, the scores of their cases well above the others'."""
    random = np.random.default_rng(seed)
    truth = np.arange(cases) % 3
    columns = {"patient": np.arange(cases) // 2, "split": ["test"] * cases}
    for c, name in enumerate("abc"):
        columns[f"label_{name}"] = (truth == c).astype(np.int64)
        columns[f"probability_{name}"] = random.normal(size=cases) + 2.3 * (truth == c)
    return pl.DataFrame(columns)


def test_a_runs_aucs_have_these_intervals_and_its_other_figures_the_percentiles() -> None:
    table = predictions()
    patients = table["patient"].to_numpy()
    draws = PatientBootstrap(patients, np.arange(84) % 3, 200)
    found, plain = (class_estimates(table, "abc", draws, interval=kind) for kind in ("delong", "bootstrap"))
    of = [placed(table[f"label_{c}"], table[f"probability_{c}"], patients) for c in "abc"]
    for group, chosen in (("a", of[:1]), ("c", of[2:]), ("macro", of)):
        assert found["auc", group].interval == auc_interval(chosen)
        assert plain["auc", group].interval == percentile_interval(found["auc", group].resampled)
        for metric in ("average_precision", "brier"):
            assert found[metric, group].interval == plain[metric, group].interval
    # Differences are of the resamples, which both have.
    change = found["auc", "a"] - found["auc", "b"]
    assert change.interval == (plain["auc", "a"] - plain["auc", "b"]).interval


def test_the_papers_intervals_stay_percentiles() -> None:
    found = class_estimates(predictions(), "abc", PaperResamples(84), ("auc",))
    for group in ("a", "macro"):
        assert found["auc", group].interval == percentile_interval(found["auc", group].resampled)


def test_placed_takes_what_a_table_holds() -> None:
    assert isinstance(placed(pl.Series([0, 1, 1]), pl.Series([0.1, 0.5, 0.2]), pl.Series([1, 2, 2])), Placed)
