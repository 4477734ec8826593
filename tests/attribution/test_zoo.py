"""Maps and parameter gradients of the zoo are those of autograd's own nodes, or a generator says why not.

`make zoo` runs all, `make zoo ONLY="densenet and training"` a part; the fast tests have the smallest ones.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution.engine import swaps
from radgaze.attribution.registry import REGISTRY
from tests.attribution.generator_contract import left_as_found
from tests.attribution.reference import Forward, logits_of, ours
from tests.attribution.zoo import CLASSES, GENERATORS, ZOO, built

TOLERANCE = 1e-6
QUICK = ("torchvision-vit", "torchvision-convnext", "timm-test_mambaout", "monai-classifier")
"""The networks of the fast tests: a second or two each."""

pytestmark = pytest.mark.filterwarnings("ignore:.*meaning is thin", "ignore:no rule covers")


@dataclass(frozen=True)
class Prepared:
    """A network, its plain forward pass in one mode, and what its buffers were before and after."""

    model: nn.Module
    images: Tensor
    forward: Forward
    before: dict[str, Tensor]
    after: dict[str, Tensor]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name, marks=[pytest.mark.xdist_group(name), *([] if name in QUICK else [pytest.mark.zoo])]
        )
        for name in ZOO
    ],
)
def network(request: pytest.FixtureRequest) -> str:
    """A network's name. As a fixture of the module it keeps the tests of one network together."""
    return str(request.param)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", GENERATORS)
def test_map_and_parameter_gradients_are_those_of_autograds_own_nodes(
    network: str, training: bool, name: str
) -> None:
    if name in ZOO[network].refused:
        pytest.skip("it is refused")
    zoo = prepared(network, training)
    targets, heat = explained(zoo.forward, name)
    scale = float(heat.detach().max())

    def loss(output: Any, heat: Tensor) -> Tensor:
        total = F.cross_entropy(logits_of(output), targets) + (heat / scale).square().sum()
        mask: Tensor | None = getattr(output, "mask", None)
        return total if mask is None else total + mask.square().mean()

    expected = heat.detach(), zoo.forward.gradients(loss(zoo.forward.output, heat))
    with unharmed(zoo):
        torch.manual_seed(3)
        found = ours(zoo.model, zoo.images, targets, loss, name=name)
    assert_same(found, expected)


@pytest.mark.parametrize("name", ["backprop", "input_x_gradient", "guided_backprop", "grad_cam"])
def test_map_that_is_looked_at_is_the_same(network: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all modules are swapped, as they are with larger images."""
    if name in ZOO[network].refused:
        pytest.skip("it is refused")
    for least in ("MANY", "PLACES"):
        monkeypatch.setattr(swaps, least, 1)
    zoo = prepared(network, False)
    targets, expected = explained(zoo.forward, name, create_graph=False)
    with unharmed(zoo):
        found = attribution.create(name, zoo.model, normalise="none")(zoo.images, targets)
    assert (found - expected).norm() <= TOLERANCE * expected.norm()


def test_generators_say_which_networks_they_do_not_apply_to(network: str) -> None:
    zoo, row = prepared(network, False), ZOO[network]
    targets = torch.zeros(len(zoo.images), dtype=torch.long)
    for name in GENERATORS:
        why = REGISTRY[name].unsupported(zoo.model, row.size)
        if name not in row.refused:
            assert why is None
            continue
        assert why is None or row.refused[name] in why
        for training in (False, True):
            zoo.model.train(training)
            with unharmed(zoo, moved=False), pytest.raises(RuntimeError, match=row.refused[name]):
                ours(zoo.model, zoo.images, targets, lambda o, h: h.sum(), name=name)


def prepared(network: str, training: bool) -> Prepared:
    """The network in a mode, and its plain forward pass, whose random numbers are those of the seed 3."""
    zoo = _prepared(network, training)
    zoo.model.train(training)
    return zoo


@lru_cache(maxsize=2)
def _prepared(network: str, training: bool) -> Prepared:
    model, images = made(network)
    twin = copy.deepcopy(model.train(training))
    before = {key: buffer.clone() for key, buffer in model.named_buffers()}
    torch.manual_seed(3)
    forward = Forward(twin, images, features=ZOO[network].features)
    return Prepared(model, images, forward, before, dict(twin.named_buffers()))


made = lru_cache(maxsize=1)(built)


def explained(forward: Forward, name: str, *, create_graph: bool = True) -> tuple[Tensor, Tensor]:
    """The first class of each case whose map is not empty, and these maps."""
    cases = len(logits_of(forward.output))
    targets = torch.zeros(cases, dtype=torch.long)
    for _ in range(CLASSES):
        heat = forward.map(targets, name, create_graph=create_graph)
        empty = heat.detach().flatten(1).amax(1) == 0
        if not empty.any():
            return targets, heat
        targets = (targets + empty) % CLASSES
    raise AssertionError("the maps of all classes are empty")


@contextmanager
def unharmed(zoo: Prepared, *, moved: bool = True) -> Iterator[None]:
    """Asserts that the model stays as it was, besides running statistics, which move as those of its twin."""
    kinds = [(name, type(module)) for name, module in zoo.model.named_modules()]
    try:
        with left_as_found(zoo.model, gradients=True):
            yield
        assert [(name, type(module)) for name, module in zoo.model.named_modules()] == kinds
        if moved:
            torch.testing.assert_close(dict(zoo.model.named_buffers()), zoo.after, rtol=1e-9, atol=1e-12)
    finally:
        for key, buffer in zoo.model.named_buffers():
            buffer.data.copy_(zoo.before[key])  # which a graph that the model keeps does not notice


def assert_same(found: tuple[Tensor, dict[str, Tensor]], expected: tuple[Tensor, dict[str, Tensor]]) -> None:
    """The map and the gradient of each parameter have the same values; some of them are mere rounding."""
    assert (found[0] - expected[0]).norm() <= TOLERANCE * expected[0].norm()
    assert found[1].keys() == expected[1].keys()
    floor = 1e-4 * max(gradient.norm() for gradient in expected[1].values())
    off = {
        key: float((found[1][key] - gradient).norm() / (gradient.norm() + floor))
        for key, gradient in expected[1].items()
    }
    assert not {key: error for key, error in off.items() if not error <= TOLERANCE}
