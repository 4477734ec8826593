"""Maps that are only looked at, made with less interception: always those of the model as it is."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from radgaze.attribution import Generator, create
from radgaze.attribution.engine import swaps
from radgaze.attribution.rules import GUIDED
from tests.attribution.generator_contract import left_as_found
from tests.attribution.networks import randomised

SIDE, LARGE = 32, 136
"""Sides of images below and above the size from which most modules are swapped."""


class Heavy(nn.Module):
    """Convolutions, also strided, grouped and dilated, and batch norms after them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(64)
        self.deep = nn.Conv2d(64, 256, 3, stride=2, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(256)
        self.grouped = nn.Conv2d(256, 256, 3, padding=2, dilation=2, groups=2)
        self.act = nn.GELU()
        self.head = nn.Linear(256, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(images)))
        x = F.relu(self.norm2(self.deep(x)), inplace=True)
        logits: Tensor = self.head(self.act(self.grouped(x)).mean((2, 3)))
        return logits


@pytest.fixture
def model() -> Heavy:
    torch.manual_seed(0)
    return randomised(Heavy()).float().eval()


def images(batch: int = 2, side: int = SIDE) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(1))


def reference(model: nn.Module, x: Tensor) -> Tensor:
    """max_c |∂y/∂x_c| in double precision, of a copy that nothing of ours has touched."""
    double = copy.deepcopy(model).double().eval()
    leaf = x.double().requires_grad_()
    (g,) = torch.autograd.grad(double(leaf)[:, 1].sum(), leaf)
    return g.abs().amax(1, keepdim=True).float()


def assert_right(generator: Generator, model: nn.Module, x: Tensor) -> None:
    expected = reference(model, x)
    found = generator(x, 1)
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def warm(model: nn.Module, x: Tensor) -> Generator:
    """A generator that has been called."""
    generator = create("backprop", model, normalise="none")
    assert_right(generator, model, x)
    return generator


@pytest.mark.parametrize(("batch", "side"), [(1, 32), (3, 33), (5, 20), (8, 96)])
def test_maps_are_the_gradient_whatever_the_size(model: Heavy, batch: int, side: int) -> None:
    generator = create("backprop", model, normalise="none")
    for _ in range(2):
        assert_right(generator, model, images(batch, side))


def _in_place(model: Heavy) -> None:
    with torch.no_grad():
        model.deep.weight.mul_(-0.5)


def _by_data(model: Heavy) -> None:
    model.deep.weight.data[7] = 0  # no version changes


def _data_permuted(model: Heavy) -> None:
    model.deep.weight.data = model.deep.weight.data.flip(0)


def _data_reinterpreted(model: Heavy) -> None:
    model.deep.weight.data = model.deep.weight.data.to(memory_format=torch.channels_last)


def _new_parameter(model: Heavy) -> None:
    model.deep.weight = nn.Parameter(model.deep.weight.detach().flip(1))


def _loaded(model: Heavy) -> None:
    model.load_state_dict({key: value * 0.9 for key, value in model.state_dict().items()})


def _other_layer(model: Heavy) -> None:
    model.deep = randomised(nn.Conv2d(64, 256, 3, stride=2, padding=1)).float()


def _other_stride(model: Heavy) -> None:
    model.deep.stride = (1, 2)


def _other_statistics(model: Heavy) -> None:
    assert model.norm2.running_var is not None
    model.norm2.running_var.data.mul_(3)
    model.norm.weight.data.neg_()


def _trained(model: Heavy) -> None:
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    model.train()
    model(images(4)).square().sum().backward()
    optimiser.step()
    model.zero_grad(set_to_none=True)


def _frozen(model: Heavy) -> None:
    model.requires_grad_(False)


class _Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def _parametrized(model: Heavy) -> None:
    parametrize.register_parametrization(model.deep, "weight", _Halved())


def _own_forward(model: Heavy) -> None:
    conv = model.deep
    model.deep.forward = lambda x: F.conv2d(x, 2 * conv.weight, None, 2, 1)  # type: ignore[method-assign,assignment]


def _channels_last(model: Heavy) -> None:
    model.to(memory_format=torch.channels_last)


CHANGES = (
    *(_in_place, _by_data, _data_permuted, _data_reinterpreted, _new_parameter, _loaded, _other_layer),
    *(_other_stride, _other_statistics, _trained, _frozen, _channels_last),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__.strip("_"))
@pytest.mark.parametrize("side", [SIDE, LARGE])
def test_a_model_changed_between_two_calls_gets_its_own_map(
    model: Heavy, change: Callable[[Heavy], None], side: int
) -> None:
    x = images(side=side)
    generator = warm(model, x)
    change(model)
    for _ in range(2):
        with left_as_found(model):
            assert_right(generator, model, x)


@pytest.mark.parametrize("change", [_parametrized, _own_forward], ids=["parametrized", "own_forward"])
@pytest.mark.parametrize("side", [SIDE, LARGE])
def test_a_layer_that_computes_something_else_between_two_calls_does(
    model: Heavy, change: Callable[[Heavy], None], side: int
) -> None:
    x = images(side=side)
    generator = warm(model, x)
    change(model)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    for _ in range(2):
        torch.testing.assert_close(generator(x, 1), g.abs().amax(1, keepdim=True))


