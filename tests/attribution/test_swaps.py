"""Modules swapped during a map: as before after it whatever happens, and right in models of all kinds."""

from __future__ import annotations

import copy
import gc
import io
import pickle
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, weight_norm
from torch.utils.checkpoint import checkpoint

from radgaze.attribution import Generator, create
from radgaze.attribution.engine import swaps, turns
from radgaze.attribution.engine.forward_pass import Pass
from radgaze.attribution.engine.swaps import Swap, Swaps
from tests.attribution.generator_contract import left_as_found
from tests.attribution.networks import randomised

IMAGES = torch.randn(2, 3, 136, 136, generator=torch.Generator().manual_seed(1))
"""Enough places that convolutions, batch norms and GELUs are all swapped."""


class Plain(nn.Module):
    """Convolutions with batch norms after them, and both kinds of activation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.act = nn.GELU()
        self.deep = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.act(self.norm(self.stem(images)))
        logits: Tensor = self.head(torch.tanh(self.norm2(self.deep(x))).mean((2, 3)))
        return logits


@pytest.fixture
def model() -> Plain:
    return randomised(Plain()).float().eval()


def gradient_map(model: nn.Module, x: Tensor = IMAGES) -> Tensor:
    """max_c |∂y/∂x_c| without anything of ours."""
    leaf = x.clone().requires_grad_()
    (g,) = torch.autograd.grad(model(leaf)[:, 1].sum(), leaf)
    return g.abs().amax(1, keepdim=True)


def features() -> Tensor:
    """Feature maps that `Plain.deep` may be called with."""
    return torch.randn(2, 16, 68, 68, generator=torch.Generator().manual_seed(2))


def generator_of(model: nn.Module) -> Generator:
    return create("backprop", model, normalise="none")


def assert_close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def swapped(model: nn.Module) -> list[str]:
    """Names of the modules that are swapped now."""
    return [name for name, part in model.named_modules() if isinstance(vars(part).get("forward"), Swap)]


def during(model: Plain, do: Callable[[], object]) -> Tensor:
    """A map during which something is done once, where all modules are swapped and half have run."""
    done: list[object] = []

    def hook(*args: object) -> None:
        if not done:
            done.append(None)
            assert swapped(model) == ["stem", "norm", "act", "deep", "norm2"]
            done.append(do())

    handle = model.act.register_forward_hook(hook)
    try:
        return generator_of(model)(IMAGES, 1)
    finally:
        handle.remove()
        assert done
        assert not swapped(model)


# What is done meanwhile


class Heavy(nn.Module):
    """A convolution with fewer weights than inputs, and a dense one with more."""

    def __init__(self) -> None:
        super().__init__()
        self.light = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(34))
        self.heavy = nn.Sequential(nn.Conv2d(8, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU())
        self.deep = nn.Conv2d(256, 256, 3, padding=1)
        self.head = nn.Linear(256, 3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.deep(self.heavy(self.light(images))).mean((2, 3)))
        return logits


@pytest.mark.parametrize(("images", "light_is_last"), [(IMAGES, True), (IMAGES[:1, :, :68, :68], False)])
def test_dense_convolutions_with_more_weights_than_inputs_keep_their_layout(
    images: Tensor, light_is_last: bool
) -> None:
    model = randomised(Heavy()).float().eval()
    assert model.deep.weight.numel() > swaps.HEAVY
    last = dict[str, bool]()

    def note(name: str) -> Callable[..., None]:
        return lambda module, inputs, y: last.update(
            {name: y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()}
        )

    hooks = [each.register_forward_hook(note(name)) for name, each in model.named_modules() if name]
    found = create("backprop", model, normalise="none")(images, 1)
    assert (last["light.0"], last["heavy.0"], last["deep"]) == (light_is_last, False, False)
    for hook in hooks:
        hook.remove()
    assert_close(found, gradient_map(model, images))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_no_module_stays_swapped_after_an_exception(model: Plain, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with left_as_found(model), pytest.raises(error):
        during(model, fail)
    assert_close(generator_of(model)(IMAGES, 1), gradient_map(model))


def test_no_module_stays_swapped_after_an_interrupt_while_they_are_swapped(
    model: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(swaps.SwappedNorm):
        def __init__(self, *args: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(swaps, "SwappedNorm", Interrupted)
    with left_as_found(model), pytest.raises(KeyboardInterrupt):
        generator_of(model)(IMAGES, 1)
    assert not turns._taken
    assert not turns.HERE.watches


@pytest.mark.parametrize("name", ["backprop", "guided_backprop", "grad_cam", "cam"])
def test_a_map_within_a_map_is_that_of_the_model(model: Plain, name: str) -> None:
    other, inner = create(name, model, normalise="none"), list[Tensor]()
    expected = other(IMAGES, 2)
    found = during(model, lambda: inner.append(other(IMAGES, 2)))
    assert_close(inner[0], expected)
    assert_close(found, gradient_map(model))


@pytest.mark.parametrize("name", ["grad_cam", "cam", "hires_cam"])
def test_a_map_within_a_map_sees_the_convolution_that_is_pooled(name: str) -> None:
    class Pooled(Plain):
        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.head(self.deep(self.act(self.norm(self.stem(images)))).mean((2, 3)))
            return logits

    model = randomised(Pooled()).float().eval()
    other, inner = create(name, model, normalise="none"), list[Tensor]()
    expected = other(IMAGES, 2)
    assert_close(during(model, lambda: inner.append(other(IMAGES, 2))), gradient_map(model))
    assert_close(inner[0], expected)


def test_a_gradient_within_a_map_is_that_of_the_model(model: Plain) -> None:
    conv, x = model.deep, features().requires_grad_()

    def gradient() -> Tensor:
        return torch.autograd.grad(conv(x).square().sum(), x)[0]

    expected, found = gradient(), list[Tensor]()
    during(model, lambda: found.append(gradient()))
    assert_close(found[0], expected)


def _deep_copy(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model)


def _pickled(model: nn.Module) -> nn.Module:
    again: nn.Module = pickle.loads(pickle.dumps(model))
    return again


def _saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again: nn.Module = torch.load(file, weights_only=False)
    return again


@pytest.mark.parametrize("copied", [_deep_copy, _pickled, _saved])
def test_a_copy_made_meanwhile_is_one_of_the_model_itself(
    model: Plain, copied: Callable[[nn.Module], nn.Module]
) -> None:
    parts = (model.stem, model.norm, model.deep, model.norm2)  # `act` has the test's own hook
    copies: list[nn.Module] = []
    during(model, lambda: copies.append(copied(nn.Sequential(*parts))))
    (again,) = copies
    assert not swapped(again)
    torch.testing.assert_close(again(IMAGES), nn.Sequential(*parts)(IMAGES))
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.mul_(1.5)
    other = Plain().eval()
    reference = nn.Sequential(other.stem, other.norm, other.deep, other.norm2)
    reference.load_state_dict(again.state_dict())
    torch.testing.assert_close(again(IMAGES), reference(IMAGES))


def test_state_of_the_model_is_the_same_meanwhile(model: Plain) -> None:
    expected, states = model.state_dict(), list[dict[str, Tensor]]()
    during(model, lambda: states.append(model.state_dict()))
    assert list(states[0]) == list(expected)
    for key, value in expected.items():
        assert torch.equal(states[0][key], value)


def test_threads_that_predict_all_the_while_get_the_models_own_results(model: Plain) -> None:
    with torch.no_grad():
        expected = model(IMAGES)
    stop, wrong, count = threading.Event(), list[object](), list[None]()

    def predict() -> None:
        try:
            with torch.no_grad():
                while not stop.is_set():
                    if not torch.equal(model(IMAGES), expected):
                        wrong.append("other result")
                    count.append(None)
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=predict)
    thread.start()
    try:
        generator, reference = generator_of(model), gradient_map(copy.deepcopy(model))
        for _ in range(15):
            assert_close(generator(IMAGES, 1), reference)
    finally:
        stop.set()
        thread.join()
    assert count
    assert not wrong


def test_a_part_of_the_model_that_learns_in_another_thread_is_not_swapped(model: Plain) -> None:
    x = features().requires_grad_()
    expected, found = torch.autograd.grad(model.deep(x).sum(), x)[0], list[Tensor]()

    def step() -> None:
        thread = threading.Thread(target=lambda: found.append(torch.autograd.grad(model.deep(x).sum(), x)[0]))
        thread.start()
        thread.join()

    during(model, step)
    assert torch.equal(found[0], expected)


def test_hooks_registered_meanwhile_run(model: Plain) -> None:
    seen: list[str] = []

    def register() -> None:
        model.deep.register_forward_hook(lambda *_: seen.append("forward"))
        model.norm2.register_forward_pre_hook(lambda *_: seen.append("before"))
        model.deep.register_full_backward_hook(lambda *_: seen.append("backward"))

    found = during(model, register)
    assert seen == ["forward", "before", "backward"]
    assert_close(found, gradient_map(model))


# What remains


def test_generators_keep_nothing_of_a_model(model: Plain) -> None:
    generators = [generator_of(model) for _ in range(2)]
    for generator in generators:
        generator(IMAGES, 1)
    gone = [weakref.ref(parameter) for parameter in model.parameters()]
    gone_parts = [weakref.ref(part) for part in model.modules()]
    del model.stem, model.deep, model.norm, generator
    gc.collect()
    assert [ref() is None for ref in gone_parts].count(True) == 3
    del model, generators
    # The fixture's cache still holds the model itself: its removed parts alone are free.
    assert sum(ref() is None for ref in gone) == 5


def test_classes_of_parametrised_modules_are_not_kept() -> None:
    model = randomised(Plain()).float().eval()
    parametrize.register_parametrization(model.deep, "weight", nn.Identity())
    kind = weakref.ref(type(model.deep))
    generator_of(model)(IMAGES, 1)
    del model
    gc.collect()
    assert kind() is None


# Models of all kinds


class _Own(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's own name
        return super().forward(input) * 2


class _OwnConvolution(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
        y: Tensor = super()._conv_forward(input, weight * 3, bias)
        return y


class _Derived(nn.Conv2d):
    """A subclass that computes what its base does."""


def _replaced(model: Plain, kind: type[nn.Conv2d]) -> None:
    conv = kind(16, 32, 3, padding=1, bias=False)
    conv.load_state_dict(model.deep.state_dict())
    model.deep = conv


def _own_forward(model: Plain) -> None:
    _replaced(model, _Own)


def _own_convolution(model: Plain) -> None:
    _replaced(model, _OwnConvolution)


def _derived(model: Plain) -> None:
    _replaced(model, _Derived)


def _patched_convolution(model: Plain) -> None:
    model.deep._conv_forward = lambda x, w, b: F.conv2d(x, 2 * w, b, 1, 1)  # type: ignore[method-assign,assignment]


def _weight_norm(model: Plain) -> None:
    parametrizations.weight_norm(model.deep)
    with torch.no_grad():
        model.deep.parametrizations.weight.original0.mul_(1.5)  # type: ignore[union-attr,operator]


def _old_weight_norm(model: Plain) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        weight_norm(model.deep)
    model.get_parameter("deep.weight_g").data.mul_(1.5)


def _spectral_norm(model: Plain) -> None:
    parametrizations.spectral_norm(model.deep)
    model.eval()


def _scripted(model: Plain) -> None:
    model.deep = torch.jit.script(model.deep)  # type: ignore[assignment]


def _traced(model: Plain) -> None:
    trace: Callable[..., nn.Module] = torch.jit.trace
    model.norm2 = trace(model.norm2, torch.zeros(2, 32, 68, 68), check_trace=False)  # type: ignore[assignment]


def _compiled_part(model: Plain) -> None:
    model.deep = torch.compile(model.deep, backend="eager")  # type: ignore[assignment]


def _compiled_in_place(model: Plain) -> None:
    model.deep.compile(backend="eager")


def _in_data_parallel(model: Plain) -> None:
    model.deep = nn.DataParallel(model.deep)  # type: ignore[assignment]


def _by_keyword(model: Plain) -> None:
    conv, norm, act = model.deep, model.norm, model.act
    model.deep = _Called(lambda x: conv(input=x), conv)  # type: ignore[assignment]
    model.norm = _Called(lambda x: norm(input=x), norm)  # type: ignore[assignment]
    model.act = _Called(lambda x: act(input=x), act)  # type: ignore[assignment]


class _Called(nn.Module):
    def __init__(self, call: Callable[[Tensor], Tensor], part: nn.Module) -> None:
        super().__init__()
        self.part, self.call = part, call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x)


def _shared(model: Plain) -> None:
    norm = model.norm2
    model.norm2 = nn.Sequential(norm, nn.Conv2d(32, 32, 1), norm)  # type: ignore[assignment]
    randomised(model.norm2[1]).float()  # type: ignore[index]


def _used_twice(model: Plain) -> None:
    norm, kept = model.norm2, list[Tensor]()
    model.deep.register_forward_hook(lambda module, args, y: kept.append(y))
    model.norm2 = _Called(lambda x: norm(x) + kept.pop() ** 2, norm)  # type: ignore[assignment]


def _without_statistics(model: Plain) -> None:
    model.norm2 = nn.BatchNorm2d(32, track_running_stats=False)


def _same_padding(model: Plain) -> None:
    model.deep.padding = "same"


def _reflecting(model: Plain) -> None:
    conv = nn.Conv2d(16, 32, 3, padding=1, bias=False, padding_mode="reflect")
    conv.load_state_dict(model.deep.state_dict())
    model.deep = conv


KINDS = (
    *(_own_forward, _own_convolution, _derived, _patched_convolution, _weight_norm, _old_weight_norm),
    *(_spectral_norm, _scripted, _traced, _compiled_part, _compiled_in_place, _in_data_parallel),
    *(_by_keyword, _shared, _used_twice, _without_statistics, _same_padding, _reflecting),
)


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("change", KINDS, ids=lambda change: change.__name__.strip("_"))
@pytest.mark.usefixtures("fresh_compiler")
def test_map_is_the_gradient_of_models_of_all_kinds(model: Plain, change: Callable[[Plain], None]) -> None:
    change(model)
    expected, generator = gradient_map(model), generator_of(model)
    for _ in range(2):
        with left_as_found(model):
            found = generator(IMAGES, 1)
        assert_close(found, expected)
    torch.testing.assert_close(gradient_map(model), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float32])
def test_a_model_may_move_to_another_precision_between_calls(model: Plain, dtype: torch.dtype) -> None:
    generator = generator_of(model)
    generator(IMAGES, 1)
    expected = gradient_map(model)
    model.to(dtype)
    found = generator(IMAGES.to(dtype), 1)
    off = float((found.float() - expected).abs().max() / expected.max())
    assert off < (0.1 if dtype == torch.bfloat16 else 1e-4)


def test_data_parallel_swaps_nothing_that_its_replicas_would_share(model: Plain) -> None:
    model.deep = nn.DataParallel(model.deep)  # type: ignore[assignment]
    with Swaps(model, Pass(), "held", 10**6):
        assert not swapped(model)


def test_a_part_is_computed_again_as_before_in_another_thread(model: Plain) -> None:
    """As a backward on a GPU does, whose threads are autograd's own."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = model

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = checkpoint(self.body, images, use_reentrant=False)
            return logits

    again, leaf = Checkpointed().eval().requires_grad_(False), IMAGES.clone().requires_grad_()
    found: list[Tensor | Exception] = []
    watch = Swaps(again, Pass(only_looked_at=True, channels_last=True), "held", 10**6)

    def backward() -> None:
        try:
            found.append(torch.autograd.grad(score, leaf)[0].abs().amax(1, keepdim=True))
        except Exception as error:
            found.append(error)

    with watch, turns.listening(watch):
        score = again(leaf)[:, 1].sum()
        thread = threading.Thread(target=backward)
        thread.start()
        thread.join()
    assert isinstance(found[0], Tensor), found[0]
    assert_close(found[0], gradient_map(again))
