"""Oracles: each definition as a loop over pixels or fixations, scikit-learn's AUC, and invariances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import entropy, pearsonr
from sklearn.metrics import roc_auc_score

from radgaze.evaluation.metrics.agreement import (
    auc_judd,
    cc,
    fixation_counts,
    information_gain,
    is_constant,
    kl,
    measure_agreement,
    nss,
    shuffled_auc,
    shuffled_cc,
    sim,
)

SIZE = (20, 26)


@pytest.fixture(scope="module")
def example() -> dict[str, np.ndarray]:
    """Three images: maps whose values tie, gaze maps, fixation counts with repeated pixels."""
    random = np.random.default_rng(0)
    points = random.random((3, 15, 2)) * (SIZE[1], SIZE[0])
    points[:, 3] = points[:, 4]
    F = fixation_counts(points, np.ones((3, 15)), SIZE)
    Q = np.stack([gaussian_filter(f, 2) for f in F])
    P = np.round(np.stack([gaussian_filter(random.random(SIZE), 1) for _ in range(3)]) + Q, 2)
    return {"P": P, "Q": Q, "F": F, "others": F.sum(0) - F, "points": points}


def at(P: np.ndarray, points: np.ndarray) -> list[float]:
    """The map at each fixation."""
    return [P[math.floor(y), math.floor(x)] for x, y in points]


def test_nss_is_the_mean_z_score_at_the_fixations(example: dict[str, np.ndarray]) -> None:
    for b, found in enumerate(nss(example["P"], example["F"])):
        P = example["P"][b]
        assert found == pytest.approx(
            np.mean([(v - P.mean()) / P.std() for v in at(P, example["points"][b])])
        )


def test_cc_is_pearsons_correlation(example: dict[str, np.ndarray]) -> None:
    for P, Q, found in zip(example["P"], example["Q"], cc(example["P"], example["Q"]), strict=True):
        assert found == pytest.approx(pearsonr(P.ravel(), Q.ravel()).statistic)


def test_kl_and_sim_are_the_sums_over_pixels(example: dict[str, np.ndarray]) -> None:
    found = zip(
        example["P"],
        example["Q"],
        kl(example["P"], example["Q"]),
        sim(example["P"], example["Q"]),
        strict=True,
    )
    for P, Q, divergence, similarity in found:
        assert divergence == pytest.approx(entropy(Q.ravel(), P.ravel()), abs=1e-9)
        assert similarity == pytest.approx(
            sum(min(p, q) for p, q in zip(P.ravel() / P.sum(), Q.ravel() / Q.sum(), strict=True))
        )


def test_auc_judd_equals_scikit_learn_over_all_pixels(example: dict[str, np.ndarray]) -> None:
    for P, F, found in zip(example["P"], example["F"], auc_judd(example["P"], example["F"]), strict=True):
        assert found == pytest.approx(roc_auc_score(F.ravel() > 0, P.ravel()))


def test_shuffled_auc_equals_scikit_learn_over_own_and_others_fixations(
    example: dict[str, np.ndarray],
) -> None:
    points = example["points"]
    for b, found in enumerate(shuffled_auc(example["P"], example["F"], example["others"])):
        P = example["P"][b]
        own, others = at(P, points[b]), [v for k in range(3) if k != b for v in at(P, points[k])]
        labels = [1] * len(own) + [0] * len(others)
        assert found == pytest.approx(roc_auc_score(labels, own + others))


def test_a_map_equal_to_the_gaze_map_is_best() -> None:
    random = np.random.default_rng(1)
    F = (random.random((1, *SIZE)) > 0.98).astype(float)
    Q = gaussian_filter(F, (0, 1.5, 1.5))
    assert cc(Q, Q)[0] == pytest.approx(1)
    assert sim(Q, Q)[0] == pytest.approx(1)
    assert kl(Q, Q)[0] == pytest.approx(0, abs=1e-9)
    assert nss(Q, F)[0] > 1
    assert auc_judd(F, F)[0] == 1


def test_scale_changes_nothing_and_offset_changes_only_kl_and_sim(example: dict[str, np.ndarray]) -> None:
    plain = measure_agreement(**{k: example[k] for k in ("P", "Q", "F", "others")})
    scaled = measure_agreement(7 * example["P"], example["Q"], example["F"], example["others"])
    shifted = measure_agreement(example["P"] + 3, example["Q"], example["F"], example["others"])
    for name in ("nss", "cc", "auc_judd", "shuffled_auc"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-9)
        np.testing.assert_allclose(shifted[name], plain[name], rtol=1e-9)
    for name in ("kl", "sim"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=1e-9)
        assert (shifted[name] != plain[name]).all()


def test_only_the_order_matters_to_aucs(example: dict[str, np.ndarray]) -> None:
    P, F, others = example["P"], example["F"], example["others"]
    np.testing.assert_allclose(auc_judd(P**3, F), auc_judd(P, F))
    np.testing.assert_allclose(shuffled_auc(np.exp(P), F, others), shuffled_auc(P, F, others))


@pytest.mark.parametrize("height", [0.0, 1.0, 0.3])
def test_a_constant_map_scores_as_the_uniform_map_whatever_its_height(
    example: dict[str, np.ndarray], height: float
) -> None:
    rounding = np.random.default_rng(2).normal(size=(3, *SIZE)) * height * 1e-8
    found = measure_agreement(
        np.full((3, *SIZE), height) + rounding, example["Q"], example["F"], example["others"]
    )
    uniform = np.full(SIZE, 1 / np.prod(SIZE))
    np.testing.assert_array_equal(found["nss"], 0)
    np.testing.assert_array_equal(found["cc"], 0)
    np.testing.assert_array_equal(found["auc_judd"], 0.5)
    np.testing.assert_array_equal(found["shuffled_auc"], 0.5)
    for Q, divergence, similarity in zip(example["Q"], found["kl"], found["sim"], strict=True):
        assert divergence == pytest.approx(entropy(Q.ravel(), uniform.ravel()), abs=1e-7)
        assert similarity == pytest.approx(np.minimum(uniform, Q / Q.sum()).sum(), abs=1e-7)
    assert is_constant(np.full((1, *SIZE), height)).all()


def test_nothing_to_agree_with_is_nan(example: dict[str, np.ndarray]) -> None:
    zeros = np.zeros_like(example["F"])
    for name, figures in measure_agreement(example["P"], zeros, zeros, example["others"]).items():
        assert np.isnan(figures).all(), name
    assert np.isnan(shuffled_auc(example["P"], example["F"], zeros)).all()
    assert np.isnan(auc_judd(example["P"], np.ones_like(zeros))).all()


def test_a_map_with_nan_spoils_its_own_figures_only(example: dict[str, np.ndarray]) -> None:
    P = example["P"].copy()
    P[1, 2, 3] = np.nan
    for name, figures in measure_agreement(P, example["Q"], example["F"], example["others"]).items():
        assert np.isnan(figures).tolist() == [False, True, False], name


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("metric", "parts"),
    [
        *((metric, "PF") for metric in (nss, auc_judd)),
        *((metric, "PQ") for metric in (cc, kl, sim)),
        (shuffled_auc, ("P", "F", "others")),
        (shuffled_cc, ("P", "Q", "others")),
        (information_gain, ("P", "F", "Q")),
    ],
)
def test_a_pixel_that_is_no_number_in_any_map_leaves_no_figure(
    metric: Callable[..., np.ndarray],
    parts: tuple[str, ...] | str,
    value: float,
    example: dict[str, np.ndarray],
) -> None:
    for spoilt in range(len(parts)):
        maps = [example[part].copy() for part in parts]
        maps[spoilt][1, 2, 3] = value
        with np.errstate(invalid="ignore"):
            assert np.isnan(metric(*maps)).tolist() == [False, True, False], parts[spoilt]


def test_maps_that_miss_the_gaze_pay_in_kl_up_to_epsilon() -> None:
    Q, P = np.zeros((1, 4, 4)), np.zeros((1, 4, 4))
    Q[0, 0, 0], P[0, 3, 3] = 1, 1
    assert kl(P, Q)[0] == pytest.approx(-math.log(np.finfo(float).eps), rel=1e-6)
    assert sim(P, Q)[0] == 0
    with pytest.raises(ValueError, match="not negative"):
        kl(-P, Q)


def test_fixations_fall_on_the_pixel_that_holds_them() -> None:
    points = np.array(
        [[[0.0, 0.0], [2.5, 1.0], [2.999, 1.9], [4.0, 3.0], [-0.1, 1.0], [1.0, 3.2], [1.5, 0.5]]]
    )
    counts = fixation_counts(points, [[1, 1, 1, 1, 1, 1, 0]], (3, 4))[0]
    expected = np.zeros((3, 4))
    expected[0, 0], expected[1, 2], expected[2, 3] = 1, 2, 1
    np.testing.assert_array_equal(counts, expected)


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="one shape"):
        nss(np.zeros((2, 3, 3)), np.zeros((2, 3, 4)))


def test_information_gain_is_the_mean_of_log_density_ratios_at_the_fixations(
    example: dict[str, np.ndarray],
) -> None:
    prior = np.broadcast_to(example["Q"].mean(0), example["P"].shape)
    found = information_gain(example["P"], example["F"], prior)
    for b in range(3):
        density = [0.99 * x / x.sum() + 0.01 / x.size for x in (example["P"][b], prior[b])]
        p, q = (at(x, example["points"][b]) for x in density)
        assert found[b] == pytest.approx(np.mean([math.log2(i / j) for i, j in zip(p, q, strict=True)]))


def test_information_gain_is_nothing_for_the_prior_and_finite_where_a_map_is_zero(
    example: dict[str, np.ndarray],
) -> None:
    prior, F = example["Q"], example["F"]
    assert information_gain(prior, F, prior) == pytest.approx(0)
    assert information_gain(5 * prior, F, prior) == pytest.approx(0)
    missed = np.where(F > 0, 0.0, 1.0)
    assert np.isfinite(information_gain(missed, F, prior)).all()
    assert (information_gain(missed, F, prior) < 0).all()
    assert np.isnan(information_gain(prior, np.zeros_like(F), prior)).all()


def test_shuffled_cc_is_what_cc_gains_over_the_gaze_on_other_images(example: dict[str, np.ndarray]) -> None:
    P, Q = example["P"], example["Q"]
    others = Q.sum(0) - Q
    for b, found in enumerate(shuffled_cc(P, Q, others)):
        expected = (pearsonr(P[b].ravel(), x.ravel()).statistic for x in (Q[b], others[b]))
        assert found == pytest.approx(next(expected) - next(expected))
    assert (shuffled_cc(np.broadcast_to(Q.mean(0), Q.shape), Q, others) < 0.2).all()
    assert np.isnan(shuffled_cc(P, Q, np.zeros_like(Q))).all()