def test_model_is_as_before_after_an_exception(model: Heavy) -> None:
    generator = warm(model, images())

    def fail(*args: object) -> None:
        raise ValueError("stop")

    handle = model.grouped.register_forward_hook(fail)
    with left_as_found(model), pytest.raises(ValueError, match="stop"):
        generator(images(), 1)
    handle.remove()
    assert not any("forward" in vars(module) for module in model.modules())
    assert_right(generator, model, images())


@pytest.mark.parametrize("side", [SIDE, 128])
def test_hooks_of_the_user_run_and_what_they_change_counts(model: Heavy, side: int) -> None:
    x, seen = images(4, side), list[torch.Size]()

    def double(module: nn.Module, args: object, y: Tensor) -> Tensor:
        seen.append(y.shape)
        return 2 * y

    def note(module: nn.Module, grad_input: object, grad_output: object) -> None:
        seen.append(torch.Size())

    def watch(module: nn.Module, args: object, y: Tensor) -> None:
        y.register_hook(lambda g: g * 3)  # type: ignore[no-untyped-call]

    model.stem.register_forward_hook(double)
    model.norm.register_full_backward_hook(note)
    model.deep.register_forward_hook(watch)
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    expected, before = g.abs().amax(1, keepdim=True), len(seen)
    generator = create("backprop", model, normalise="none")
    for _ in range(2):
        torch.testing.assert_close(generator(x, 1), expected, rtol=1e-4, atol=1e-6 * float(expected.max()))
    assert len(seen) == 3 * before == 6


def test_other_threads_run_the_model_as_it_is(model: Heavy) -> None:
    """In the middle of a map, a thread that predicts gets what it would get at any other time."""
    x, found = images(), list[Tensor]()
    generator = warm(model, x)
    with torch.no_grad():
        expected = model(x)

    def predict() -> None:
        with torch.no_grad():
            found.append(model(x))

    def meanwhile(module: nn.Module, args: object, y: object) -> None:
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=predict)
            thread.start()
            thread.join()

    model.stem.register_forward_hook(meanwhile)
    generator(x, 1)
    assert len(found) == 1
    assert torch.equal(found[0], expected)


def test_bfloat16_autocast_is_that_of_the_model(model: Heavy) -> None:
    x = images(4, 96)
    generator = create("backprop", model, normalise="none")
    leaf = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        (g,) = torch.autograd.grad(model(leaf)[:, 1].float().sum(), leaf)
        found = [generator(x, 1) for _ in range(2)]
    expected = g.abs().amax(1, keepdim=True)
    for each in found:
        assert float((each - expected).abs().max()) < 0.1 * float(expected.max())


def test_checkpointed_parts_are_computed_again_in_the_same_way(model: Heavy) -> None:
    class Checkpointed(Heavy):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = checkpoint(super().forward, images, use_reentrant=False)
            return logits

    again = Checkpointed().eval()
    again.load_state_dict(model.state_dict())
    for side in (SIDE, 128):
        x = images(4, side)
        generator, expected = create("backprop", again, normalise="none"), reference(model, x)
        for _ in range(2):
            torch.testing.assert_close(
                generator(x, 1), expected, rtol=1e-4, atol=1e-5 * float(expected.max())
            )


def test_a_view_of_feature_maps_that_expects_its_layout_works() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4 * 64, 3)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(torch.relu(self.conv(images)).view(len(images), -1))
            return logits

    model = Viewed().eval()
    generator = create("backprop", model, normalise="none")
    for _ in range(2):
        assert_right(generator, model, images(2, 8))
    leaf = images(2, 8)
    for name in ("guided_backprop", "grad_cam"):
        assert create(name, model)(leaf, 1).isfinite().all()


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_efficientnet",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("regnety_002", "mobilenetv3_large_100", "convnext_atto", "resnet18", "densenet121")
        ),
    ],
)
@pytest.mark.parametrize(("batch", "side"), [(1, 64), (8, 96)])
def test_networks_of_timm(name: str, batch: int, side: int) -> None:
    """In double precision: in single, one rounded sign of a ReLU's input changes a map by a hundredth."""
    torch.manual_seed(0)
    model = randomised(timm.create_model(name, num_classes=3)).double().eval()
    generator, x = create("backprop", model, normalise="none"), images(batch, side).double()
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    expected = g.abs().amax(1, keepdim=True)
    with left_as_found(model):
        found = generator(x, 1)
    assert float((found - expected).abs().max()) < 1e-10 * float(expected.max())


def test_a_generator_of_rules_is_intercepted_whole(model: Heavy) -> None:
    """Also one of a user's, that derives from a generator of plain gradients."""

    class Ruled(type(create("backprop", model))):  # type: ignore[misc]
        def attribute(self, read: object) -> Tensor:
            return read.gradient(read.images, GUIDED)  # type: ignore[attr-defined,no-any-return]

    expected = create("guided_backprop", model, normalise="none")(images(), 1)
    torch.testing.assert_close(Ruled(model, normalise="none")(images(), 1), expected)
    assert float((expected - reference(model, images())).abs().max()) > 0.1 * float(expected.max())


def test_classes_that_compute_something_of_their_own_are_left_alone() -> None:
    class Own(nn.Conv2d):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return super().forward(input) * 2

    assert swaps._kind_of(nn.Conv2d) is swaps.SwappedConv
    assert swaps._kind_of(nn.BatchNorm2d) is swaps.SwappedNorm
    assert swaps._kind_of(Own) is None
    assert swaps._kind_of(nn.SyncBatchNorm) is None
