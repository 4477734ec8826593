"""Readings one within the other, several threads, compiled parts, and models that mind their mode."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from radgaze import attribution
from radgaze.attribution import generator as module_of_generators
from radgaze.attribution.engine import turns
from tests.attribution.generator_contract import images_for, left_as_found
from tests.attribution.networks import Inverted, Small, randomised

TARGETS = torch.tensor([2, 0, 1, 1])


def create(name: str, model: nn.Module, **options: Any) -> attribution.Generator:
    return attribution.create(name, model, normalise="none", **options)


# Nested readings


def test_two_readings_of_two_models_are_independent_in_any_order_of_calls() -> None:
    models = [randomised(Small(nn.SiLU), seed=seed).train() for seed in (1, 2)]
    images = images_for(models[0], 4)
    ours, theirs = (create("guided_backprop", model) for model in models)
    alone = []
    for generator in (ours, theirs):
        with generator.capture() as read:
            alone.append(read(generator.model(images), TARGETS).detach())
    with ours.capture() as read, theirs.capture() as read_theirs:
        output, lesson = models[0](images), models[1](images)
        found = [read(output, TARGETS).detach(), read_theirs(lesson, TARGETS).detach()]
    torch.testing.assert_close(found, alone)
    with ours.capture() as read, theirs.capture() as read_theirs:
        lesson, output = models[1](images), models[0](images)
        found = [read(output, TARGETS).detach(), read_theirs(lesson, TARGETS).detach()]
    torch.testing.assert_close(found, alone)


@pytest.mark.parametrize("other", ["deconvnet", "grad_cam", "cam", "smooth_grad"])
def test_two_maps_are_read_out_of_one_forward_pass(other: str) -> None:
    model = randomised(Inverted()).eval()
    images = images_for(model, 4)
    first, second = create("guided_backprop", model), create(other, model)
    expected = [first(images, TARGETS), second(images, TARGETS)]

    def gradients(loss: Tensor) -> list[Tensor]:
        return list(torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, allow_unused=True))

    apart = []
    for generator in (first, second):
        with generator.capture() as read:
            apart.append(gradients(read(model(images), TARGETS).square().sum()))
    with first.capture() as read, second.capture() as read_other:
        output = model(images)
        maps = [read(output, TARGETS), read_other(output, TARGETS)]
        together = [gradients(heat.square().sum()) for heat in maps]
    torch.testing.assert_close([heat.detach() for heat in maps], expected)
    torch.testing.assert_close(together, apart)


def test_rule_reaches_into_a_part_that_another_reading_watches() -> None:
    model = randomised(Inverted()).eval()
    images = images_for(model, 4)
    whole, part = create("guided_backprop", model), create("backprop", model.first, gates="plain")
    with part.capture(), whole.capture() as read:
        found = read(model(images), TARGETS)
    torch.testing.assert_close(found.detach(), whole(images, TARGETS))


def test_readings_of_one_pass_that_treat_it_differently_are_refused() -> None:
    model = randomised(Inverted())
    ours, theirs = create("backprop", model), create("backprop", model, batch_statistics="exact")
    with ours.capture(), theirs.capture(), pytest.raises(RuntimeError, match="these differ"):
        model(images_for(model, 4))


def test_map_looked_at_within_a_reading_leaves_it_alone() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    generator, other = create("grad_cam", model, layer="act2"), create("guided_backprop", model)
    expected = generator(images, TARGETS), other(images, 0)
    with generator.capture() as read:
        output = model(images)
        looked_at = other(images, 0)
        generator(images * 0.5, TARGETS)
        found = read(output, TARGETS)
    torch.testing.assert_close((found.detach(), looked_at), expected)


def test_model_that_calls_itself_is_read_as_one() -> None:
    class Twice(Small):
        def forward(self, images: Tensor, *, again: bool = True) -> Tensor:
            if again:
                logits: Tensor = super().forward(images) + self(images.flip(-1), again=False)
                return logits
            return super().forward(images)

    model = randomised(Twice(nn.SiLU)).eval()
    x = images_for(model, 4).requires_grad_()
    (g,) = torch.autograd.grad(model(x).gather(1, TARGETS[:, None]).sum(), x)
    torch.testing.assert_close(create("backprop", model)(x.detach(), TARGETS), g.abs())


# Threads


def test_threads_that_look_at_one_model_get_the_maps_of_one_thread() -> None:
    model = randomised(Small(nn.SiLU)).train()
    model.stem.weight.requires_grad_(False)
    images = images_for(model, 4)
    generators = [create(name, model) for name in ("guided_backprop", "grad_cam", "backprop", "deconvnet")]
    expected = [generator(images, TARGETS) for generator in generators]
    with left_as_found(model), ThreadPoolExecutor(4) as pool:
        asked = [(k, pool.submit(generators[k], images, TARGETS)) for k in (0, 1, 2, 3) * 5]
        for k, answer in asked:
            torch.testing.assert_close(answer.result(60), expected[k])
    assert not turns._taken


def test_forward_pass_in_another_thread_is_refused_and_one_without_gradients_is_none() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    generator = create("guided_backprop", model)
    with ThreadPoolExecutor(1) as pool, generator.capture() as read:
        output = model(images)
        with pytest.raises(RuntimeError, match="another thread"):
            pool.submit(model, images).result(60)
        with pytest.raises(RuntimeError, match="another thread has been reading"):
            pool.submit(_impatient, generator, images).result(60)
        torch.testing.assert_close(pool.submit(torch.no_grad()(model), images).result(60), output.detach())
        found = read(output, TARGETS)
    torch.testing.assert_close(found.detach(), generator(images, TARGETS))


def _impatient(generator: attribution.Generator, images: Tensor) -> Tensor:
    before, turns.PATIENCE = turns.PATIENCE, 0.05
    try:
        return generator(images)
    finally:
        turns.PATIENCE = before


def test_reading_waits_for_that_of_another_thread() -> None:
    model = randomised(Small(nn.SiLU)).eval()
    images = images_for(model, 4)
    generator, entered, order = create("backprop", model), threading.Event(), []

    def look() -> None:
        entered.set()
        generator(images)
        order.append("looked")

    thread = threading.Thread(target=look)
    with generator.capture() as read:
        thread.start()
        entered.wait(60)
        read(model(images), TARGETS)
        order.append("read")
    thread.join(60)
    assert order == ["read", "looked"]


# Compiled parts


def test_compiled_parts_run_as_they_were_written() -> None:
    class Compiled(Small):
        run: Callable[[Tensor], Tensor]

        def entered(self, images: Tensor) -> Tensor:
            return self.run(images)

    model, plain = randomised(Compiled(nn.SiLU)).eval(), randomised(Small(nn.SiLU)).eval()
    generator = create("guided_backprop", model)
    model.run = torch.compile(lambda images: Small.entered(model, images), backend="aot_eager")
    model.project.compile(backend="aot_eager")
    images = images_for(model, 4)
    x = images.clone().requires_grad_()
    compiled = model(x).grad_fn
    torch.testing.assert_close(generator(images, TARGETS), create("guided_backprop", plain)(images, TARGETS))
    assert not turns._eager
    assert "CompiledFunctionBackward" in _names(compiled) & _names(model(x).grad_fn)
    model.compile(backend="aot_eager")
    with pytest.raises(ValueError, match=r"torch\.compile"), generator.capture():
        pass


@pytest.mark.parametrize("name", ["guided_backprop", "backprop", "grad_cam", "smooth_grad"])
@pytest.mark.parametrize("how", ["in place", "as a wrapper"])
@pytest.mark.parametrize("when", ["before the generator", "after it"])
def test_the_same_parts_may_be_compiled_before_a_generator_is_created_and_after(
    when: str, how: str, name: str
) -> None:
    model, plain = (randomised(Small(nn.SiLU)).eval() for _ in range(2))

    def compile_parts() -> None:
        for part in ("act2", "project"):
            if how == "in place":
                getattr(model, part).compile(backend="aot_eager")
            else:
                setattr(model, part, torch.compile(getattr(model, part), backend="aot_eager"))

    if when == "before the generator":
        compile_parts()
    generator = create(name, model)
    if when == "after it":
        compile_parts()
    images = images_for(model, 4)
    expected = create(name, plain)(images, TARGETS)
    torch.testing.assert_close(generator(images, TARGETS), expected)
    with generator.capture() as read:
        heat = read(model(images), TARGETS)
    torch.autograd.backward(heat.square().sum())
    with create(name, plain).capture() as read:
        torch.autograd.backward(read(plain(images), TARGETS).square().sum())
    for compiled, written in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(compiled.grad, written.grad)


class Wrapper(nn.Module):
    """Stands for a network's wrapper for several processes."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module


