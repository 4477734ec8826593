"""Metrics of maps of any of the usual shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from radgaze import metrics
from radgaze.evaluation.metrics import agreement

RANDOM = np.random.default_rng(0)
P, F = RANDOM.random((4, 9, 7)), RANDOM.integers(0, 3, (4, 9, 7))
OF_TWO = ("nss", "cc", "kl", "sim", "auc_judd")
OF_THREE = ("shuffled_auc", "information_gain")


@pytest.mark.parametrize("name", [*OF_TWO, *OF_THREE])
def test_each_shape_gives_the_figures_of_single_maps(name: str) -> None:
    metric, maps = getattr(metrics, name), [P, F, F[::-1]][: 2 if name in OF_TWO else 3]
    expected = getattr(agreement, name)(*maps)
    assert_allclose(metric(*maps), expected)
    assert_allclose(metric(*[each[:, None] for each in maps]), expected)
    tensors = [torch.tensor(each[:, None].copy(), dtype=torch.float64, requires_grad=True) for each in maps]
    assert_allclose(metric(*tensors), expected)
    for k in range(4):
        one = metric(*[each[k] for each in maps])
        assert isinstance(one, float)
        assert_allclose(one, expected[k])


@pytest.mark.parametrize("shape", [(7,), (2, 3, 9, 7)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must have a shape"):
        metrics.nss(np.ones(shape), np.ones(shape))
