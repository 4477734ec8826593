"""IRNet's pairs, loss and random walk against brute force, and boundaries that it learns."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radgaze.pseudo.irnet import refining
from radgaze.pseudo.irnet.loss import (
    EPS,
    UNSURE,
    confident_labels,
    loss_terms,
)
from radgaze.pseudo.irnet.network import IRNet, Relations
from radgaze.pseudo.irnet.paths import affinities, paths
from radgaze.pseudo.irnet.spreading import spread, transitions
from radgaze.pseudo.irnet.training import Seeds, fit, quarter
from radgaze.pseudo.maps import ClassMap
from radgaze.pseudo.options import PseudoOptions
from radgaze.runs.run import Run

Place = tuple[int, int]


def pairs(height: int, width: int, radius: int) -> list[tuple[Place, Place]]:
    """Every pair of different pixels that are nearer than the radius, once."""
    places = [(y, x) for y in range(height) for x in range(width)]
    return [
        (i, j)
        for n, i in enumerate(places)
        for j in places[n + 1 :]
        if (i[0] - j[0]) ** 2 + (i[1] - j[1]) ** 2 < radius**2
    ]


def line(i: Place, j: Place) -> list[Place]:
    """The pixels on a line, from the pixel that comes first."""
    n = max(abs(j[0] - i[0]), abs(j[1] - i[1]))
    return [(i[0] + round((j[0] - i[0]) * k / n), i[1] + round((j[1] - i[1]) * k / n)) for k in range(n + 1)]


def affinity(boundary: np.ndarray, i: Place, j: Place) -> float:
    return 1 - max(float(boundary[p]) for p in line(i, j))


@pytest.mark.parametrize("radius", [2, 5, 10])
def test_paths_join_each_pair_within_the_radius_once(radius: int) -> None:
    offsets = {path.end for path in paths(radius)}
    both = offsets | {(-down, -right) for down, right in offsets}
    near = {
        (y, x)
        for y in range(-radius, radius + 1)
        for x in range(-radius, radius + 1)
        if 0 < y * y + x * x < radius**2
    }
    assert both == near
    assert len(both) == 2 * len(offsets)
    for path in paths(radius):
        assert path.steps[0] == (0, 0)
        assert path.steps[-1] == path.end
        steps = np.array(path.steps)
        assert np.abs(np.diff(steps, axis=0)).max() == 1  # no gap that a walk could slip through
        away = np.abs(steps[:, 0] * path.end[1] - steps[:, 1] * path.end[0]) / np.hypot(*path.end)
        assert away.max() <= 0.51


def test_affinities_are_one_minus_the_largest_boundary_on_the_line() -> None:
    boundary = np.random.default_rng(0).random((7, 9))
    found = affinities(torch.from_numpy(boundary)[None], 4)[0].numpy()
    place = {path.end: n for n, path in enumerate(paths(4))}
    for i, j in pairs(7, 9, 4):
        n = place[j[0] - i[0], j[1] - i[1]]
        assert found[n, i[0], i[1]] == pytest.approx(affinity(boundary, i, j))
    inside = sum((found[n, y, x] > 0) for n in place.values() for y in range(7) for x in range(9))
    assert inside == len(pairs(7, 9, 4))  # whatever leaves the map has none


def test_the_walk_is_the_power_of_the_dense_matrix() -> None:
    draw = np.random.default_rng(1)
    boundary, maps = draw.random((6, 8)) * 0.6, draw.random((2, 6, 8))
    A = np.eye(48)
    for i, j in pairs(6, 8, 4):
        a = affinity(boundary, i, j) ** 3
        A[i[0] * 8 + i[1], j[0] * 8 + j[1]] = A[j[0] * 8 + j[1], i[0] * 8 + i[1]] = a
    T = A / A.sum(1, keepdims=True)
    np.testing.assert_allclose(transitions(boundary, 4, 3).toarray(), T, atol=1e-12)
    expected = np.linalg.matrix_power(T, 64) @ (maps * (1 - boundary)).reshape(2, 48).T
    found = spread(maps, boundary, radius=4, beta=3, steps=64)
    np.testing.assert_allclose(found, expected.T.reshape(2, 6, 8), atol=1e-12)


def test_a_walk_fills_a_room_and_does_not_leave_it() -> None:
    """A closed wall: the map inside becomes even, and nothing gets out."""
    boundary = np.zeros((20, 20))
    boundary[4:16, 4] = boundary[4:16, 15] = boundary[4, 4:16] = boundary[15, 4:16] = 1
    maps = np.zeros((1, 20, 20))
    maps[0, 6, 6] = 1
    grown = spread(maps, boundary)[0]
    room = grown[5:15, 5:15]
    outside = grown.copy()
    outside[4:16, 4:16] = 0
    assert outside.max() == 0
    assert room.min() > 0.3 * room.max() > 0


def brute_terms(boundary: np.ndarray, moved: np.ndarray, labels: np.ndarray, radius: int) -> list[float]:
    """The five terms, pair by pair."""
    terms: dict[str, list[float]] = {name: [] for name in ("fg", "bg", "neg", "dfg", "dbg")}
    height, width = labels.shape
    for i, j in pairs(height, width, radius):
        if UNSURE in (labels[i], labels[j]):
            continue
        a = affinity(boundary, i, j)
        offset, estimated = np.subtract(j, i), moved[:, i[0], i[1]] - moved[:, j[0], j[1]]
        if labels[i] != labels[j]:
            terms["neg"].append(-np.log(1 + EPS - a))
        elif labels[i] > 0:
            terms["fg"].append(-np.log(a + EPS))
            terms["dfg"].append(np.abs(offset - estimated).sum())
        else:
            terms["bg"].append(-np.log(a + EPS))
            terms["dbg"].append(np.abs(estimated).sum())
    return [float(np.mean(values)) if values else 0.0 for values in terms.values()]


def test_the_loss_is_the_mean_over_pairs() -> None:
    draw = np.random.default_rng(2)
    boundary, moved = draw.random((6, 7)) * 0.9, draw.normal(size=(2, 6, 7))
    labels = draw.choice([UNSURE, 0, 1, 2], size=(6, 7))
    relations = Relations(torch.from_numpy(boundary)[None], torch.from_numpy(moved)[None])
    found = loss_terms(relations, torch.from_numpy(labels)[None], radius=4)
    expected = brute_terms(boundary, moved, labels, 4)
    np.testing.assert_allclose([float(term) for term in found], expected, rtol=1e-9)
    fg, bg, neg, dfg, dbg = expected
    assert float(found.total()) == pytest.approx(((fg + bg) / 2 + neg) / 2 + (dfg + dbg) / 2)


def test_gradients_of_the_loss_match_finite_differences() -> None:
    draw = np.random.default_rng(3)
    labels = torch.from_numpy(draw.choice([UNSURE, 0, 1], size=(1, 5, 5)))

    def loss(logits: Tensor, moved: Tensor) -> Tensor:
        return loss_terms(Relations(logits.sigmoid(), moved), labels, radius=3).total()

    logits = torch.from_numpy(draw.normal(size=(1, 5, 5))).requires_grad_()
    moved = torch.from_numpy(draw.normal(size=(1, 2, 5, 5))).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits, moved))


def test_without_a_pair_the_loss_is_zero_and_has_a_gradient() -> None:
    logits = torch.zeros(1, 4, 4, dtype=torch.float64, requires_grad=True)
    relations = Relations(logits.sigmoid(), torch.zeros(1, 2, 4, 4, dtype=torch.float64))
    loss = loss_terms(relations, torch.full((1, 4, 4), UNSURE)).total()
    torch.autograd.backward(loss)
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_labels_are_of_the_highest_class_where_it_is_sure() -> None:
    maps = torch.tensor([[[[0.0, 0.04, 0.1, 0.3, 0.31, 0.5]], [[0.0, 0.0, 0.0, 0.0, 0.9, 0.1]]]])
    assert confident_labels(maps).tolist() == [[[0, 0, UNSURE, UNSURE, 2, 1]]]
    assert confident_labels(maps, 0.4, 0.2).tolist() == [[[0, 0, 0, UNSURE, 2, 1]]]


def test_a_quarter_is_the_mean_of_sixteen() -> None:
    maps = np.random.default_rng(0).random((2, 3, 16, 24))
    expected = maps.reshape(2, 3, 4, 4, 6, 4).mean((3, 5))
    np.testing.assert_allclose(quarter(maps), expected, rtol=1e-5)


class Levels(nn.Module):
    """An encoder without weights: the image, and its means at three scales, with local contrast."""

    def forward(self, images: Tensor) -> list[Tensor]:
        grey = images[:, :1]
        features = [images]
        for size in (2, 4, 8):
            mean = nn.functional.avg_pool2d(grey, size)
            square = nn.functional.avg_pool2d(grey.square(), size)
            wide = nn.functional.avg_pool2d(mean, 3, 1, 1, count_include_pad=False)
            features.append(torch.cat([mean, (square - mean.square()).clamp_min(0).sqrt(), mean - wide], 1))
        return features


@pytest.mark.slow
def test_maps_of_discs_grow_to_their_edges() -> None:
    """Maps that are highest in the middle of bright discs, and too small, fit after the walk."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    centres, radii = draw.uniform(22, 42, (24, 2)), draw.uniform(9, 15, 24)
    squares = np.stack([(y - cy) ** 2 + (x - cx) ** 2 for cy, cx in centres])
    masks = squares < radii[:, None, None] ** 2
    images = (0.3 + 0.4 * masks + draw.normal(0, 0.02, masks.shape)).clip(0, 1)
    maps = np.exp(-squares / (2 * (0.4 * radii[:, None, None]) ** 2))
    seeds = Seeds((images * 255).astype(np.uint8), quarter(maps)[:, None])
    torch.manual_seed(0)
    network, grey = IRNet(Levels(), [3, 3, 3, 3]), Grey()
    losses = fit(network, grey, seeds, epochs=25, batch_size=8, seed=0)
    assert losses[-1] < 0.85 * losses[0]

    def dice(one: np.ndarray, other: np.ndarray) -> float:
        return float(2 * (one & other).sum() / (one.sum() + other.sum()))

    before, after = [], []
    for image, mask, plane in zip(images, quarter(masks.astype(float)) > 0.5, seeds.maps[:, 0], strict=True):
        with torch.no_grad():
            boundary = network(grey(torch.from_numpy(image)[None, None].float())).boundary[0].numpy()
        grown = spread(plane[None], boundary)[0]
        before.append([dice(plane > level, mask) for level in (0.2, 0.3, 0.5)])
        after.append(dice(grown > 0.5 * grown.max(), mask))
    assert np.mean(before, 0).max() < 0.75
    assert np.mean(after) > 0.88


