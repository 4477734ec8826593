"""Metrics of maps of any of the usual shapes."""

from __future__ import annotations

import inspect

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


@pytest.mark.parametrize("name", [*OF_TWO, *OF_THREE])
def test_maps_are_given_by_name_too(name: str) -> None:
    metric, maps = getattr(metrics, name), [P, F, F[::-1]][: 2 if name in OF_TWO else 3]
    names = list(inspect.signature(metric).parameters)
    named = dict(zip(names, maps, strict=True))
    assert_allclose(metric(**dict(reversed(named.items()))), metric(*maps))
    assert_allclose(metric(P, **{key: named[key] for key in names[1:]}), metric(*maps))
    assert isinstance(metric(**{key: each[0] for key, each in named.items()}), float)
    with pytest.raises(TypeError, match="unexpected keyword argument 'R'"):
        metric(*maps, R=F)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.uint8, torch.bool])
def test_tensors_of_every_type_are_measured(kind: torch.dtype) -> None:
    maps, fixations = (torch.tensor(each).mul(9).to(kind) for each in (P, F))
    assert_allclose(metrics.nss(maps, fixations), metrics.nss(maps.double(), fixations.double()))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_fixations_of_tensors_are_counted(kind: torch.dtype) -> None:
    points, present = np.array([[[1.5, 2.5], [3, 3], [1, 1]]]), np.array([[True, True, False]])
    expected = agreement.fixation_counts(points, present, (4, 5))
    tensors = torch.tensor(points, dtype=kind, requires_grad=True), torch.tensor(present)
    assert_allclose(metrics.fixation_counts(*tensors, (4, 5)), expected)
    assert_allclose(metrics.fixation_counts(present=present, points=points, size=(4, 5)), expected)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 9, 7)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must have a shape"):
        metrics.nss(np.ones(shape), np.ones(shape))