@pytest.mark.parametrize("compiled", ["network", "network in place", "wrapper in place"])
def test_a_model_compiled_as_a_whole_is_refused_when_a_generator_is_created_and_when_it_captures(
    compiled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_generators, "DistributedDataParallel", Wrapper)
    network = Small(nn.SiLU)
    generator = create("guided_backprop", Wrapper(network))
    whole = Wrapper(network)
    if compiled == "network":
        whole = Wrapper(cast(nn.Module, torch.compile(network, backend="aot_eager")))
    elif compiled == "network in place":
        network.compile(backend="aot_eager")
    else:
        whole.compile(backend="aot_eager")
    with pytest.raises(ValueError, match="give the model itself"):
        create("guided_backprop", whole)
    with pytest.raises(ValueError, match="give the model itself"), generator.capture(whole):
        pass


def _names(node: Any) -> set[str]:
    seen, ahead = {}, [node]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in seen:
            seen[node] = type(node).__name__
            ahead.extend(before for before, _ in node.next_functions)
    return set(seen.values())


# The mode


class Caching(nn.Module):
    """Keeps a tensor in evaluation and drops it when training begins, as LeViT's attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.bias, self.cache = nn.Parameter(torch.rand(1, 4, 1, 1)), dict[str, Any]()

    def train(self, mode: bool = True) -> Caching:
        super().train(mode)
        if mode:
            self.cache = {}
        return self

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x * self.bias.exp()
        if "bias" not in self.cache:
            self.cache["bias"] = self.bias.exp()
        shifted: Tensor = x * self.cache["bias"]
        return shifted


@pytest.mark.parametrize("training", [True, False])
def test_module_that_caches_in_evaluation_is_never_stale(training: bool) -> None:
    caching = Caching()
    model = nn.Sequential(nn.Conv2d(1, 4, 3), caching, nn.SiLU(), nn.Flatten(), nn.LazyLinear(3))
    images = torch.rand(2, 1, 6, 6)
    model(images)
    model.train(training)
    caching.cache = {}
    generator = create("smooth_grad", model, samples=2)
    generator(images, 1)
    assert not caching.cache
    with torch.no_grad():
        caching.bias.add_(1)
    with generator.capture() as read:
        heat = read(model(images), 1)
    torch.autograd.backward(F.mse_loss(heat, torch.ones_like(heat)))
    assert caching.bias.grad is not None
    assert caching.bias.grad.abs().sum() > 0
    model.zero_grad()
    model.train().eval()
    torch.testing.assert_close(generator(images, 1), heat.detach())
    assert not caching.training


def test_modes_are_put_back_one_by_one_in_a_model_that_minds_them() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), Caching(), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 3))
    model.train()
    model[2].eval()
    with left_as_found(model):
        create("backprop", model)(torch.rand(2, 1, 6, 6), 1)