class Grey(nn.Module):
    """The image three times."""

    def forward(self, images: Tensor) -> Tensor:
        return images.expand(-1, 3, -1, -1)


class NoBoundaries(nn.Module):
    """In place of IRNet."""

    def forward(self, images: Tensor) -> Relations:
        side = images.shape[-1] // 4
        return Relations(torch.zeros(1, side, side), torch.zeros(1, 2, side, side))


@pytest.mark.parametrize("height", [1.0, 0.02])
def test_a_map_keeps_its_height_so_that_a_weak_mask_stays_below_the_threshold(
    height: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "network_of", lambda run, device, seed: (NoBoundaries(), nn.Identity()))
    monkeypatch.setattr(refining, "fit", lambda *given, **settings: [])
    values = np.zeros((64, 64), np.float32)
    values[20:40, 20:40] = height
    options = PseudoOptions("out", methods="mask", refine="irnet", device="cpu")
    given = ClassMap("case", "CHF", np.zeros_like(values), values)
    run = cast(Run, SimpleNamespace(classes=("CHF",)))
    (found,) = refining.refined([given], run, options)
    assert found.values.max() == pytest.approx(height)
    assert (found.values >= options.level).any() == (height >= options.level)


def test_the_encoder_is_neither_trained_nor_changed() -> None:
    encoder = nn.ModuleDict({"unused": nn.Linear(1, 1)})
    network = IRNet(encoder, [3, 8, 0, 16])
    assert not {id(p) for p in encoder.parameters()} & {id(p) for p in network.parameters()}
    assert len(network.boundary.levels) == 2
