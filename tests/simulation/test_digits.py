"""Decoy digits: the patch tells the class in training alone, and a penalty on gradients outside helps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from radgaze.simulation.digits import CLASSES, PATCH, SIDE, Digits, draw


def grey_of_patch(digits: Digits) -> np.ndarray:
    inside = digits.patch == 1
    assert (inside.sum((1, 2, 3)) == PATCH**2).all()
    grey = np.where(inside, digits.images, 0).sum((1, 2, 3)) / PATCH**2
    np.testing.assert_allclose(digits.images[inside], np.repeat(grey, PATCH**2), atol=1e-6)
    return np.asarray(grey)


def test_the_patch_tells_the_class_in_training_alone() -> None:
    training, test = draw(400, 1, decoy=True), draw(400, 1, decoy=False)
    assert np.array_equal(
        np.floor((1 - grey_of_patch(training)) * CLASSES - 1e-4).astype(int), training.labels
    )
    assert abs(stats.spearmanr(grey_of_patch(test), test.labels)[0]) < 0.15


def test_the_grey_value_varies_within_a_class_so_that_no_function_is_flat_at_all_that_occur() -> None:
    digits = draw(600, 2, decoy=True)
    within = grey_of_patch(digits)[digits.labels == 4]
    assert stats.kstest(within, stats.uniform(0.5, 0.1).cdf).pvalue > 0.001


def test_gaze_covers_the_digit_and_leaves_the_patch_out() -> None:
    digits = draw(100, 3, decoy=True)
    assert digits.images.shape == digits.gaze.shape == (100, 1, SIDE, SIDE)
    assert digits.gaze.max() == 1
    assert float((digits.gaze * digits.patch).max()) < 0.05
    bright = (digits.images > 0.6) & (digits.patch == 0)
    assert float(digits.gaze[bright].min()) > 0.5


def test_digits_follow_the_seed_and_each_corner_has_its_share() -> None:
    first, again, other = draw(200, 4, decoy=True), draw(200, 4, decoy=True), draw(200, 5, decoy=True)
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)
    corners = [first.patch[:, 0, row, column].sum() for row in (0, -1) for column in (0, -1)]
    assert sum(corners) == 200
    assert min(corners) > 30


@pytest.mark.slow
def test_a_penalty_where_nobody_looked_frees_a_network_from_the_decoy() -> None:
    from benchmarks.decoy_digits import PLAIN, TEST, TRAINING, accuracy, objective, train

    training, test = draw(TRAINING, 0, decoy=True), draw(TEST, 1, decoy=False)
    assert accuracy(train(training, objective(PLAIN), 0), test) < 0.6
    for name in ("rrr", "gradmask"):
        assert accuracy(train(training, objective(name), 0), test) > 0.9
