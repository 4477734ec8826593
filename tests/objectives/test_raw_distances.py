"""Distances of raw heatmaps against their papers' formulas in NumPy, and what each of them must be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.generator import Generator, Read
from radgaze.objectives import distances
from radgaze.objectives.saliency_alignment import best_threshold
from tests.attribution.finite_differences import HeldStatistics, assert_matches, still
from tests.attribution.networks import Inverted, randomised
from tests.objectives.raw_oracles import ORACLES, Maps
from tests.objectives.raw_oracles import best_threshold as brute_force

NAMES = tuple(ORACLES)
OF_TWO_HEATMAPS = ("overlap", "outside_share")


def pair(cases: int = 3, size: tuple[int, int] = (20, 17), seed: int = 0) -> tuple[Tensor, Tensor]:
    """Signed maps of various scales, and relevances between 0 and 1, low in places."""
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(cases, 1, *size, generator=generator, dtype=torch.float64)
    p = p * torch.logspace(-3, 1, cases, dtype=torch.float64).view(-1, 1, 1, 1)
    rows, columns = (torch.linspace(-1, 1, side, dtype=torch.float64) for side in size)
    bump = torch.exp(-4 * ((rows[:, None] - 0.3) ** 2 + columns**2)).expand(cases, 1, *size)
    return p, bump * (0.9 + 0.1 * torch.rand(cases, 1, *size, generator=generator, dtype=torch.float64))


def by_hand(name: str, p: Tensor, q: Tensor, held: tuple[Tensor, Tensor] | None = None) -> Tensor:
    held = (p, q) if held is None else held
    maps = [m.detach().double()[:, 0].numpy() for m in (p, q, *held)]
    values = [ORACLES[name](Maps(a, b), Maps(c, d)) for a, b, c, d in zip(*maps, strict=True)]
    return torch.tensor(values, dtype=torch.float64)


def test_every_raw_distance_has_its_formula_here() -> None:
    assert {name for name, each in distances.REGISTRY.items() if each.raw} == set(NAMES)


@pytest.mark.parametrize("size", [(20, 17), (32, 32)])
@pytest.mark.parametrize("name", NAMES)
def test_each_case_gets_the_number_of_the_formula(name: str, size: tuple[int, int]) -> None:
    for seed in range(3):
        p, q = pair(size=size, seed=seed)
        torch.testing.assert_close(distances.find(name)(p, q), by_hand(name, p, q), rtol=1e-9, atol=0)
        single = distances.find(name)(p.float(), q.float())
        torch.testing.assert_close(single.double(), by_hand(name, p, q), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_formula_with_what_is_held_constant(name: str) -> None:
    p, q = pair()
    p.requires_grad_()
    (gradient,) = torch.autograd.grad(distances.find(name)(p, q).sum(), p)
    assert gradient.flatten(1).abs().amax(1).gt(0).all()
    generator = torch.Generator().manual_seed(1)
    for case in range(3):
        scale = p[case].detach().abs().mean()
        places = torch.randperm(p[case].numel(), generator=generator)[:40].tolist()
        for place in places:
            step = torch.zeros(p[case].numel(), dtype=torch.float64)
            step[place] = 1e-7 * scale
            moved = [p[case : case + 1].detach() + sign * step.view_as(p[case]) for sign in (1, -1)]
            up, down = (
                by_hand(name, m, q[case : case + 1], (p[case : case + 1], q[case : case + 1])) for m in moved
            )
            measured = float(up - down) / (2e-7 * float(scale))
            expected = float(gradient[case].flatten()[place])
            assert measured == pytest.approx(expected, rel=1e-4, abs=1e-6 * float(gradient[case].abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_a_case_does_not_know_its_neighbours_in_value_and_gradient(name: str) -> None:
    """No 1/B and 1/B², no minimum, maximum, threshold or rank over the batch."""
    p, q = pair(4)
    p.requires_grad_()
    together = distances.find(name)(p, q)
    (gradient,) = torch.autograd.grad(together.sum(), p)
    for k in range(4):
        alone = p[k : k + 1].detach().requires_grad_()
        value = distances.find(name)(alone, q[k : k + 1])
        torch.testing.assert_close(value[0], together[k])
        torch.testing.assert_close(torch.autograd.grad(value.sum(), alone)[0], gradient[k : k + 1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("level", [0.0, 1e-30, 0.7, 1e6])
def test_constant_maps_give_a_number_and_a_gradient_without_nan(
    name: str, level: float, target: float
) -> None:
    p = torch.full((2, 1, 8, 8), level, requires_grad=True)
    value = distances.find(name)(p, torch.full((2, 1, 8, 8), target))
    (gradient,) = torch.autograd.grad(value.sum(), p)
    assert value.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_no_clip_takes_the_gradient_of_a_map_however_large_or_small(name: str) -> None:
    """Some public code writes `loss - loss + c` above a clip, or clamps before a logarithm."""
    for scale in (1e-4, 1.0, 1e4):
        p, q = (m.float() for m in pair())
        p = (p * scale).requires_grad_()
        (gradient,) = torch.autograd.grad(distances.find(name)(p, q).sum(), p)
        assert gradient.isfinite().all()
        assert all(case.any() for case in gradient)


@pytest.mark.parametrize("name", ["energy", "harmonization", "overlap", "outside_share", "ga_net", "gradia"])
def test_what_says_nothing_of_scale_is_blind_to_it(name: str) -> None:
    p, q = pair(1)
    p = 1000 * p
    other = 7 * q if name in OF_TWO_HEATMAPS else q
    torch.testing.assert_close(
        distances.find(name)(7 * p, other), distances.find(name)(p, q), rtol=1e-4, atol=1e-6
    )


# A generator for each, and whether its second map is another heatmap in place of the relevance.
READ = {
    "outside_squared": ("backprop", "sum"),
    "inside_squared": ("backprop", "sum"),
    "outside_absolute": ("backprop", "sum"),
    "energy": ("input_x_gradient", "sum"),
    "isnet_background": ("input_x_gradient", "sum"),
    "harmonization": ("backprop", "sum"),
    "overlap": ("grad_cam_positive", None),
    "outside_share": ("grad_cam_positive", None),
    "res": ("grad_cam", None),
    "haics": ("grad_cam", None),
    "gradia": ("grad_cam", None),
    "ga_net": ("cam", None),
}
PARAMETERS = (
    "stem.weight",
    "norm.weight",
    "first.squeeze.weight",
    "second.norm2.bias",
    "widen.weight",
    "head.weight",
)


@dataclass
class Network:
    """A network of SiLU, batch norm and excitation in training mode, and the maps of a distance."""

    name: str
    model: nn.Module
    images: Tensor
    relevance: Tensor

    def generators(self) -> list[Generator]:
        kind, readout = READ[self.name]
        options = {} if readout is None else {"readout": readout}
        made = [attribution.create(kind, self.model, normalise="none", **options)]
        if self.name == "outside_share":
            made.insert(0, attribution.create(kind, self.model, normalise="none", layer="first", **options))
        return made

    @contextmanager
    def captured(self, *, create_graph: bool) -> Iterator[list[Read]]:
        with ExitStack() as stack:
            yield [stack.enter_context(each.capture(create_graph=create_graph)) for each in self.generators()]

    def maps(self, statistics: HeldStatistics | None = None) -> tuple[Tensor, Tensor]:
        """The two maps; measured, with the statistics of batch norms held by the reference."""
        with self.captured(create_graph=statistics is None) as reads:
            if statistics is None:
                output = self.model(self.images)
            else:
                with statistics:
                    output = self.model(self.images)
            classes = torch.arange(len(self.images)) % 3
            p = reads[0](output, self.of_all if self.name == "outside_squared" else classes)
            if self.name not in OF_TWO_HEATMAPS:
                return p, self.relevance
            return p, reads[-1](output, (classes + 1) % 3 if self.name == "overlap" else classes)

    @staticmethod
    def of_all(output: Tensor) -> Tensor:
        return output.log_softmax(1).sum(1)


@pytest.mark.parametrize("name", NAMES)
def test_loss_of_a_networks_parameters_matches_finite_differences_of_the_formula(name: str) -> None:
    """Through the second derivatives of SiLU, batch norm and excitation; the formula is that in NumPy."""
    torch.manual_seed(3)
    model = still(randomised(Inverted(channels=1), seed=5)).train()
    images = torch.rand(3, 1, 32, 32, dtype=torch.float64)
    network = Network(name, model, images, pair(size=(32, 32))[1])
    p, q = network.maps()
    loss = distances.find(name)(p, q).mean()
    held, statistics = (p.detach(), q.detach()), HeldStatistics()

    def measured() -> Tensor:
        return by_hand(name, *network.maps(statistics), held).mean()

    def share_of(size: float) -> Tensor:
        return measured() / size

    assert float(measured().detach()) == pytest.approx(float(loss), rel=1e-9)
    parameters = {label: dict(model.named_parameters())[label] for label in PARAMETERS}
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    assert any(gradient.any() for gradient in gradients)
    for (label, parameter), gradient in zip(parameters.items(), gradients, strict=True):
        size = float(gradient.norm()) or 1.0
        scaled = partial(share_of, size)
        assert_matches(scaled, parameter, gradient / size, label, tolerance=1e-4)


def test_half_precision_maps_give_numbers_under_autocast() -> None:
    p, q = pair()
    with torch.autocast("cpu", torch.bfloat16):
        for name in NAMES:
            half = p.bfloat16().requires_grad_()
            value = distances.find(name)(half.float(), q.float())
            torch.autograd.backward(value.sum())
            assert half.grad is not None
            assert half.grad.isfinite().all()
            expected = by_hand(name, half.detach(), q)
            torch.testing.assert_close(value.double(), expected, rtol=2e-2, atol=2e-2)
            assert np.isfinite(value.detach().numpy()).all()


@pytest.mark.parametrize("name", ["outside_squared", "outside_absolute", "energy", "isnet_background"])
def test_relevance_above_a_value_is_a_binary_mask(name: str) -> None:
    p, q = pair()
    mask = (q > 0.3).double()
    found = distances.find(name)(p, q, relevant_above=0.3)
    torch.testing.assert_close(found, by_hand(name, p, mask), rtol=1e-9, atol=0)
    # What is irrelevant in the target, a little or much, counts the same.
    torch.testing.assert_close(distances.find(name)(p, q * 0.999 + 1e-4, relevant_above=0.3), found)


def test_maps_of_two_classes_that_are_apart_do_not_overlap_and_equal_ones_do() -> None:
    p = torch.zeros(1, 1, 8, 8)
    p[..., :4, :] = 2.0
    overlap = distances.find("overlap")
    assert float(overlap(p, p.flip(2))) == 0
    assert float(overlap(p, p)) == pytest.approx(1.0)
    # Twice as high elsewhere: Σ min = 0 under the mask of p alone.
    assert float(overlap(p, p + 2 * p.flip(2))) == pytest.approx(2 * 64 / (64 + 64 + 128))


def test_overlap_within_a_map_counts_there_alone() -> None:
    p, q = (m.clamp(min=0) for m in (pair(seed=0)[0], pair(seed=1)[0]))
    within = torch.zeros_like(p)
    within[..., :9] = 1
    expected = 2 * torch.minimum(p, q)[..., :9].sum((1, 2, 3)) / (p + q).sum((1, 2, 3))
    torch.testing.assert_close(distances.find("overlap")(p, q, within=within), expected)
    assert distances.find("overlap")(p, q, within=torch.zeros_like(p)).eq(0).all()


def test_the_soft_mask_of_an_inner_map_is_of_the_last_one_or_its_own() -> None:
    """θ = 0.8 is L_AC as published; its own mask makes the inner map agree with itself."""
    inner, last = torch.zeros(2, 1, 1, 6, 6)
    inner[..., :3], last[..., 3:] = 1.0, 5.0
    outside = distances.find("outside_share")
    assert float(outside(inner, last)) == pytest.approx(1.0)
    assert float(outside(inner, last, theta=0.8)) == pytest.approx(0.8)
    assert float(outside(inner, last, mask_from="own", theta=0.8)) == pytest.approx(-0.2)


def test_the_threshold_that_separates_best_is_that_of_brute_force() -> None:
    generator = np.random.default_rng(0)
    maps = generator.random((20, 5, 6)).round(1)
    said = generator.integers(-1, 2, (20, 5, 6))
    said[0], said[1], said[2] = 0, 1, -1
    found = best_threshold(torch.tensor(maps)[:, None], torch.tensor(said)[:, None])
    expected = [brute_force(one, annotation) for one, annotation in zip(maps, said, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found[0] == 0


def test_a_heatmap_in_the_relevant_places_is_cheapest() -> None:
    """Costs of a map, and of the same map upside down, where nobody looked."""
    _, q = pair()
    heat = (q**2).clone()
    for name in set(NAMES) - set(OF_TWO_HEATMAPS):
        relevance = 1 - q if name == "inside_squared" else q
        values = (distances.find(name)(each, relevance) for each in (heat, heat.flip(2)))
        assert torch.lt(*values).all(), name
