"""Tests of the metrics of reliance, against definitions written as loops."""

from __future__ import annotations

import numpy as np
import pytest

from radgaze.evaluation.metrics.reliance import METRICS, pairs


def test_each_metric_follows_its_definition() -> None:
    rng = np.random.default_rng(0)
    P, Q = rng.dirichlet(np.ones(3), 50), rng.dirichlet(np.ones(3), 50)
    shown = rng.integers(-1, 3, 50)
    found = pairs(P, Q, shown, exclusive=True, softmax=True)
    assert found.keys() == METRICS.keys()
    for i, k in enumerate(shown):
        if k < 0:
            assert np.isnan(found["reliance"][i])
        else:
            assert found["reliance"][i] == P[i, k] - Q[i, k]
        # The definition: the largest difference of the probabilities of any event.
        events = [[j for j in range(3) if code >> j & 1] for code in range(8)]
        assert found["total_variation"][i] == pytest.approx(
            max(P[i, e].sum() - Q[i, e].sum() for e in events)
        )
        assert found["flips"][i] == (max(range(3), key=P[i].item) != max(range(3), key=Q[i].item))


def test_classes_that_do_not_exclude_each_other_count_one_by_one() -> None:
    P, Q = np.array([[0.9, 0.4], [0.6, 0.1]]), np.array([[0.7, 0.6], [0.6, 0.3]])
    found = pairs(P, Q, [0, 1], exclusive=False, softmax=False)
    assert found["total_variation"] == pytest.approx([0.2, 0.1])
    assert found["flips"].tolist() == [1.0, 0.0]
    assert found["reliance"] == pytest.approx([0.2, -0.2])


def test_a_network_that_ignores_the_confounder_has_no_reliance() -> None:
    P = np.random.default_rng(1).dirichlet(np.ones(4), 10)
    found = pairs(P, P, np.arange(10) % 4, exclusive=True, softmax=True)
    assert all(not values.any() for values in found.values())


def test_other_shapes_and_classes_are_refused() -> None:
    P = np.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match="pairs are"):
        pairs(P, P[:1], [0, 1], exclusive=True, softmax=True)
    with pytest.raises(ValueError, match="shown classes"):
        pairs(P, P, [0, 3], exclusive=True, softmax=True)


def test_probabilities_of_a_sigmoid_are_one_distribution_for_each_class_though_a_case_has_one_class() -> None:
    P, Q = np.array([[0.9, 0.8, 0.9]]), np.array([[0.1, 0.0, 0.2]])
    found = pairs(P, Q, [0], exclusive=True, softmax=False)
    assert found["total_variation"] == pytest.approx([(0.8 + 0.8 + 0.7) / 3])
    assert found["flips"].tolist() == [1.0]  # of the most probable class
